//! Listing the extended attributes of an inode.
//!
//! Always: at most 255 shared entries and as many inline ones as the body has room for; the
//! caller's buffer bounds the memory.

use super::Root;
use crate::cache::Layer;
use crate::erofs::Inode;
use crate::erofs::xattr::{Body, Entry};
use crate::error::{Error, PathError};
use crate::storage::Storage;

/// A buffer of this many bytes is enough for the xattrs of any inode.
pub const XATTR_BYTES_MAX: usize = 262_148 + Entry::BYTES_MAX;

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Calls `each` with prefix, rest of the name, and value of every xattr of `inode`, inline
    /// ones first. `buffer` holds the body and one shared entry; [`XATTR_BYTES_MAX`] always do.
    pub fn xattrs(
        &self,
        inode: &Inode,
        buffer: &mut [u8],
        mut each: impl FnMut(&str, &[u8], &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(span) = inode.xattrs else { return Ok(()) };
        let too_small = PathError::BufferTooSmall(span.len);
        let len = usize::try_from(span.len).unwrap_or(usize::MAX);
        let (body, rest) = buffer.split_at_mut_checked(len).ok_or(too_small)?;
        self.lock().meta(span.at, body)?;
        let body = Body::from_bytes(inode.nid, body)?;
        for entry in body.entries() {
            let entry = entry?;
            each(entry.prefix()?, entry.name, entry.value)?;
        }
        for id in body.shared() {
            let at = self.lock().superblock.shared_xattr_at(id)?;
            let mut header = [0; Entry::HEADER_BYTES];
            self.lock().meta(at, &mut header)?;
            let need = Entry::bytes_needed(header);
            let too_small = PathError::BufferTooSmall(u64::try_from(need).unwrap_or(u64::MAX));
            let raw = rest.get_mut(..need).ok_or(too_small)?;
            self.lock().meta(at, raw)?;
            let entry = Entry::from_shared(id, raw)?;
            each(entry.prefix()?, entry.name, entry.value)?;
        }
        Ok(())
    }
}
