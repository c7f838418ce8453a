//! Memory that a mount may come to need.
//!
//! Always: none is allocated before it is needed, and then all at once; what nobody asked for is
//! not written, so that it costs a machine no page.

use alloc::vec::Vec;

/// Room for so many bytes.
#[derive(Debug, Default)]
pub struct Room {
    memory: Vec<u8>,
    bytes: usize,
}

impl Room {
    /// Allocates nothing.
    pub fn new(bytes: usize) -> Self {
        Self { memory: Vec::new(), bytes }
    }

    /// Bytes that it may still allocate.
    pub fn reserve_bytes(&self) -> usize {
        self.bytes.saturating_sub(self.memory.capacity())
    }

    /// Its first `len` bytes, whatever they are; as many as there are if that is more.
    pub fn first(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(self.bytes);
        if self.memory.len() < len {
            if self.memory.capacity() == 0 {
                self.memory = Vec::with_capacity(self.bytes);
            }
            self.memory.resize(len, 0);
        }
        self.memory.get_mut(..len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_allocated_once_and_written_as_far_as_it_is_asked_for() {
        let mut room = Room::new(1000);
        assert_eq!((room.reserve_bytes(), room.memory.capacity()), (1000, 0));
        room.first(10).fill(7);
        assert_eq!(
            (room.reserve_bytes(), room.memory.capacity(), room.memory.len()),
            (0, 1000, 10)
        );
        assert_eq!(room.first(4), [7; 4]);
        assert_eq!(room.first(2000).len(), 1000);
        assert_eq!(room.memory.capacity(), 1000);
        assert!(Room::new(0).first(5).is_empty());
    }
}
