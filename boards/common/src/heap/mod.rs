//! The heap: ranges of RAM, and the seal that limits it.
//!
//! Always: blocks in use lie apart; after [`Heap::seal`] no more is in use than it settled.

#[cfg(target_os = "none")]
mod allocator;

use core::alloc::Layout;
use core::ops::Range;
use core::ptr::{NonNull, with_exposed_provenance_mut};

use talc::base::Talc;
use talc::base::binning::DefaultBinning;
use talc::source::Manual;

#[cfg(target_os = "none")]
pub(crate) use allocator::{add, take};
#[cfg(target_os = "none")]
pub use allocator::{seal, usage};

/// Blocks begin at multiples of this, as from any allocator of C: bytes that lie across words are
/// copied and summed at half the rate.
const ALIGN_MIN: usize = 16;

/// Bytes of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapUse {
    /// In use now.
    pub used: usize,
    /// The most that were in use at once.
    pub used_peak: usize,
    /// All there are.
    pub total: usize,
}

/// Why there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// No range has room for it.
    Full,
    /// It is beyond what the seal settled.
    Sealed,
}

/// Ranges of memory, and the blocks in them.
struct Heap {
    blocks: Talc<Manual, DefaultBinning>,
    usage: HeapUse,
    /// The most bytes that may be in use.
    limit: usize,
}

impl Heap {
    /// Returns a heap without memory.
    const fn new() -> Self {
        let usage = HeapUse { used: 0, used_peak: 0, total: 0 };
        Self { blocks: Talc::new(Manual), usage, limit: usize::MAX }
    }

    /// Adds memory; a range that is too small for the first one adds none.
    ///
    /// # Safety
    ///
    /// `range` is memory that nothing else uses, ever.
    unsafe fn add(&mut self, range: Range<usize>) {
        let first = with_exposed_provenance_mut(range.start);
        // SAFETY: the caller promises memory that nothing else uses.
        if unsafe { self.blocks.claim(first, range.len()) }.is_some() {
            self.usage.total += range.len();
        }
    }

    /// Ends what is handed out but for `reserve` bytes more than are in use now.
    fn seal(&mut self, reserve: usize) {
        let limit = self.usage.used.checked_add(reserve);
        self.limit = limit.expect("a reserve is less than all memory");
    }

    /// Takes a block.
    fn take(&mut self, layout: Layout) -> Result<NonNull<u8>, Refused> {
        let used = self.usage.used.checked_add(layout.size()).ok_or(Refused::Full)?;
        if used > self.limit {
            return Err(Refused::Sealed);
        }
        let aligned = layout.align_to(ALIGN_MIN).map_err(|_| Refused::Full)?;
        // SAFETY: no layout that is asked for is empty (`GlobalAlloc::alloc`).
        let block = unsafe { self.blocks.allocate(aligned) }.ok_or(Refused::Full)?;
        self.usage.used = used;
        self.usage.used_peak = self.usage.used_peak.max(used);
        Ok(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// `block` came from [`Heap::take`] with this layout, and is nobody's any more.
    unsafe fn release(&mut self, block: *mut u8, layout: Layout) {
        let aligned = layout.align_to(ALIGN_MIN).expect("as the block was taken");
        // SAFETY: the caller promises a block that was handed out with this layout.
        unsafe { self.blocks.deallocate(block, aligned) };
        self.usage.used -= layout.size();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Returns memory of a test, and a heap over two pieces of it with a hole between.
    fn heap(bytes: usize) -> (Vec<u64>, Heap) {
        let mut memory = alloc::vec![0_u64; bytes / 8 * 3];
        let start = memory.as_mut_ptr().expose_provenance();
        let mut heap = Heap::new();
        for start in [start, start + 2 * bytes] {
            // SAFETY: the memory is the test's, which uses it through the heap alone.
            unsafe { heap.add(start..start + bytes) };
        }
        (memory, heap)
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 1).unwrap()
    }

    #[test]
    fn every_range_that_is_added_is_handed_out_and_used_again() {
        let (_memory, mut heap) = heap(1 << 20);
        assert_eq!(heap.usage.total, 2 << 20);
        for _ in 0..3 {
            let blocks: Vec<_> = core::iter::from_fn(|| heap.take(layout(300_000)).ok()).collect();
            assert_eq!((blocks.len(), heap.usage.used), (6, 1_800_000));
            assert!(blocks.iter().all(|block| block.addr().get().is_multiple_of(ALIGN_MIN)));
            // SAFETY: they came from this heap.
            blocks
                .iter()
                .for_each(|block| unsafe { heap.release(block.as_ptr(), layout(300_000)) });
        }
        assert_eq!((heap.usage.used, heap.usage.used_peak), (0, 1_800_000));
        assert_eq!(heap.take(layout(1 << 20)), Err(Refused::Full), "no range is as large");
    }

    #[test]
    fn after_the_seal_no_more_is_in_use_than_it_settled() {
        let (_memory, mut heap) = heap(1 << 20);
        let first = heap.take(layout(1000)).unwrap();
        heap.seal(500);
        assert_eq!(heap.take(layout(501)), Err(Refused::Sealed));
        heap.take(layout(500)).unwrap();
        assert_eq!(heap.take(layout(1)), Err(Refused::Sealed));
        // SAFETY: it came from this heap.
        unsafe { heap.release(first.as_ptr(), layout(1000)) };
        assert!(heap.take(layout(1000)).is_ok());
    }
}
