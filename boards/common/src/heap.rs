//! The heap: one range of RAM, and a seal that limits what may still be allocated.
//!
//! Always: after [`seal`] no more is in use than it settled; an attempt is a bug of ours and panics
//! with what was asked. Freeing stays allowed.

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::ptr::{NonNull, null_mut, with_exposed_provenance_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

use linked_list_allocator::Heap;
use spin::Mutex;

struct Allocator {
    heap: Mutex<Heap>,
    /// The most bytes that may be in use.
    limit: AtomicUsize,
    used_peak: AtomicUsize,
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator {
    heap: Mutex::new(Heap::empty()),
    limit: AtomicUsize::new(usize::MAX),
    used_peak: AtomicUsize::new(0),
};

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

/// Gives `range` to the heap.
///
/// # Safety
///
/// `range` is RAM that is mapped to itself and that nothing else uses, ever; called once.
pub(crate) unsafe fn init(range: Range<usize>) {
    let start = with_exposed_provenance_mut::<u8>(range.start);
    let len = range.end.saturating_sub(range.start);
    // SAFETY: the caller promises valid, unused memory and a single call.
    unsafe { ALLOCATOR.heap.lock().init(start, len) };
}

/// Ends allocation but for `reserve` bytes more than are in use now: from there on an attempt
/// panics with its size.
pub fn seal(reserve: usize) {
    let used = ALLOCATOR.heap.lock().used();
    ALLOCATOR.limit.store(used.saturating_add(reserve), Ordering::Relaxed);
}

/// How full the heap is.
pub fn usage() -> HeapUse {
    let heap = ALLOCATOR.heap.lock();
    let used_peak = ALLOCATOR.used_peak.load(Ordering::Relaxed);
    HeapUse { used: heap.used(), used_peak, total: heap.size() }
}

// SAFETY: memory comes from linked_list_allocator's heap under a lock, which hands out disjoint
// blocks of at least the layout's size and alignment; nothing here unwinds (panics end the run).
unsafe impl GlobalAlloc for Allocator {
    // One copy of each, not one for each way to allocate.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.heap.lock();
        let limit = self.limit.load(Ordering::Relaxed);
        if heap.used().saturating_add(layout.size()) > limit {
            let used = heap.used();
            // A panic may want memory, and this one is reported.
            drop(heap);
            panic!(
                "allocation of {} bytes (alignment {}) after the heap was sealed at {limit} with \
                 {used} in use",
                layout.size(),
                layout.align()
            );
        }
        let block = heap.allocate_first_fit(layout).map_or(null_mut(), NonNull::as_ptr);
        self.used_peak.fetch_max(heap.used(), Ordering::Relaxed);
        block
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller passes a layout that is not empty, as `alloc` asks.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: the block is new, and has as many bytes as the layout.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else { return };
        // SAFETY: the caller passes a block of this allocator with its own layout.
        unsafe { self.heap.lock().deallocate(block, layout) };
    }
}
