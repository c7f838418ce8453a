//! Bounce buffers: the unaligned edges of a read land here and are copied out.
//!
//! Always: bounded; a buffer is allocated at its first use.

/// Bytes of one bounce buffer: at least a sector, or a block of a region.
#[cfg(feature = "alloc")]
pub const BOUNCE_BYTES: usize = 8192;
/// Bytes of the bounce buffer: a sector, or a block of a region.
#[cfg(not(feature = "alloc"))]
pub const BOUNCE_BYTES: usize = 4096;

/// The most bounce buffers of a mount.
pub const BOUNCES: usize = if cfg!(feature = "alloc") { 16 } else { 1 };

/// A bounce buffer.
#[cfg(feature = "alloc")]
pub type Bounce = alloc::boxed::Box<[u8]>;
/// A bounce buffer.
#[cfg(not(feature = "alloc"))]
pub type Bounce = &'static mut [u8];

/// The bounce buffers of one mount.
pub type Bounces = crate::read::shelf::Shelf<Bounce, BOUNCES>;

/// Returns a new buffer; an empty one where there is no heap, and the buffer was lent.
pub fn make() -> Bounce {
    #[cfg(feature = "alloc")]
    {
        alloc::vec![0; BOUNCE_BYTES].into_boxed_slice()
    }
    #[cfg(not(feature = "alloc"))]
    {
        Bounce::default()
    }
}
