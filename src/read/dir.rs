//! Listing a directory: its entries in the order of their names' bytes.
//!
//! Always: each name is greater than the name before it, also across blocks; `.` and `..` are
//! left out.

use super::Root;
use super::guard::{Guard, lifted};
use super::metadata;
use super::stop::{Blocking, Stop};
#[cfg(feature = "alloc")]
use super::union::Merged;
use crate::cache::Layer;
use crate::erofs::{BlockSize, Corrupt, DirBlock, FileKind, Inode, NameFault, Nid};
use crate::error::{Error, PathError};
use crate::num::OrBug;
use crate::storage::Storage;

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// An entry of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirEntry {
    /// The name: 1 to 255 bytes, in any encoding.
    pub name: heapless::Vec<u8, NAME_BYTES_MAX>,
    /// The number of the entry's inode.
    pub nid: Nid,
    /// The type of the file: from the inode if that was read, else from the directory, which may
    /// give none. Where the two differ, the inode is right.
    pub kind: Option<FileKind>,
}

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Copies block `block` of a directory to `out`, for [`DirBlock::from_bytes`], and returns the
    /// block's length in bytes: the image's block size, or less for the last block.
    pub fn read_dir_block(&self, dir: &Inode, block: u64, out: &mut [u8]) -> Result<usize, Error> {
        self.own(dir)?;
        if dir.kind() != FileKind::Directory {
            return Err(PathError::NotADirectory.into());
        }
        let mut inner = self.lock_at(dir);
        let size = inner.mount().superblock().block_size().bytes();
        let bytes = inner.dir_block(dir, block).blocking()?;
        let out = out.get_mut(..bytes.len()).ok_or(PathError::BufferTooSmall(size))?;
        out.copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

/// A position in a directory. Borrows nothing, so a caller may keep many.
#[derive(Clone, Debug)]
pub struct DirCursor {
    dir: Inode,
    block_size: BlockSize,
    block: u64,
    entry: u16,
    /// The position in a directory of a stack, in place of the one above.
    #[cfg(feature = "alloc")]
    merged: Option<alloc::boxed::Box<Merged>>,
}

impl DirCursor {
    /// Returns a cursor at `position` of `dir`; see [`Root::read_dir_at`].
    pub(super) fn open<S: Storage, L: Layer<S>>(
        guard: &mut Guard<'_, S, L>,
        dir: Inode,
        position: u64,
    ) -> Result<Self, Stop> {
        let size = guard.mount().superblock().block_size();
        #[cfg(feature = "alloc")]
        if guard.is_stack() {
            let mut cursor = Self::new(dir, size, 0)?;
            cursor.merged = Some(alloc::boxed::Box::new(guard.open_merged(&dir, position)?));
            return Ok(cursor);
        }
        Ok(Self::new(dir, size, position)?)
    }

    /// Returns a cursor at `position` of a directory of one image.
    pub(super) fn new(dir: Inode, block_size: BlockSize, position: u64) -> Result<Self, Error> {
        if dir.kind() != FileKind::Directory {
            return Err(PathError::NotADirectory.into());
        }
        let block = block_size.pow2().whole(position);
        let entry = block_size.offset_in(position).checked_div(DirBlock::ENTRY_BYTES.into());
        // A block has at most 65,536 bytes.
        let entry = u16::try_from(entry.or_bug()?).ok().or_bug()?;
        Ok(Self {
            dir,
            block_size,
            block,
            entry,
            #[cfg(feature = "alloc")]
            merged: None,
        })
    }

    /// Returns the position of the next entry, for [`Root::read_dir_at`]: the byte of the directory
    /// at which the entry begins, as on Linux. 0 at the start; at most the size of the directory,
    /// rounded up to whole blocks. In a stack of images the number has no such meaning.
    pub fn position(&self) -> Result<u64, Error> {
        #[cfg(feature = "alloc")]
        if let Some(merged) = &self.merged {
            return Ok(merged.position());
        }
        let before = self.block_size.pow2().times(self.block).or_bug()?;
        let within = u64::from(self.entry).checked_mul(DirBlock::ENTRY_BYTES.into());
        Ok(before.checked_add(within.or_bug()?).or_bug()?)
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Inode {
        &self.dir
    }

    /// Returns the next entry; `None` at the end.
    pub fn next<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
    ) -> Result<Option<DirEntry>, Error> {
        root.own(&self.dir)?;
        let mut entry = DirEntry::default();
        let found = self.step(&mut root.lock(), &mut entry).blocking()?;
        Ok(found.then_some(entry))
    }

    /// Writes the next entry to `entry`. Returns false at the end.
    pub(super) fn step<S: Storage, L: Layer<S>>(
        &mut self,
        guard: &mut Guard<'_, S, L>,
        entry: &mut DirEntry,
    ) -> Result<bool, Stop> {
        #[cfg(feature = "alloc")]
        if let Some(merged) = &mut self.merged {
            return Ok(merged.next(guard, entry)?.is_some());
        }
        self.advance(guard, entry, false)
    }

    /// Writes the next entry to `entry`, and returns the entry's inode; `None` at the end. Faster
    /// than [`DirCursor::next`] and [`Root::inode`]: it takes one lock and copies no entry.
    ///
    /// # Errors
    /// If `entry` has a name, its inode could not be read, and the next call takes the entry after
    /// it. If the name is empty, the directory could not be read, and the next call tries again.
    pub fn next_inode<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
        entry: &mut DirEntry,
    ) -> Result<Option<Inode>, Error> {
        entry.name.clear();
        root.own(&self.dir)?;
        let mut inner = root.lock();
        #[cfg(feature = "alloc")]
        if let Some(merged) = &mut self.merged {
            return merged.next(&mut inner, entry).blocking();
        }
        if !self.advance(&mut inner, entry, true).blocking()? {
            return Ok(None);
        }
        let inode = inner.inode(entry.nid).blocking()?;
        entry.kind = Some(inode.kind());
        Ok(Some(inode))
    }

    /// Returns the directories whose entries come: the directory, or all that are merged in it.
    #[cfg(feature = "alloc")]
    pub(super) fn parts(&self) -> impl Iterator<Item = &Inode> {
        let own = self.merged.is_none().then_some(&self.dir);
        own.into_iter().chain(self.merged.iter().flat_map(|merged| merged.parts()))
    }

    /// Returns the inode numbers of the block's next entries, as far as the block can be read.
    fn coming<S: Storage, L: Layer<S>>(&self, inner: &mut Guard<'_, S, L>) -> metadata::Nids {
        let Ok(bytes) = inner.dir_block(&self.dir, self.block) else {
            return metadata::Nids::new();
        };
        let block = DirBlock::from_bytes(bytes, self.dir.nid(), self.block).ok();
        let layer = self.dir.nid().layer();
        let targets =
            (self.entry..).take(metadata::ENTRIES).map_while(|entry| block?.target(entry));
        targets.map_while(|nid| lifted(nid, layer).ok()).collect()
    }

    /// Writes the next entry of a directory of one image to `entry`. Returns false at the end. With `wanted`, loads the pages
    /// of the coming inodes ahead.
    pub(super) fn advance<S: Storage, L: Layer<S>>(
        &mut self,
        inner: &mut Guard<'_, S, L>,
        entry: &mut DirEntry,
        wanted: bool,
    ) -> Result<bool, Stop> {
        let blocks = self.block_size.blocks_of(self.dir.size());
        entry.name.clear();
        // The last name of the block before, while the cursor is at the start of a block.
        let mut last = None;
        // Each round takes an entry or turns to the next block.
        while self.block < blocks {
            if wanted && usize::from(self.entry).is_multiple_of(metadata::ENTRIES) {
                let nids = self.coming(inner);
                inner.bring(&nids)?;
            }
            let bytes = inner.dir_block(&self.dir, self.block)?;
            let block = DirBlock::from_bytes(bytes, self.dir.nid(), self.block)?;
            if self.entry >= block.len() {
                let name = heapless::Vec::<u8, NAME_BYTES_MAX>::from_slice(block.last_name()?);
                last = Some(name.ok().or_bug()?);
                self.block = self.block.checked_add(1).or_bug()?;
                self.entry = 0;
                continue;
            }
            let found = block.entry(self.entry)?;
            let before = match self.entry.checked_sub(1) {
                Some(before) => Some(block.name_bytes(before)?),
                None => last.as_deref(),
            };
            if before.is_some_and(|before| before >= found.name) {
                return Err(self.out_of_order(self.block, self.entry).into());
            }
            last = None;
            // Below the number of entries of the block.
            self.entry = self.entry.checked_add(1).or_bug()?;
            if found.name == b"." || found.name == b".." {
                continue;
            }
            entry.name.extend_from_slice(found.name).map_err(|_| PathError::TooLong)?;
            (entry.nid, entry.kind) = (lifted(found.nid, self.dir.nid().layer())?, found.kind());
            return Ok(true);
        }
        Ok(false)
    }

    fn out_of_order(&self, block: u64, entry: u16) -> Error {
        Error::Corrupt(Corrupt::Name { nid: self.dir.nid(), block, entry, fault: NameFault::Order })
    }
}
