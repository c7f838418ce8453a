//! The global allocator.
//!
//! Always: an attempt after the seal is a bug of ours and panics with what was asked; freeing stays
//! allowed.

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::ptr::null_mut;

use spin::Mutex;

use super::{Heap, HeapUse, Refused};

struct Allocator(Mutex<Heap>);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator(Mutex::new(Heap::new()));

/// Gives `range` to the heap.
///
/// # Safety
///
/// `range` is RAM that is mapped to itself and that nothing else uses, ever.
pub(crate) unsafe fn add(range: Range<usize>) {
    // SAFETY: the caller promises valid, unused memory.
    unsafe { ALLOCATOR.0.lock().add(range) };
}

/// Ends allocation but for `reserve` bytes more than are in use now: from there on an attempt
/// panics with its size.
pub fn seal(reserve: usize) {
    ALLOCATOR.0.lock().seal(reserve);
}

/// Returns how full the heap is.
pub fn usage() -> HeapUse {
    ALLOCATOR.0.lock().usage
}

// SAFETY: memory comes from one heap under a lock, which hands out disjoint blocks of at least the
// layout's size and alignment; nothing here unwinds (panics end the run).
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut heap = self.0.lock();
        match heap.take(layout) {
            Ok(block) => block.as_ptr(),
            Err(Refused::Full) => null_mut(),
            Err(Refused::Sealed) => {
                let (limit, used) = (heap.limit, heap.usage.used);
                // A panic may want memory, and this one is reported.
                drop(heap);
                panic!(
                    "allocation of {} bytes (alignment {}) after the heap was sealed at {limit} \
                     with {used} in use",
                    layout.size(),
                    layout.align()
                );
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller passes a block of this allocator with its own layout.
        unsafe { self.0.lock().release(block, layout) };
    }
}
