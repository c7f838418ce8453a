//! The global allocator.
//!
//! Always: an attempt after the seal is a bug of ours and panics with what was asked; freeing stays
//! allowed.

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::ptr::null_mut;

use spin::Mutex;

use rootlet_guest::boot::Ask;

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

/// Takes memory for good, as asked; `None` if there is none. What is in it is anything.
pub(crate) fn take(ask: &Ask) -> Option<&'static mut [u8]> {
    /// Blocks that lie elsewhere are kept until one is right.
    const TRIES: usize = 4;
    let (bytes, align) = (usize::try_from(ask.bytes).ok()?, usize::try_from(ask.align).ok()?);
    let (from, last) = (usize::try_from(ask.from).ok()?, ask.last);
    let mut kept = heapless::Vec::<(*mut u8, Layout), TRIES>::new();
    let (mut lead, mut found) = (0, None);
    while found.is_none() && !kept.is_full() {
        let Some(len) = bytes.checked_add(lead) else { break };
        let Ok(layout) = Layout::from_size_align(len, align) else { break };
        if len == 0 {
            break;
        }
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc::alloc::alloc(layout) };
        if block.is_null() {
            break;
        }
        let start = block.addr().max(from).next_multiple_of(align);
        let skip = start - block.addr();
        if skip > lead {
            // SAFETY: the block is from the line above, and nobody has it.
            unsafe { alloc::alloc::dealloc(block, layout) };
            lead = skip;
        } else if (start + (bytes - 1)) as u64 > last {
            // There is room: the loop ends before the list is full.
            let _ = kept.push((block, layout));
        } else {
            // SAFETY: the part lies in the block, which is nobody else's.
            found = Some(unsafe { block.add(skip) });
        }
    }
    for (block, layout) in kept {
        // SAFETY: as above.
        unsafe { alloc::alloc::dealloc(block, layout) };
    }
    let first = found?;
    // SAFETY: does nothing; but the compiler has to take it for what fills the memory, and so must
    // not take what is there for undefined. It is RAM, which has some bytes.
    unsafe { core::arch::asm!("/* {} */", in(reg) first, options(nostack, preserves_flags)) };
    // SAFETY: the block is allocated for good, at least as long, and given once.
    Some(unsafe { core::slice::from_raw_parts_mut(first, bytes) })
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
