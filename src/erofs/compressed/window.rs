//! A run of index bytes in memory, so that neighbours cost one read.
//!
//! Always: reads nothing behind the end of the index; a run has at most [`RUN_BYTES`].

use super::super::block::{Nid, Span};
use super::super::corrupt::{Corrupt, Part};
use super::super::error::FormatError;
use super::Metadata;

/// Bytes of a run.
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
    /// Over an index of the inode, nothing read.
    pub fn new(nid: Nid, index: Span) -> Self {
        let end = index.at.saturating_add(index.len);
        Self { nid, end, at: 0, len: 0, bytes: [0; RUN_BYTES] }
    }

    /// The `N` bytes at byte `at`, with as many behind them as a run has.
    pub fn get<const N: usize, M: Metadata>(
        &mut self,
        meta: &mut M,
        at: u64,
    ) -> Result<[u8; N], M::Error> {
        const { assert!(N <= RUN_BYTES, "an entry longer than a run") };
        if let Some(found) = self.loaded(at) {
            return Ok(found);
        }
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(RUN_BYTES);
        let run = self.bytes.get_mut(..left.min(RUN_BYTES)).unwrap_or_default();
        self.len = 0;
        if run.len() >= N {
            meta.read(at, run)?;
            (self.at, self.len) = (at, run.len());
        }
        let short = Corrupt::Short { part: Part::CompressedMap(self.nid), need: N, got: self.len };
        Ok(self.loaded(at).ok_or(FormatError::from(short))?)
    }

    fn loaded<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let skip = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.bytes.get(..self.len)?.get(skip..)?.first_chunk().copied()
    }
}
