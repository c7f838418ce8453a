//! The sum of a block's data: four lanes of 64x64-bit multiplications, folded to 64 bits.
//!
//! Always: the same for bytes that are only looked at and for bytes that are copied on the way,
//! so that what is fetched is read once for both.

use super::BLOCK_BYTES;

/// Bytes that the four lanes take in one step.
const STEP_BYTES: usize = 64;

const _: () = assert!(BLOCK_BYTES.is_multiple_of(STEP_BYTES));

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
        let (steps, _) = block.as_chunks::<STEP_BYTES>();
        let state = steps.iter().fold(self.starts, |state, step| self.step(state, words(step)));
        self.end(state)
    }

    /// The sum of a block that is copied: each word is loaded once.
    pub fn copy(&self, from: &[u8; BLOCK_BYTES], to: &mut [u8; BLOCK_BYTES]) -> u64 {
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
