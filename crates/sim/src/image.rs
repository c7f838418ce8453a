//! An EROFS image builder: a tree and options in, an image and its blobs out, and a map of
//! where everything lies, to damage it at will.
//!
//! Always: the same tree and options give the same bytes. The builder shares no code with the
//! reader that it tests.

mod build;
mod content;
mod dirents;
mod host;
mod inode;
mod options;
pub mod random;
mod stores;
mod superblock;
mod tree;
mod xattrs;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

pub use build::{Built, build};
pub use content::Content;
pub use options::{BuildError, FileLayout, Holes, Inodes, Options, Spread, XattrPlace};
pub use stores::Blob;
pub use superblock::{DEVICE_TABLE_AT, SLOT_BYTES, SUPERBLOCK_AT};
pub use tree::{Kind, Meta, Node, Tree};

/// The bytes of a primary device, and where things lie in them.
#[derive(Clone, Debug)]
pub struct Image {
    bytes: Vec<u8>,
    index: BTreeMap<Vec<u8>, Located>,
}

/// Where an inode and what belongs to it lie; offsets are bytes of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// Inode number.
    pub nid: u64,
    /// The inode.
    pub inode_at: u64,
    /// The header of its xattr body.
    pub xattr_at: Option<u64>,
    /// Its inline tail or its chunk map.
    pub body_at: Option<u64>,
    /// Bytes of the inline tail or of the chunk map.
    pub body_bytes: u64,
    /// Bytes of one chunk map entry; 0 without a map.
    pub entry_bytes: u64,
    /// Its flat blocks, where they are in the image.
    pub data_at: Option<u64>,
    /// The entry that names it in its directory (none for the root).
    pub dirent_at: Option<u64>,
}

impl Image {
    /// The image as it is now.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The image as it is now, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes the image as a file of the host.
    ///
    /// # Errors
    /// Those of the host's file system.
    pub fn write_to(&self, path: &Path) -> io::Result<()> {
        fs::write(path, &self.bytes)
    }

    /// Overwrites bytes at byte `at`. The superblock's checksum stays as it was: see
    /// [`Image::fix_checksum`].
    ///
    /// # Panics
    /// Beyond the end of the image.
    pub fn patch(&mut self, at: u64, data: &[u8]) -> &mut Self {
        self.bytes[at as usize..][..data.len()].copy_from_slice(data);
        self
    }

    /// Cuts the image, or extends it with zeros.
    pub fn resize(&mut self, bytes: u64) -> &mut Self {
        self.bytes.resize(bytes as usize, 0);
        self
    }

    /// Writes the right checksum into the superblock.
    pub fn fix_checksum(&mut self) -> &mut Self {
        let checksum = superblock::checksum(&self.bytes);
        self.patch(SUPERBLOCK_AT + 4, &checksum.to_le_bytes())
    }

    /// Labels the slot of device `id` (from 1 on) and puts the checksum right.
    ///
    /// # Panics
    /// When the label is longer than 64 bytes.
    pub fn set_tag(&mut self, id: u16, tag: &[u8]) -> &mut Self {
        let mut field = [0; 64];
        field[..tag.len()].copy_from_slice(tag);
        self.patch(self.device_slot_at(id), &field).fix_checksum()
    }

    /// Everything about the node at `path`. Also finds `DIR/.` and `DIR/..`, of which only
    /// `dirent_at` is known.
    ///
    /// # Panics
    /// When the image has no such path.
    pub fn locate(&self, path: impl AsRef<[u8]>) -> &Located {
        let path = path.as_ref();
        self.index.get(path).unwrap_or_else(|| panic!("no {} in the image", path.escape_ascii()))
    }

    /// The inode number of `path`.
    pub fn nid(&self, path: impl AsRef<[u8]>) -> u64 {
        self.locate(path).nid
    }

    /// Byte offset of the inode of `path`.
    pub fn inode_at(&self, path: impl AsRef<[u8]>) -> u64 {
        self.locate(path).inode_at
    }

    /// Byte offset of the directory entry that names `path`.
    ///
    /// # Panics
    /// For the root.
    pub fn dirent_at(&self, path: impl AsRef<[u8]>) -> u64 {
        self.locate(path).dirent_at.expect("the root has no name")
    }

    /// Byte offset of entry `number` in the chunk map of `path`.
    ///
    /// # Panics
    /// When the map has no such entry.
    pub fn chunk_entry_at(&self, path: impl AsRef<[u8]>, number: u64) -> u64 {
        let found = self.locate(path);
        let offset = number * found.entry_bytes;
        assert!(found.entry_bytes > 0 && offset < found.body_bytes, "no chunk {number}");
        found.body_at.expect("a chunk map has a place") + offset
    }

    /// Byte offset of the slot of device `id` (from 1 on; 0 is the image itself).
    pub fn device_slot_at(&self, id: u16) -> u64 {
        assert!(id > 0, "device 0 is the image and has no slot");
        DEVICE_TABLE_AT + SLOT_BYTES * u64::from(id - 1)
    }
}
