//! Memory that is lent to a mount, where there is no heap.
//!
//! Always: nobody else has it until the machine is reset; with `alloc` there is none, because the
//! heap has it.

/// Memory that a mount works in without `alloc`: 16 KiB, for a `static`, so that none of it passes
/// by way of a stack. With `alloc` it is empty.
#[derive(Debug)]
pub struct Memory {
    /// Pages of metadata.
    #[cfg(not(feature = "alloc"))]
    pub(super) pages: super::metadata::Pages,
    /// A directory block that does not lie in one page.
    #[cfg(not(feature = "alloc"))]
    pub(super) dir: [u8; super::metadata::PAGE_BYTES],
    /// Where unaligned edges land.
    #[cfg(not(feature = "alloc"))]
    pub(super) bounce: [u8; super::io::BOUNCE_BYTES],
}

/// What a mount is lent: nothing, the heap has all.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug)]
pub struct Lent;
/// What a mount is lent.
#[cfg(not(feature = "alloc"))]
pub type Lent = &'static mut Memory;

impl Memory {
    /// Returns memory, all zeros: a `static` of it takes no room in the binary.
    pub const fn new() -> Self {
        Self {
            #[cfg(not(feature = "alloc"))]
            pages: super::metadata::NO_PAGES,
            #[cfg(not(feature = "alloc"))]
            dir: [0; super::metadata::PAGE_BYTES],
            #[cfg(not(feature = "alloc"))]
            bounce: [0; super::io::BOUNCE_BYTES],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}
