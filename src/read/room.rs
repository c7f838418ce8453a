//! Memory that is allocated when it is first needed.
//!
//! Always: allocated all at once, at the first use; bytes that nobody asked for are not written,
//! so they cost a machine no page.

use crate::num::{Bug, OrBug};
use alloc::vec::Vec;

/// A buffer of a fixed size, allocated at the first use.
#[derive(Debug, Default)]
pub struct Room {
    memory: Vec<u8>,
    bytes: usize,
}

impl Room {
    /// Returns a buffer of `bytes` bytes. Allocates nothing.
    pub fn new(bytes: usize) -> Self {
        Self { memory: Vec::new(), bytes }
    }

    /// Returns the bytes that the buffer may still allocate: all until the first use, then none.
    pub fn reserve_bytes(&self) -> usize {
        if self.memory.capacity() == 0 { self.bytes } else { 0 }
    }

    /// Returns the first `len` bytes, with any content.
    ///
    /// # Errors
    /// A [`Bug`] if the buffer is smaller than `len`.
    #[track_caller]
    pub fn first(&mut self, len: usize) -> Result<&mut [u8], Bug> {
        if len > self.bytes {
            return Err(Bug::here());
        }
        if self.memory.len() < len {
            if self.memory.capacity() == 0 {
                self.memory = Vec::with_capacity(self.bytes);
            }
            self.memory.resize(len, 0);
        }
        self.memory.get_mut(..len).or_bug()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_allocated_once_and_written_as_far_as_it_is_asked_for() {
        let mut room = Room::new(1000);
        assert_eq!((room.reserve_bytes(), room.memory.capacity()), (1000, 0));
        assert_eq!(room.first(10).map(|bytes| bytes.fill(7)), Ok(()));
        assert_eq!(
            (room.reserve_bytes(), room.memory.capacity(), room.memory.len()),
            (0, 1000, 10)
        );
        assert_eq!(room.first(4), Ok([7; 4].as_mut_slice()));
        assert_eq!(room.first(1000).map(|bytes| bytes.len()), Ok(1000));
        assert_eq!(room.memory.capacity(), 1000);
        assert!(room.first(1001).is_err() && Room::new(0).first(5).is_err());
    }
}
