//! The guest's commands, over any storage: what a board and the host tool run alike.
//!
//! Always: devices, consoles and clocks belong to the caller; a command allocates its memory
//! before it reads, and none while it does.

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
mod tree;
mod verdict;
pub mod wire;
pub mod words;

pub use blame::Blamed;
pub use mount::{Memory, MountError, Mounted, TooLarge, open, open_region, retrying};
pub use parse::{BenchPaths, Command, HELP, UsageError};
pub use print::AtPath;
pub use run::{CommandError, Done, GuestRoot, Runner, Scratch, catch_up};
pub use tree::{DirGuard, Tree};
pub use verdict::Counters;
