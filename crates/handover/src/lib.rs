//! What a boot loader needs to know of Linux kernels, without I/O: what a file is, how much memory
//! it takes, and what the kernel is told.
//!
//! | module | |
//! |-|-|
//! | `kernel` | which kind of kernel a file is, by its first bytes |
//! | `bzimage` | x86: the setup header, and the page that the kernel is told by |
//! | `image` | aarch64 and riscv64: the header of 64 bytes |
//! | `gzip`, `zboot` | kernels that are packed |
//! | `tree` | device trees: a reader, and the tree with a command line and an initrd added |
//! | `entry` | boot entries: which there are, and which comes first |
//! | `unified` | unified kernel images: the sections of a PE file |
//!
//! Always: nothing is read outside the bytes that are given; what a file says is checked, and an
//! error names the field and its value.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod bytes;
mod bzimage;
mod entry;
mod error;
mod gzip;
mod image;
mod kernel;
pub mod tree;
mod unified;
mod zboot;

pub use bzimage::{BzImage, MAP_ENTRIES_MAX, MapEntry, ZERO_PAGE_BYTES, Zero};
pub use entry::{Entry, EntryError, Tries, compare_versions, order};
pub use error::Refused;
pub use gzip::{Gunzip, GzipError};
pub use image::Image;
pub use kernel::{Arch, HEAD_BYTES, Kernel};
pub use unified::{Section, Unified};
pub use zboot::Zboot;
