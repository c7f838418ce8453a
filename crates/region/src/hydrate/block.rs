//! Blocks of the region, counted through all slots, and runs of them on their way to residency.
//!
//! Always: the number of such a block says its slot and its place there; it is never that of a
//! block of a blob.

use crate::BLOCK_BYTES;
use crate::num;
use crate::units::{Pow2, RegionSlot};
use core::ops::Range;

/// A block of the region: its number, counted through all slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RegionBlock(u64);

#[expect(clippy::arithmetic_side_effects, reason = "a region has fewer blocks than 2^40")]
impl RegionBlock {
    /// The first block of the first slot.
    #[cfg(test)]
    pub const FIRST: Self = Self(0);

    /// Returns block `block` of `slot`, of slots that have `slot_blocks` blocks.
    pub fn of(slot: RegionSlot, block: usize, slot_blocks: Pow2) -> Self {
        Self((u64::from(slot.get()) << slot_blocks.bits()) + num::wide(block))
    }

    /// Returns the block `blocks` blocks after this one.
    pub fn after(self, blocks: usize) -> Self {
        Self(self.0 + num::wide(blocks))
    }

    /// Returns the number of blocks from `first` on that lie before this one; `None` if this one
    /// lies before `first`.
    pub fn since(self, first: Self) -> Option<usize> {
        usize::try_from(self.0.checked_sub(first.0)?).ok()
    }

    /// Returns the slot of the block, and the block's place in the slot.
    fn place(self, slot_blocks: Pow2) -> (RegionSlot, usize) {
        let slot = RegionSlot::new(num::low32(slot_blocks.whole(self.0)));
        (slot, num::clip(slot_blocks.offset(self.0), usize::MAX))
    }
}

/// Blocks that lie side by side in the region, in one slot or in several, on their way to
/// residency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fill {
    /// The first block.
    pub first: RegionBlock,
    pub blocks: usize,
    pub group: u64,
}

impl Fill {
    /// Returns the block after the last.
    pub fn end(&self) -> RegionBlock {
        self.first.after(self.blocks)
    }

    /// Returns how many bytes the blocks have.
    #[expect(clippy::arithmetic_side_effects, reason = "they lie in one buffer")]
    pub fn bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }

    /// Returns the blocks, slot by slot, of slots that have `slot_blocks` blocks.
    #[expect(clippy::arithmetic_side_effects, reason = "a part has no more than are left")]
    pub fn parts(
        &self,
        slot_blocks: Pow2,
    ) -> impl Iterator<Item = (RegionSlot, Range<usize>)> + use<> {
        let (mut at, mut left) = (self.first, self.blocks);
        core::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let (slot, first) = at.place(slot_blocks);
            let room = num::clip(slot_blocks.get(), usize::MAX) - first;
            let here = room.min(left);
            (at, left) = (at.after(here), left - here);
            Some((slot, first..first + here))
        })
    }

    /// Returns the blocks of `slot` among these, of slots that have `slot_blocks` blocks.
    pub fn in_slot(&self, slot: RegionSlot, slot_blocks: Pow2) -> Range<usize> {
        let begin = RegionBlock::of(slot, 0, slot_blocks);
        let end = begin.after(num::clip(slot_blocks.get(), usize::MAX));
        let here = self.first.max(begin)..self.end().min(end);
        match (here.start.since(begin), here.end.since(begin)) {
            (Some(start), Some(end)) if start < end => start..end,
            _ => 0..0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_the_blocks_of_a_fill_slot_by_slot(first in 0_u64..1000, blocks in 0_usize..200) {
            let slot_blocks = crate::geometry::SlotSize::K64.block_count();
            let fill = Fill { first: RegionBlock(first), blocks, group: 0 };
            let parts: alloc::vec::Vec<_> = fill.parts(slot_blocks).collect();
            let numbers = parts.iter().flat_map(|(slot, blocks)| {
                blocks.clone().map(|block| RegionBlock::of(*slot, block, slot_blocks))
            });
            let all = (0..blocks).map(|block| fill.first.after(block));
            prop_assert!(numbers.eq(all));
            for slot in (0..80).map(RegionSlot::new) {
                let part = parts.iter().find(|(of, _)| *of == slot).map(|(_, blocks)| blocks);
                prop_assert_eq!(Some(&fill.in_slot(slot, slot_blocks)), part.or(Some(&(0..0))));
            }
        }
    }
}
