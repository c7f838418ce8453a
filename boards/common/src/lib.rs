//! What every board shares, and the only crate with unsafe code: entry, memory, clock, console,
//! log, virtio and the end of a run.
//!
//! Always: interrupts are off, and devices are polled. One processor runs, and a second one while
//! it has work (`second`). What differs between boards is in the board's own `Board`; what differs
//! between processors is in `arch`.
//!
//! On a target with an operating system only the parts that need no machine exist, so that the
//! workspace builds and their tests run there.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod acpi;
mod aml;
#[cfg(target_os = "none")]
pub mod app;
pub mod cmdline;
pub mod device_tree;
#[cfg(any(target_os = "none", test))]
mod input;
pub mod pci;
pub mod ram;
pub mod rates;
mod registers;
mod status;
pub mod storage;
pub mod text;
mod trace;
pub mod uart;
pub mod virtio;

#[cfg(target_os = "none")]
mod arch;
#[cfg(target_os = "none")]
pub mod board;
#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
pub mod clock;
#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
mod entropy;
#[cfg(target_os = "none")]
mod exit;
#[cfg(target_os = "none")]
pub mod guest;
#[cfg(any(target_os = "none", test))]
pub mod heap;
#[cfg(target_os = "none")]
mod log;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
pub mod second;
#[cfg(all(target_os = "none", not(target_arch = "x86_64")))]
mod semihosting;
#[cfg(target_os = "none")]
mod serial;
#[cfg(any(target_os = "none", test))]
mod sha256;
#[cfg(target_os = "none")]
mod start;
#[cfg(target_os = "none")]
pub mod verdict;

#[cfg(target_os = "none")]
pub use app::App;
#[cfg(target_os = "none")]
pub use board::Board;
#[cfg(target_os = "none")]
pub use guest::{File, Root};
#[cfg(target_os = "none")]
pub use start::Machine;

pub use status::Status;

// For applications, in the versions that fit.
pub use embedded_io;
pub use rootlet;
