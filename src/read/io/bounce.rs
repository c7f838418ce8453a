//! Bounce buffers: the unaligned edges of a read land here and are copied out.
//!
//! Always: bounded, and allocated together, at the first use.

use crate::num::Bug;

/// Bytes of one bounce buffer: at least a sector, or a block of a region.
#[cfg(feature = "alloc")]
pub const BOUNCE_BYTES: usize = 8192;
/// Bytes of the bounce buffer: a sector, or a block of a region.
#[cfg(not(feature = "alloc"))]
pub const BOUNCE_BYTES: usize = 4096;

#[cfg(feature = "alloc")]
const COUNT: usize = 16;
#[cfg(not(feature = "alloc"))]
const COUNT: usize = 1;

/// The bounce buffers of one mount.
#[derive(Debug)]
pub struct Bounce {
    #[cfg(feature = "alloc")]
    memory: crate::read::room::Room,
    #[cfg(not(feature = "alloc"))]
    memory: &'static mut [u8; BOUNCE_BYTES],
}

impl Bounce {
    /// Returns the buffers. Allocates nothing.
    #[cfg(feature = "alloc")]
    pub fn new() -> Self {
        Self { memory: crate::read::room::Room::new(COUNT * BOUNCE_BYTES) }
    }

    /// Returns the one buffer, in this memory.
    #[cfg(not(feature = "alloc"))]
    pub fn over(memory: &'static mut [u8; BOUNCE_BYTES]) -> Self {
        Self { memory }
    }

    /// Returns the bytes that the buffers may still allocate.
    #[cfg(feature = "alloc")]
    pub fn reserve_bytes(&self) -> usize {
        self.memory.reserve_bytes()
    }

    /// Returns the number of buffers.
    pub fn len(&self) -> usize {
        COUNT
    }

    /// Returns all buffers. Allocates them at the first call.
    pub fn iter_mut(&mut self) -> Result<impl Iterator<Item = &mut [u8]>, Bug> {
        let memory = &mut self.memory;
        #[cfg(feature = "alloc")]
        let memory = memory.first(COUNT * BOUNCE_BYTES)?;
        Ok(memory.chunks_exact_mut(BOUNCE_BYTES))
    }
}
