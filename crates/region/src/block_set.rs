//! A set of blocks of one slot, as bits.
//!
//! Always: no block is in a set that the largest slot does not have.

use super::geometry::SLOT_BLOCKS_MAX;

const WORDS: usize = SLOT_BLOCKS_MAX / 64;

/// A set of blocks of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockSet([u64; WORDS]);

impl BlockSet {
    /// Returns the blocks whose bits are set in `bitmap`, which has whole words of 64 bits.
    pub fn of(bitmap: &[u8]) -> Self {
        let mut set = Self::default();
        for (word, bytes) in set.0.iter_mut().zip(bitmap.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        set
    }

    /// Adds a block.
    #[expect(clippy::indexing_slicing, reason = "a block that no slot has is a bug")]
    pub fn insert(&mut self, block: usize) {
        self.0[block >> 6] |= 1 << (block & 63);
    }

    /// Returns whether a block is in the set.
    pub fn contains(&self, block: usize) -> bool {
        self.word(block) & 1 == 1
    }

    /// Returns the bits from `block` on of the word that has it; the lowest is `block`'s own.
    fn word(&self, block: usize) -> u64 {
        self.0.get(block >> 6).map_or(0, |word| word >> (block & 63))
    }

    /// Returns how many blocks are in the set.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Returns the blocks that are in one of both sets.
    pub fn or(self, other: Self) -> Self {
        self.with(other, |here, there| here | there)
    }

    /// Returns the blocks that are in this set, and not in `other`.
    pub fn without(self, other: Self) -> Self {
        self.with(other, |here, there| here & !there)
    }

    /// Returns the blocks that are not in the set.
    pub fn inverse(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    fn with(mut self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        for (here, there) in self.0.iter_mut().zip(other.0) {
            *here = join(*here, there);
        }
        self
    }

    /// Returns how many blocks from `block` on, at most `most`, are in the set one after the other.
    #[expect(clippy::arithmetic_side_effects, reason = "at most the blocks of a slot")]
    pub fn run(&self, block: usize, most: usize) -> usize {
        let mut run: usize = 0;
        while run < most {
            // Bits that were shifted in are zeros.
            let ones = crate::num::index(self.word(block + run).trailing_ones());
            run += ones;
            if ones == 0 || (block + run) & 63 != 0 {
                break;
            }
        }
        run.min(most)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn set_agrees_with_a_list_of_its_blocks(
            blocks in prop::collection::btree_set(0..SLOT_BLOCKS_MAX, 0..SLOT_BLOCKS_MAX),
            others in prop::collection::btree_set(0..SLOT_BLOCKS_MAX, 0..9),
            (from, most) in (0..SLOT_BLOCKS_MAX, 0..SLOT_BLOCKS_MAX),
        ) {
            let set_of = |blocks: &std::collections::BTreeSet<usize>| {
                let mut set = BlockSet::default();
                blocks.iter().for_each(|block| set.insert(*block));
                set
            };
            let (set, other) = (set_of(&blocks), set_of(&others));
            let bitmap = set.0.map(u64::to_le_bytes);
            prop_assert_eq!(BlockSet::of(bitmap.as_flattened()), set);
            prop_assert_eq!(usize::try_from(set.count()), Ok(blocks.len()));
            prop_assert_eq!(set.or(other), set_of(&(&blocks | &others)));
            prop_assert_eq!(set.without(other), set_of(&(&blocks - &others)));
            for block in 0..SLOT_BLOCKS_MAX {
                prop_assert_eq!(set.contains(block), blocks.contains(&block));
                prop_assert_eq!(set.inverse().contains(block), !blocks.contains(&block));
            }
            let most = most.min(SLOT_BLOCKS_MAX - from);
            let run = |within: bool| {
                (from..from + most).take_while(|at| blocks.contains(at) == within).count()
            };
            prop_assert_eq!(set.run(from, most), run(true));
            prop_assert_eq!(set.inverse().run(from, most), run(false));
        }
    }
}
