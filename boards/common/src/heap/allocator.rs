//! The global allocator, and the seal that limits it.
//!
//! Always: after [`seal`] no more is in use than it settled; an attempt is a bug of ours and panics
//! with what was asked. Freeing stays allowed.

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::ptr::{NonNull, null_mut};

use spin::Mutex;

use super::space::Space;

struct State {
    space: Space,
    /// The most bytes that may be in use.
    limit: usize,
    used_peak: usize,
}

struct Allocator(Mutex<State>);

#[global_allocator]
static ALLOCATOR: Allocator =
    Allocator(Mutex::new(State { space: Space::empty(), limit: usize::MAX, used_peak: 0 }));

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
    // SAFETY: the caller promises valid, unused memory and a single call.
    unsafe { ALLOCATOR.0.lock().space.init(range) };
}

/// Ends allocation but for `reserve` bytes more than are in use now: from there on an attempt
/// panics with its size.
pub fn seal(reserve: usize) {
    let mut state = ALLOCATOR.0.lock();
    state.limit = state.space.used().saturating_add(reserve);
}

/// How full the heap is.
pub fn usage() -> HeapUse {
    let state = ALLOCATOR.0.lock();
    HeapUse { used: state.space.used(), used_peak: state.used_peak, total: state.space.size() }
}

// SAFETY: memory comes from one space under a lock, which hands out disjoint blocks of at least the
// layout's size and alignment; nothing here unwinds (panics end the run).
unsafe impl GlobalAlloc for Allocator {
    // One copy of each, not one for each way to allocate.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut state = self.0.lock();
        let used = state.space.used();
        if used.saturating_add(layout.size()) > state.limit {
            let limit = state.limit;
            // A panic may want memory, and this one is reported.
            drop(state);
            panic!(
                "allocation of {} bytes (alignment {}) after the heap was sealed at {limit} with \
                 {used} in use",
                layout.size(),
                layout.align()
            );
        }
        let block = state.space.take(layout);
        state.used_peak = state.used_peak.max(state.space.used());
        block.map_or(null_mut(), NonNull::as_ptr)
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
        unsafe { self.0.lock().space.release(block, layout) };
    }
}
