//! A file, or a part of one, that is handed over.
//!
//! Always: a part that is open lies in its file.

use alloc::string::String;
use core::fmt;

use rootlet::storage::Storage;
use rootlet_base::num::{OrBug, clip, wide};
use rootlet_base::units::ByteRange;

use super::error::{BootError, Why};
use crate::command::{GuestRoot, catch_up};

/// How much is read at once: enough to fill the queues of all devices, and little enough for the
/// region to follow.
const STEP_BYTES: usize = 2 << 20;

/// A file, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The path of the file.
    pub path: String,
    /// The part; all of the file without one.
    pub range: Option<ByteRange>,
}

impl Part {
    /// Returns all of a file.
    pub const fn whole(path: String) -> Self {
        Self { path, range: None }
    }

    /// Opens the file.
    pub(super) fn open<'p, 'r, S: Storage>(
        &'p self,
        root: &'r GuestRoot<S>,
    ) -> Result<Open<'p, 'r, S>, BootError<'p>> {
        let fault = |why| BootError::at(&self.path, why);
        let file = root.open(self.path.as_bytes()).map_err(|error| fault(Why::Read(error)))?;
        let whole = ByteRange::first(file.size());
        let range = self.range.map_or(whole, |range| range);
        if !range.within(whole) {
            return Err(fault(Why::Outside { end: range.end(), bytes: whole.end() }));
        }
        Ok(Open { path: &self.path, root, file, range })
    }
}

/// A part of an open file.
pub(super) struct Open<'p, 'r, S> {
    path: &'p str,
    root: &'r GuestRoot<S>,
    file: rootlet::read::File<'r, S, Option<rootlet::cache::Cache>>,
    range: ByteRange,
}

impl<S> fmt::Display for Open<'_, '_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.as_bytes().escape_ascii().fmt(f)
    }
}

impl<'p, S: Storage> Open<'p, '_, S> {
    /// Returns an error of this part.
    pub(super) fn fault(&self, why: Why) -> BootError<'p> {
        BootError::at(self.path, why)
    }

    /// Returns the length of the part.
    pub(super) const fn bytes(&self) -> u64 {
        self.range.len()
    }

    /// Returns the part of this one that is `range` of it.
    pub(super) fn within(mut self, range: ByteRange) -> Result<Self, BootError<'p>> {
        let bytes = self.bytes();
        if !range.within(ByteRange::first(bytes)) {
            return Err(self.fault(Why::Outside { end: range.end(), bytes }));
        }
        self.range = self.range.skip(range.start()).take(range.len());
        Ok(self)
    }

    /// Fills `out` from byte `at` of the part on, as far as the part reaches. Returns the number of
    /// bytes.
    pub(super) fn read(&self, at: u64, out: &mut [u8]) -> Result<usize, BootError<'p>> {
        let range = self.range.skip(at);
        let len = clip(range.len(), out.len());
        let (out, _) = out.split_at_mut_checked(len).or_bug().map_err(|bug| self.bug(bug))?;
        let got = self.file.read_at(range.start(), out);
        let got = got.map_err(|error| self.fault(Why::Read(error)))?;
        if got < len {
            return Err(self.fault(Why::Outside { end: self.range.end(), bytes: wide(got) }));
        }
        Ok(len)
    }

    /// Fills `out`, which is as long as the part, and lets the region follow.
    pub(super) fn read_all(&self, out: &mut [u8]) -> Result<(), BootError<'p>> {
        let mut at = 0;
        for piece in out.chunks_mut(STEP_BYTES) {
            let got = self.read(at, piece)?;
            if got < piece.len() {
                return Err(self.fault(Why::Outside { end: at, bytes: self.bytes() }));
            }
            catch_up(self.root);
            at = at.checked_add(wide(got)).or_bug().map_err(|bug| self.bug(bug))?;
        }
        Ok(())
    }

    /// Gives each piece of the part to `each`, and lets the region follow. `buffer` is where the
    /// pieces lie.
    pub(super) fn read_pieces(
        &self,
        buffer: &mut [u8],
        mut each: impl FnMut(&[u8]) -> Result<(), Why>,
    ) -> Result<(), BootError<'p>> {
        let mut at = 0;
        // Ends: each round reads at least a byte, or is the last one.
        loop {
            let got = self.read(at, buffer)?;
            if got == 0 {
                return Ok(());
            }
            let (piece, _) = buffer.split_at_checked(got).or_bug().map_err(|bug| self.bug(bug))?;
            each(piece).map_err(|why| self.fault(why))?;
            catch_up(self.root);
            at = at.checked_add(wide(got)).or_bug().map_err(|bug| self.bug(bug))?;
        }
    }

    /// Returns the error for what cannot be.
    pub(super) fn bug(&self, bug: rootlet::Bug) -> BootError<'p> {
        self.fault(Why::Read(bug.into()))
    }
}
