//! The examples that people start from, built and booted: the output and the cost of each.
//!
//! Always: every boot has a deadline; a tool that is missing is named, and what needs it is left out.

mod boot;
mod cortex_m;
mod disks;
mod embassy;
