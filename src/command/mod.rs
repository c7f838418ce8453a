//! The guest's commands, over any storage: what a board and the host tool run alike.
//!
//! Always: devices, consoles and clocks belong to the caller; a command allocates its memory
//! before it reads, and none while it does.

pub mod config;
pub mod frame;
pub mod words;
