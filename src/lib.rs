//! rootlet: a demand-read EROFS root for machines without an operating system.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod blob;
pub mod cache;
#[cfg(feature = "command")]
pub mod command;
pub mod erofs;
mod error;
pub mod fuse;
pub mod read;
pub mod storage;
mod trace;

pub use error::{Error, PathError};
