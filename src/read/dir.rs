//! Listing a directory: its entries in the order of their names' bytes.
//!
//! Always: each name is above the one before it, also across blocks; `.` and `..` are left out.

use super::Root;
use crate::cache::Layer;
use crate::erofs::{Corrupt, DirBlock, FileKind, Inode, NameFault, Nid};
use crate::error::{Error, PathError};
use crate::storage::Storage;

/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name, 1 to 255 bytes, in no particular encoding.
    pub name: heapless::Vec<u8, NAME_BYTES_MAX>,
    /// Its inode.
    pub nid: Nid,
    /// Its type, if the directory says.
    pub kind: Option<FileKind>,
}

/// A place in a directory: no borrow, so that many can be kept.
#[derive(Clone, Copy, Debug)]
pub struct DirCursor {
    dir: Inode,
    block: u64,
    entry: u16,
}

impl DirCursor {
    pub(super) fn new(dir: Inode) -> Result<Self, Error> {
        if dir.kind != FileKind::Directory {
            return Err(PathError::NotADirectory.into());
        }
        Ok(Self { dir, block: 0, entry: 0 })
    }

    /// The directory.
    pub fn dir(&self) -> &Inode {
        &self.dir
    }

    /// The next entry; `None` at the end.
    pub fn next<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
    ) -> Result<Option<DirEntry>, Error> {
        let mut inner = root.lock();
        let blocks = inner.superblock.block_size.blocks_of(self.dir.size);
        let mut last: Option<heapless::Vec<u8, NAME_BYTES_MAX>> = None;
        // Every round takes an entry or goes on to the next block.
        while self.block < blocks {
            let bytes = inner.dir_block(&self.dir, self.block)?;
            let block = DirBlock::from_bytes(bytes, self.dir.nid, self.block)?;
            if self.entry >= block.len() {
                last = heapless::Vec::from_slice(block.last_name()?).ok();
                self.block = self.block.saturating_add(1);
                self.entry = 0;
                continue;
            }
            let found = block.entry(self.entry)?;
            if last.take().is_some_and(|last| *last >= *found.name) {
                return Err(self.out_of_order(self.block, self.entry));
            }
            if let Some(before) = self.entry.checked_sub(1)
                && block.entry(before)?.name >= found.name
            {
                return Err(self.out_of_order(self.block, self.entry));
            }
            self.entry = self.entry.saturating_add(1);
            if found.name == b"." || found.name == b".." {
                continue;
            }
            let name = heapless::Vec::from_slice(found.name).map_err(|_| PathError::TooLong)?;
            return Ok(Some(DirEntry { name, nid: found.nid, kind: found.kind }));
        }
        Ok(None)
    }

    fn out_of_order(&self, block: u64, entry: u16) -> Error {
        Error::Corrupt(Corrupt::Name { nid: self.dir.nid, block, entry, fault: NameFault::Order })
    }
}
