//! The ground of all crates of rootlet: numbers, quantities, the error for states that cannot be,
//! and the log.
//!
//! Always: knows no device, no image and no region, and allocates nothing.
//!
//! For the crates of rootlet alone: public items may change in any release, except [`Bug`], which
//! `rootlet` re-exports.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod cause;
pub mod num;
pub mod trace;
pub mod units;

pub use num::Bug;
