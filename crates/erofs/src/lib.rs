//! The EROFS image format: bytes become validated values, once.
//!
//! Always: pure (no I/O, no allocation), total (any bytes give a value or a [`FormatError`],
//! never a panic), and every offset handed out was computed without wrapping and, where the
//! superblock says how long the image is, lies within it.
//!
//! Source of the format: Linux `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`.
//! Of compressed files [`CompressedMap`] finds the extents, and [`codec`] decodes them.
//!
//! # Features
//! `alloc` (default): tables as long as an image has devices, and the decoders of DEFLATE,
//! MicroLZMA and Zstandard.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod block;
mod chunk;
pub mod codec;
pub mod compressed;
mod compression;
mod corrupt;
mod device;
mod dir;
mod error;
mod feature;
mod inode;
mod kind;
mod layout;
pub mod overlay;
mod record;
mod superblock;
pub mod xattr;

pub use block::{BLOCKS_MAX, BlockSize, Nid, Space, Span};
pub use chunk::{ChunkEntry, ChunkMap, ChunkTarget};
pub use compressed::{CompressedMap, MapFault, Metadata};
pub use compression::{Compression, DECODED_BYTES_MAX, ENCODED_BYTES_MAX};
pub use corrupt::{Corrupt, NameFault, Part};
pub use device::{DEVICES_MAX, DeviceSlot, Devices, Place, sort_numbers};
pub use dir::{DirBlock, Dirent, Entries as DirEntries};
pub use error::{FormatError, Unsupported};
pub use feature::{Compat, Incompat};
pub use inode::{Inode, Mtime};
pub use kind::{DeviceNumber, FileKind};
pub use layout::{Compressed, CompressedForm, Layout};
pub use superblock::{Superblock, XattrPrefixes};

#[cfg(test)]
mod sample;
#[cfg(test)]
mod totality;
