//! The guest's commands: how a machine is told what to do, and how it answers.
//!
//! Always: everything here is pure; devices and consoles belong to the caller.

pub mod config;
pub mod frame;
pub mod words;
