//! Bounce buffers: where the unaligned edges of a read land before they are copied out.
//!
//! Always: bounded, and allocated once.

/// Bytes of one bounce buffer.
pub const BOUNCE_BYTES: usize = 8192;

#[cfg(feature = "alloc")]
const COUNT: usize = 16;
#[cfg(not(feature = "alloc"))]
const COUNT: usize = 1;

/// The bounce buffers of one mount.
#[derive(Debug)]
pub struct Bounce {
    #[cfg(feature = "alloc")]
    memory: alloc::boxed::Box<[u8]>,
    #[cfg(not(feature = "alloc"))]
    memory: [u8; COUNT * BOUNCE_BYTES],
}

impl Bounce {
    /// Allocates them.
    pub fn new() -> Self {
        Self {
            #[cfg(feature = "alloc")]
            memory: alloc::vec![0; COUNT * BOUNCE_BYTES].into_boxed_slice(),
            #[cfg(not(feature = "alloc"))]
            memory: [0; COUNT * BOUNCE_BYTES],
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        COUNT
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.memory.chunks_exact_mut(BOUNCE_BYTES)
    }
}
