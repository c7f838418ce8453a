//! What the descriptors say that blocks sum up to.
//!
//! Always: a check counts only while the slot holds the window that it was asked for.

use super::Index;
use crate::checksum::BlobKey;
use crate::num;
use crate::ticket::{Expected, Spot};
use crate::units::RegionSlot;
use crate::{BLOCK_BYTES, BlobIndex, descriptor};

/// Blocks of one slot.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub slot: RegionSlot,
    /// The first block in the slot and in the blob, and how many there are.
    pub block: usize,
    pub number: u64,
    pub blocks: usize,
}

impl Part {
    /// Returns how many bytes the blocks have.
    #[expect(clippy::arithmetic_side_effects, reason = "at most those of a slot")]
    pub fn bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }
}

impl Index {
    /// Returns the `blocks` blocks from `first` on, which lie side by side, slot by slot.
    #[expect(clippy::arithmetic_side_effects, reason = "`first` and all after it are in slots")]
    pub fn parts(&self, first: Spot, blocks: usize) -> impl Iterator<Item = Part> + use<> {
        let all = self.geometry.slot_size().blocks();
        let Spot { mut slot, mut block, mut number, .. } = first;
        let mut left = blocks;
        core::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let blocks = (all - block).min(left);
            let part = Part { slot, block, number, blocks };
            left -= blocks;
            slot = RegionSlot::new(slot.get() + 1);
            number += num::wide(blocks);
            block = 0;
            Some(part)
        })
    }

    /// Returns what the descriptors of the `blocks` blocks from `first` on say now; `None` if one of
    /// them is not there any more, or its page is not in memory.
    pub fn expected(&self, first: Spot, blocks: usize) -> Option<Expected> {
        let mut expected = Expected { sums: 0, generations: 0 };
        for part in self.parts(first, blocks) {
            if !self.holds(&part, first.blob) {
                return None;
            }
            let (page, index) = self.geometry.place(part.slot);
            let page = self.pages.get(page)?;
            let descriptor = descriptor::of(page, self.geometry.slot_size(), index);
            let generation = descriptor.raw_head().slot_generation.get();
            expected.generations = fold_in(expected.generations, generation.into());
            let sums = descriptor.sums_of(part.block, part.blocks);
            expected.sums = sums.fold(expected.sums, fold_in);
        }
        Some(expected)
    }

    /// Returns whether the slot of a part holds its blocks.
    fn holds(&self, part: &Part, blob: BlobIndex) -> bool {
        let place = self.window(blob, part.number);
        place.is_some_and(|(key, block)| {
            block == part.block && self.slots.key(part.slot) == Some(key)
        })
    }

    /// Returns the number of the first block of a part whose bytes in `data` differ from its check;
    /// `None` if there is none, or the page is not in memory.
    pub fn first_wrong(&self, part: &Part, key: &BlobKey, data: &[u8]) -> Option<u64> {
        let (page, index) = self.geometry.place(part.slot);
        let descriptor = descriptor::of(self.pages.get(page)?, self.geometry.slot_size(), index);
        let sums = descriptor.sums_of(part.block, part.blocks);
        let mut blocks = (part.number..).zip(sums).zip(data.chunks(BLOCK_BYTES));
        let wrong = blocks.find(|((number, sum), data)| key.checksum(*number, data) != *sum);
        wrong.map(|((number, _), _)| number)
    }
}

/// Folds the next of a row of checks in. Rows that differ in one check never end alike, and any
/// others do in one of 2^64.
pub fn fold_in(folded: u64, next: u64) -> u64 {
    (folded.rotate_left(23) ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::fold_in;

    #[test]
    fn rows_that_differ_in_one_check_or_in_order_end_differently() {
        let end = |row: [u64; 4]| row.into_iter().fold(0, fold_in);
        let row = [1, 2, 3, 4];
        for bit in 0..64 {
            for at in 0..4 {
                let mut other = row;
                if let Some(sum) = other.get_mut(at) {
                    *sum ^= 1 << bit;
                }
                assert_ne!(end(other), end(row), "bit {bit} of {at}");
            }
        }
        assert_ne!(end([2, 1, 3, 4]), end(row));
        assert_ne!(end([1, 2, 4, 3]), end(row));
    }
}
