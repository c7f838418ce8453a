//! A reference-counted, page-aligned byte buffer: written while one handle exists, shared
//! read-only afterwards.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::fmt;
use core::ops::{Deref, Range};

const ALIGN: usize = 4096;

/// A handle to a page-aligned buffer.
///
/// While a single handle exists the bytes can be changed through [`Buffer::get_mut`]; a clone
/// makes them immutable until it is dropped. A device that writes from a buffer holds a handle,
/// so readers may go on reading the same bytes.
#[derive(Clone)]
pub struct Buffer {
    // Not `Arc<[u8]>`: a slice goes into one of those only by a copy.
    owner: Arc<Box<[u8]>>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// A zeroed buffer of `len` bytes. Allocates.
    pub fn new(len: usize) -> Self {
        let owner = Arc::new(vec![0; len.saturating_add(ALIGN)].into_boxed_slice());
        let start = owner.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { owner, start, len }
    }

    /// The bytes, if this is the only handle.
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        let end = self.start.checked_add(self.len)?;
        Arc::get_mut(&mut self.owner)?.get_mut(self.start..end)
    }

    /// Makes this handle see `len` bytes from where it begins; false, and nothing happens, if
    /// there are fewer.
    pub fn set_len(&mut self, len: usize) -> bool {
        let fits = self.start.checked_add(len).is_some_and(|end| end <= self.owner.len());
        if fits {
            self.len = len;
        }
        fits
    }

    /// A handle that sees only `range` of the bytes that this one sees; `None` if they do not
    /// reach that far.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let len = range.end.checked_sub(range.start)?;
        if range.end > self.len {
            return None;
        }
        let start = self.start.checked_add(range.start)?;
        Some(Self { owner: Arc::clone(&self.owner), start, len })
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let end = self.start.saturating_add(self.len);
        self.owner.get(self.start..end).unwrap_or_default()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
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
