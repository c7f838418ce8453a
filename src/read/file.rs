//! An open file: `read_at`, and embedded-io's `Read` and `Seek` over it.
//!
//! Always: a read that succeeds gives exactly the file's bytes: fewer than asked at the end of the
//! file, and none after it.

use super::Root;
use super::stop::Blocking;
#[cfg(feature = "alloc")]
use super::task::Lent;
use crate::cache::Layer;
use crate::erofs::Inode;
use crate::error::{Error, PathError};
use crate::num::{OrBug, clip, wide};
use crate::storage::Storage;
use crate::storage::events::{Cause, Kind, Place};
use crate::trace;
use crate::units::{ByteRange, count};
use embedded_io::SeekFrom;

/// An open regular file with a position.
#[derive(Debug)]
pub struct File<'r, S, L> {
    pub(super) root: &'r Root<S, L>,
    pub(super) inode: Inode,
    pub(super) position: u64,
    /// The bytes that the file lends.
    #[cfg(feature = "alloc")]
    pub(super) lent: Option<Lent>,
}

impl<'r, S: Storage, L: Layer<S>> File<'r, S, L> {
    pub(super) fn new(root: &'r Root<S, L>, inode: Inode) -> Self {
        Self {
            root,
            inode,
            position: 0,
            #[cfg(feature = "alloc")]
            lent: None,
        }
    }

    /// Returns the inode of the file.
    pub fn inode(&self) -> &Inode {
        &self.inode
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.inode.size()
    }

    /// Fills `out` with the file's bytes from `offset` on, and returns their number: less than
    /// `out.len()` only at the end of the file. Aligned reads land in `out` by DMA.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<usize, Error> {
        let left = ByteRange::first(self.inode.size()).skip(offset).len();
        let len = clip(left, out.len());
        let out = out.get_mut(..len).or_bug()?;
        trace::trace!("read of nid {}: {} bytes from {}", self.inode.nid().0, len, offset);
        let mut inner = self.root.lock();
        count(&mut inner.io.stats.reads, 1);
        inner.set_file(Some(self.inode.nid().0));
        let asked = inner.io.recorder.depart(inner.storage);
        let read = inner.data(&self.inode, offset, out).blocking();
        inner.set_file(None);
        read?;
        inner.note_first_byte();
        count(&mut inner.io.stats.asked_bytes, wide(len));
        let place = Place { slot: None, at: offset, len: wide(len) };
        let now_ns = || inner.storage.now_ns();
        inner.io.recorder.add(|| asked.event(now_ns(), (Kind::Read, Cause::Demand), place));
        Ok(len)
    }
}

impl<S, L> embedded_io::ErrorType for File<'_, S, L> {
    type Error = Error;
}

impl<S: Storage, L: Layer<S>> embedded_io::Read for File<'_, S, L> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let len = self.read_at(self.position, out)?;
        self.position = self.position.checked_add(wide(len)).or_bug()?;
        Ok(len)
    }
}

impl<S: Storage, L: Layer<S>> embedded_io::Seek for File<'_, S, L> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, Error> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.inode.size().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(PathError::BeforeStart)?;
        Ok(self.position)
    }
}
