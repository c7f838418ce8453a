//! rootlet: a demand-read EROFS root for machines without an operating system.
//!
//! An image's file data may lie in several blobs: virtio-blk disks, or files of a virtio-fs share.
//! [`blob::Image`] reads the image's head and binds every slot to a source; [`read::Root`] reads
//! the ranges that are asked for, each as one batch over all devices it touches; [`cache::Cache`]
//! keeps what was fetched in a reserved region of a disk, where the next boot finds it.
//!
#![cfg_attr(all(feature = "std", unix), doc = "```")]
#![cfg_attr(not(all(feature = "std", unix)), doc = "```ignore")]
//! # use rootlet::{blob::Image, cache::NoRegion, read::Root, storage::file::FileStorage};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let image_file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny.erofs").as_ref();
//! # let (path, out) = (b"/hello", &mut [0; 64]);
//! let mut storage = FileStorage::new();
//! let device = storage.add_disk("root", image_file, true)?;
//! let image = Image::read(&storage, device)?;
//! let sources = image.bind(&mut storage, &[])?;
//! let root = Root::new(storage, NoRegion, &image, &sources)?;
//! let len = root.open(path)?.read_at(0, out)?;
//! # assert!(len > 0 && out.starts_with(b"hello"), "{len} bytes, {out:?}");
//! # Ok(())
//! # }
//! ```
//!
//! Two laws hold for every read. It returns exactly the blob's bytes, or an error. And no read
//! fails for the region, which may be lost, zeroed or filled with garbage at any moment: that costs
//! time only.
//!
//! # Your own devices
//! Implement [`storage::Storage`], its background jobs for a region and streams, and
//! [`storage::Discover`] to find blobs by name. `storage::file` does it over host files; the
//! boards of the repository do it over virtio. [`fuse`] speaks to a virtio-fs daemon over any
//! transport.
//!
//! # Features
//! | feature | |
//! |-|-|
//! | `alloc` (default) | the region, background transfers, blocks over 4 KiB |
//! | `std` | sources over host files, on Unix |
//! | `log`, `defmt` | where log messages go; `defmt` does nothing on a host |
//! | `portable-atomic` | processors that cannot compare and swap (Cortex-M0, riscv32imc); the binary chooses how: with `portable-atomic`'s own `critical-section` or `unsafe-assume-single-core` |
//!
//! Features add up, and every combination builds for bare metal and for a host. Without `alloc` the
//! library reads without a region, in fixed memory.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod blob;
mod error;
mod origin;
pub mod read;

pub use error::{Error, PathError};
pub use rootlet_base::Bug;
pub use rootlet_base::units::{DeviceSlot, RegionSlot};
pub use rootlet_erofs as erofs;
pub use rootlet_fuse as fuse;
pub use rootlet_region as cache;
#[cfg(feature = "alloc")]
pub use rootlet_region::evict;
pub use rootlet_storage as storage;

use rootlet_base::{num, trace, units};
