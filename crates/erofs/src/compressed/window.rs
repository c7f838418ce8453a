//! A window of index bytes in memory, so that neighbouring entries cost one read.
//!
//! Always: reads nothing after the end of the index; the window has at most [`RUN_BYTES`] bytes.

use super::super::block::{Nid, Span};
use super::super::corrupt::{Corrupt, Part};
use super::super::error::FormatError;
use super::metadata::Metadata;
use rootlet_base::num::{OrBug, clip};

/// The most bytes of a window.
pub const RUN_BYTES: usize = 256;

pub struct Window {
    nid: Nid,
    /// The byte after the index.
    end: u64,
    at: u64,
    len: usize,
    bytes: [u8; RUN_BYTES],
}

impl Window {
    /// Returns an empty window over the index `index` of inode `nid`.
    pub fn new(nid: Nid, index: Span) -> Result<Self, FormatError> {
        // An index whose end overflows was refused with its file.
        Ok(Self { nid, end: index.end().or_bug()?, at: 0, len: 0, bytes: [0; RUN_BYTES] })
    }

    /// Returns the `N` bytes at byte `at`, and keeps the bytes after them up to the window's
    /// length.
    pub fn get<const N: usize, M: Metadata>(
        &mut self,
        meta: &mut M,
        at: u64,
    ) -> Result<[u8; N], M::Error> {
        const { assert!(N <= RUN_BYTES, "an entry longer than a run") };
        if let Some(found) = self.loaded(at) {
            return Ok(found);
        }
        let len = self.end.checked_sub(at).map_or(0, |left| clip(left, RUN_BYTES));
        self.len = 0;
        if len < N {
            let short = Corrupt::Short { part: Part::CompressedMap(self.nid), need: N, got: len };
            return Err(FormatError::from(short).into());
        }
        meta.read(at, self.bytes.get_mut(..len).or_bug().map_err(FormatError::from)?)?;
        (self.at, self.len) = (at, len);
        Ok(self.loaded(at).or_bug().map_err(FormatError::from)?)
    }

    fn loaded<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let skip = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.bytes.get(..self.len)?.get(skip..)?.first_chunk().copied()
    }
}
