//! What a rootlet guest does between its devices and its verdict: the words of the command line,
//! the mount that they ask for, the commands over it, the form of the output, and benches. Boards
//! and the host tool run the same code.
//!
//! Always: devices, consoles and clocks belong to the caller; a command allocates its memory
//! before it reads, and none while it does.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bench;
mod blame;
pub mod config;
pub mod frame;
mod json;
mod kernel;
mod keys;
mod mount;
mod parse;
pub mod partition;
mod print;
pub mod race;
mod region;
mod row;
mod run;
mod source;
mod verdict;
pub mod wire;
pub mod words;

pub use blame::Blamed;
pub use mount::{Memory, MountError, Mounted, SYNC_TIME, TooLarge, open, open_region, retrying};
pub use parse::{BenchPaths, Command, HELP, UsageError};
pub use print::AtPath;
pub use run::{CommandError, Done, GuestRoot, Runner, Scratch, catch_up};
pub use verdict::Counters;
