//! What a rootlet guest does between its devices and its verdict. Boards and the host tool run the
//! same code.
//!
//! | module | |
//! |-|-|
//! | [`config`] | the settings of a command line |
//! | [`mount`] | the mount that they ask for: image, blobs, region, memory |
//! | [`command`] | the commands over a mount: `ls`, `cat`, `manifest`, ... |
//! | [`mod@bench`], [`race`] | timed reads |
//! | [`boot`] | a kernel out of the image: its files, its memory, its zero page or device tree |
//! | [`frame`], [`wire`] | the output on a serial line |
//! | [`timeline`] | what the guest did and when, as lines of that output |
//!
//! Always: devices, consoles and clocks belong to the caller; a command allocates its memory
//! before it reads, and none while it does.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod bench;
pub mod boot;
pub mod command;
pub mod config;
pub mod mount;
pub mod race;
mod serial;
mod stopwatch;
pub mod timeline;

pub use command::{
    Ahead, AtOnce, AtPath, BenchPaths, Command, CommandError, Counters, Digests, Done, GuestRoot,
    HELP, List, Outcome, RowFault, Rows, Runner, Scratch, UsageError, catch_up,
};
pub use mount::{
    Blamed, Bound, Memory, MountError, Mounted, SYNC_TIME, TooLarge, keep_trees, open, open_region,
    open_verified, retrying, root_verified,
};
pub use serial::{frame, wire};
