//! rootlet: a demand-read EROFS root for machines without an operating system.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

#[cfg(feature = "command")]
pub mod command;
pub mod fuse;
pub mod storage;
mod trace;
