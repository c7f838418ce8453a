//! The sum of a block's data: four lanes of 64x64-bit multiplications, folded to 64 bits.
//!
//! Always: the same for bytes that are only looked at and for bytes that are copied on the way,
//! so that what is fetched is read once for both; and wherever they lie. Targets that load no
//! word from an odd place make eight loads of one, so a block that lies well is taken by words.

use super::BLOCK_BYTES;
use zerocopy::FromBytes;

/// Bytes that the four lanes take in one step.
const STEP_BYTES: usize = 64;

const _: () = assert!(BLOCK_BYTES.is_multiple_of(STEP_BYTES));

/// A block that lies at a multiple of 8 in memory.
type Aligned = [[u64; 8]; BLOCK_BYTES / STEP_BYTES];

/// The numbers of one region that the lanes are keyed with (FORMAT.md, "Sum of a block").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldKeys {
    /// Hides what a lane takes in.
    pub lanes: [u64; 4],
    /// Where the lanes begin.
    pub starts: [u64; 4],
    /// Hides the lanes from each other at the end.
    pub ends: [u64; 4],
}

impl FoldKeys {
    /// The sum of a block.
    pub fn sum(&self, block: &[u8; BLOCK_BYTES]) -> u64 {
        if let Ok(steps) = Aligned::ref_from_bytes(block) {
            let step = |state, words: &[u64; 8]| self.step(state, words.map(u64::from_le));
            return self.end(steps.iter().fold(self.starts, step));
        }
        let (steps, _) = block.as_chunks::<STEP_BYTES>();
        let state = steps.iter().fold(self.starts, |state, step| self.step(state, words(step)));
        self.end(state)
    }

    /// The sum of a block that is copied: each word is loaded once.
    pub fn copy(&self, from: &[u8; BLOCK_BYTES], to: &mut [u8; BLOCK_BYTES]) -> u64 {
        if let (Ok(steps), Ok(copies)) =
            (Aligned::ref_from_bytes(from), Aligned::mut_from_bytes(to))
        {
            let mut state = self.starts;
            for (words, copy) in steps.iter().zip(copies) {
                *copy = *words;
                state = self.step(state, words.map(u64::from_le));
            }
            return self.end(state);
        }
        let (steps, _) = from.as_chunks::<STEP_BYTES>();
        let (copies, _) = to.as_chunks_mut::<STEP_BYTES>();
        let mut state = self.starts;
        for (step, copy) in steps.iter().zip(copies) {
            let words = words(step);
            for (to, word) in copy.as_chunks_mut().0.iter_mut().zip(words) {
                *to = word.to_le_bytes();
            }
            state = self.step(state, words);
        }
        self.end(state)
    }

    /// What is added to the sum for a place: block `number` of the blob with this key.
    pub fn place(&self, key: u64, number: u64) -> u64 {
        let [_, e1, e2, _] = self.ends;
        fold(key ^ e1, number ^ e2)
    }

    #[inline(always)]
    fn step(&self, [s0, s1, s2, s3]: [u64; 4], words: [u64; 8]) -> [u64; 4] {
        let [k0, k1, k2, k3] = self.lanes;
        let [a0, b0, a1, b1, a2, b2, a3, b3] = words;
        [
            fold(a0 ^ k0, b0 ^ s0),
            fold(a1 ^ k1, b1 ^ s1),
            fold(a2 ^ k2, b2 ^ s2),
            fold(a3 ^ k3, b3 ^ s3),
        ]
    }

    fn end(&self, [s0, s1, s2, s3]: [u64; 4]) -> u64 {
        let [e0, e1, e2, e3] = self.ends;
        fold(fold(s0 ^ e0, s1 ^ e1) ^ e2, fold(s2 ^ e2, s3 ^ e3) ^ e0)
    }
}

#[inline(always)]
fn words(step: &[u8; STEP_BYTES]) -> [u64; 8] {
    let (words, _) = step.as_chunks();
    core::array::from_fn(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)))
}

/// Both halves of the product, one over the other.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = a.carrying_mul(b, 0);
    low ^ high
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "test code")]
    use super::*;
    use alloc::vec;

    #[test]
    fn sum_does_not_depend_on_where_a_block_lies() {
        let keys = FoldKeys { lanes: [1, 2, 3, 4], starts: [5, 6, 7, 8], ends: [9, 10, 11, 12] };
        let mut memory = vec![0_u8; 3 * BLOCK_BYTES];
        for (at, byte) in memory.iter_mut().enumerate() {
            *byte = (at.wrapping_mul(167) >> 3).to_le_bytes()[0];
        }
        let block: [u8; BLOCK_BYTES] = core::array::from_fn(|at| memory[at]);
        let want = keys.sum(&block);
        for place in 0..16 {
            let mut moved = vec![0_u8; 2 * BLOCK_BYTES];
            moved[place..][..BLOCK_BYTES].copy_from_slice(&block);
            let here = moved[place..].first_chunk().unwrap_or(&block);
            assert_eq!(keys.sum(here), want, "{place}");
            for target in 0..16 {
                let mut copies = vec![0_u8; 2 * BLOCK_BYTES];
                let Some(copy) = copies[target..].first_chunk_mut() else { continue };
                assert_eq!(keys.copy(here, copy), want, "{place} to {target}");
                assert!(*copy == block, "{place} to {target}");
            }
        }
    }
}
