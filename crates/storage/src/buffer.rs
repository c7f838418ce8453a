//! A reference-counted, page-aligned byte buffer.
//!
//! Always: the bytes change only while a single handle exists; several handles share them
//! read-only.

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;
use core::ops::{Deref, Range};

use super::atomic::Arc;

const ALIGN: usize = 4096;

/// A handle to a page-aligned buffer.
///
/// While a single handle exists the bytes can be changed through [`Buffer::get_mut`]; a clone
/// makes them immutable until it is dropped. A device that writes from a buffer holds a handle,
/// so readers may use the same bytes meanwhile.
#[derive(Clone)]
pub struct Buffer {
    // Not `Arc<[u8]>`: that would copy the bytes of a new buffer.
    owner: Arc<Box<[u8]>>,
    /// The bytes of `owner` that this handle sees.
    seen: Range<usize>,
}

impl Buffer {
    /// Returns a zeroed buffer of `len` bytes. Allocates.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "the allocator has given ALIGN bytes more than `len`"
    )]
    pub fn new(len: usize) -> Self {
        // An overflow becomes a length that no allocator grants.
        let owner = Arc::new(vec![0; len.saturating_add(ALIGN)].into_boxed_slice());
        let start = owner.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { owner, seen: start..start + len }
    }

    /// Returns the bytes, if this is the only handle.
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        Arc::get_mut(&mut self.owner)?.get_mut(self.seen.clone())
    }

    /// Returns the most bytes that [`Buffer::set_len`] can make this handle see: at least those that
    /// the buffer was made with, from the handle's first byte on.
    #[expect(clippy::arithmetic_side_effects, reason = "a handle begins within the bytes")]
    pub fn len_max(&self) -> usize {
        self.owner.len() - self.seen.start
    }

    /// Makes this handle see the `len` bytes from its first byte on. Returns false, and changes
    /// nothing, if the buffer is shorter.
    pub fn set_len(&mut self, len: usize) -> bool {
        let end = self.seen.start.checked_add(len).filter(|end| *end <= self.owner.len());
        if let Some(end) = end {
            self.seen.end = end;
        }
        end.is_some()
    }

    /// Returns a handle that sees only `range` of the bytes that this handle sees; `None` if
    /// `range` ends after them.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let start = self.seen.start.checked_add(range.start)?;
        let end = self.seen.start.checked_add(range.end)?;
        Some(Self { owner: Arc::clone(&self.owner), seen: start..end })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[expect(
        clippy::indexing_slicing,
        reason = "each function that makes or changes a handle checks the range"
    )]
    fn deref(&self) -> &[u8] {
        &self.owner[self.seen.clone()]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn bytes_of_a_buffer_stay_where_they_are_while_it_moves() {
        let mut buffer = Buffer::new(8192);
        let at = buffer.as_ptr();
        assert_eq!(at.align_offset(ALIGN), 0);
        if let Some(bytes) = buffer.get_mut() {
            bytes.fill(7);
        }
        let mut moved = Vec::from([buffer]);
        let Some(buffer) = moved.pop() else { return };
        assert_eq!(buffer.as_ptr(), at);
        assert!(buffer.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn buffer_with_two_handles_is_read_and_not_written() {
        let mut buffer = Buffer::new(4096);
        assert!(buffer.set_len(100));
        let other = buffer.slice(10..20);
        assert!(buffer.get_mut().is_none());
        assert_eq!(other.as_deref().map(<[u8]>::len), Some(10));
        drop(other);
        assert!(buffer.get_mut().is_some_and(|bytes| bytes.len() == 100));
        assert!(buffer.set_len(4096) && !buffer.set_len(1 << 20));
        assert!(buffer.slice(0..4097).is_none());
    }
}
