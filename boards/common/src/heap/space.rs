//! Where the heap's blocks come from: front to back as long as nothing is released, from a list of
//! free blocks from then on.
//!
//! Always: blocks in use lie apart, within the range, and where their alignment wants them. What
//! was taken before the first release is not used again (that is what a boot sets up, and stays),
//! but counts as any other block only while it is in use.
//!
//! Most boots read their first file before they release anything, and an emulator translates the
//! list's code ten times as long as that of the front.

use core::alloc::Layout;
use core::ops::Range;
use core::ptr::{NonNull, with_exposed_provenance_mut};

use linked_list_allocator::Heap;

/// Blocks begin at multiples of this, as from any allocator of C: bytes that lie across words are
/// copied and summed at half the rate.
const ALIGN_MIN: usize = 16;
/// Less than this is not worth a list, which keeps its own head there.
const LIST_BYTES_MIN: usize = 64;

/// A range of memory.
pub(super) struct Space {
    range: Range<usize>,
    /// What nobody has had yet; empty once there is a list.
    front: Range<usize>,
    /// Bytes in use of what was taken from the front.
    taken: usize,
    /// What the list has.
    listed: Option<Range<usize>>,
    list: Heap,
}

impl Space {
    /// No memory.
    pub(super) const fn empty() -> Self {
        Self { range: 0..0, front: 0..0, taken: 0, listed: None, list: Heap::empty() }
    }

    /// Takes `range`.
    ///
    /// # Safety
    ///
    /// `range` is memory that nothing else uses, ever; called once.
    pub(super) unsafe fn init(&mut self, range: Range<usize>) {
        self.front = range.clone();
        self.range = range;
    }

    /// Bytes of all of it.
    pub(super) fn size(&self) -> usize {
        self.range.len()
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.taken.wrapping_add(self.list.used())
    }

    /// A block, if there is room.
    pub(super) fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let align = layout.align().max(ALIGN_MIN);
        let start = self.front.start.checked_next_multiple_of(align)?;
        match start.checked_add(layout.size()) {
            Some(end) if end <= self.front.end => {
                self.front.start = end;
                self.taken = self.taken.wrapping_add(layout.size());
                NonNull::new(with_exposed_provenance_mut(start))
            }
            _ => self.take_listed(layout),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_listed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.list.allocate_first_fit(layout).ok()
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// `block` came from [`Space::take`] with this layout, and is nobody's any more.
    pub(super) unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        let listed = match &self.listed {
            Some(listed) => listed.clone(),
            None => self.begin_list(),
        };
        if listed.contains(&block.addr().get()) {
            // SAFETY: the list gave this block away: nothing else of what it has is anybody's.
            unsafe { self.list.deallocate(block, layout) };
        } else {
            self.taken = self.taken.wrapping_sub(layout.size());
        }
    }

    /// Gives the list all that is left.
    fn begin_list(&mut self) -> Range<usize> {
        let rest = self.front.clone();
        self.front.end = self.front.start;
        self.listed = Some(rest.clone());
        if rest.len() >= LIST_BYTES_MIN {
            let first = with_exposed_provenance_mut(rest.start);
            // SAFETY: nobody has had the rest of the range, and nobody is given it from here on but
            // by the list; the list is empty, and this runs once.
            unsafe { self.list.init(first, rest.len()) };
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Memory of a test, and a space over it.
    fn space(bytes: usize) -> (Vec<u64>, Space) {
        let mut memory = alloc::vec![0_u64; bytes / 8];
        let start = memory.as_mut_ptr().expose_provenance();
        let mut space = Space::empty();
        // SAFETY: the memory is the test's, which uses it through the space alone.
        unsafe { space.init(start..start + bytes) };
        (memory, space)
    }

    #[test]
    fn what_is_released_is_used_again_but_for_what_came_before() {
        let (_memory, mut space) = space(4096);
        let layout = Layout::from_size_align(1000, 8).unwrap();
        let first = space.take(layout).unwrap();
        assert_eq!((space.used(), space.size()), (1000, 4096));
        // SAFETY: it came from this space.
        unsafe { space.release(first, layout) };
        for _ in 0..100 {
            let block = space.take(layout).unwrap();
            assert_ne!(block, first);
            assert_eq!(space.used(), 1000);
            // SAFETY: as above.
            unsafe { space.release(block, layout) };
        }
        assert_eq!(space.used(), 0);
        assert_eq!(space.take(Layout::from_size_align(4096, 8).unwrap()), None);
    }

    #[test]
    fn space_that_is_full_to_its_end_gives_nothing_and_takes_back() {
        let (_memory, mut space) = space(1024);
        let layout = Layout::from_size_align(1024, 8).unwrap();
        let all = space.take(layout).unwrap();
        assert_eq!(space.take(Layout::new::<u8>()), None);
        // SAFETY: it came from this space.
        unsafe { space.release(all, layout) };
        assert_eq!(space.take(Layout::new::<u8>()), None);
        assert_eq!(Space::empty().take(Layout::new::<u8>()), None);
    }

    proptest! {
        /// Blocks in use keep their bytes whatever is taken and released beside them.
        #[test]
        fn blocks_lie_apart(
            steps in prop::collection::vec((1_usize..600, 0_u32..7, any::<u8>()), 1..200),
            kept in 0_usize..100,
        ) {
            let (_memory, mut space) = space(32 << 10);
            let mut blocks: Vec<(NonNull<u8>, Layout, u8)> = Vec::new();
            for (number, (bytes, align, fill)) in steps.into_iter().enumerate() {
                if number >= kept && fill % 2 == 0 && !blocks.is_empty() {
                    let (block, layout, _) = blocks.swap_remove(usize::from(fill) % blocks.len());
                    // SAFETY: it came from this space.
                    unsafe { space.release(block, layout) };
                } else {
                    let layout = Layout::from_size_align(bytes, 1 << align).unwrap();
                    let Some(block) = space.take(layout) else { continue };
                    prop_assert_eq!(block.addr().get() % layout.align().max(8), 0);
                    let end = block.addr().get() + bytes;
                    prop_assert!(space.range.start <= block.addr().get() && end <= space.range.end);
                    // SAFETY: the block is new, and has as many bytes.
                    unsafe { block.write_bytes(fill, bytes) };
                    blocks.push((block, layout, fill));
                }
                let sum: usize = blocks.iter().map(|(_, layout, _)| layout.size()).sum();
                // The list counts in words, and no block of less than two.
                prop_assert!((sum..=sum + 16 * blocks.len()).contains(&space.used()));
                for (block, layout, fill) in &blocks {
                    let bytes = NonNull::slice_from_raw_parts(*block, layout.size());
                    // SAFETY: the block is in use.
                    let bytes = unsafe { bytes.as_ref() };
                    prop_assert!(bytes.iter().all(|byte| byte == fill));
                }
            }
        }
    }
}
