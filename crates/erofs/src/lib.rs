//! The EROFS image format: parses bytes, once, into validated values.
//!
//! Always: pure (no I/O, no allocation); total (any bytes give a value or a [`FormatError`], never
//! a panic); a returned offset did not wrap, and lies within the image if the superblock states the
//! image's length.
//!
//! Source of the format: Linux `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`.
//! [`CompressedMap`] finds the extents of a compressed file, and [`codec`] decodes them.
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
mod faults;
mod feature;
mod inode;
mod kind;
mod layer;
mod layout;
mod limits;
mod origin;
mod outline;
pub mod overlay;
mod rafs;
mod record;
mod superblock;
pub mod xattr;

pub use block::{BLOCKS_MAX, BlockSize, Nid, Space, Span};
pub use chunk::{ChunkEntry, ChunkMap, ChunkTarget};
pub use compressed::{CompressedMap, MapFault, Metadata};
pub use compression::{Compression, DECODED_BYTES_MAX, ENCODED_BYTES_MAX};
pub use corrupt::{Corrupt, NameFault, Part};
pub use device::{DeviceSlot, Devices, Place, sort_numbers};
pub use dir::{DirBlock, Dirent, Entries as DirEntries};
pub use error::{FormatError, Unsupported};
pub use feature::{Compat, Incompat};
pub use inode::{Inode, Mtime};
pub use kind::{DeviceNumber, FileKind};
pub use layout::{Compressed, CompressedForm, Layout};
pub use limits::DEVICES_MAX;
pub use origin::Origin;
pub use superblock::{Superblock, XattrPrefixes};

#[cfg(test)]
mod sample;
#[cfg(test)]
mod totality;
