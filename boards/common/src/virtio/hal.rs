//! Memory as devices see it.
//!
//! Always: physical address = virtual address (boards run identity-mapped), and devices see all
//! of memory, so lending a buffer copies nothing.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::{NonNull, with_exposed_provenance_mut};

use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// The identity.
pub(crate) struct Identity;

fn layout(pages: usize) -> Option<Layout> {
    Layout::from_size_align(pages.checked_mul(PAGE_SIZE)?, PAGE_SIZE).ok()
}

// SAFETY: `dma_alloc` hands out zeroed, page-aligned blocks of the global allocator, which are
// not aliased; addresses are the same for processor and device.
unsafe impl Hal for Identity {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // Address 0 means failure to the caller.
        let Some(layout) = layout(pages).filter(|layout| layout.size() > 0) else {
            return (0, NonNull::dangling());
        };
        // SAFETY: the layout has a size.
        let block = unsafe { alloc_zeroed(layout) };
        match NonNull::new(block) {
            Some(block) => (block.expose_provenance().get() as PhysAddr, block),
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_: PhysAddr, block: NonNull<u8>, pages: usize) -> i32 {
        match layout(pages) {
            Some(layout) => {
                // SAFETY: the caller passes a block of `dma_alloc` with its own page count.
                unsafe { dealloc(block.as_ptr(), layout) };
                0
            }
            None => -1,
        }
    }

    unsafe fn mmio_phys_to_virt(at: PhysAddr, _: usize) -> NonNull<u8> {
        let at = with_exposed_provenance_mut(at as usize);
        NonNull::new(at).expect("no device registers at address 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.cast::<u8>().expose_provenance().get() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
