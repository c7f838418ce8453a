//! Sums over what was read.
//!
//! Always: the order of reads does not matter, the place of each word does.

use rootlet::cache::BLOCK_BYTES;
use rootlet_base::num::{index, low32};

/// A sum over words and where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(pub u64);

impl Sum {
    /// Adds a word that stands at byte `at` of something.
    pub fn word(&mut self, at: u64, word: u64) {
        let mixed =
            (word ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.0 = self.0.wrapping_add(mixed ^ (mixed >> 32));
    }

    /// Adds a sample of a piece at byte `at`: one word of each block of 4 KiB, not the same in all.
    /// A block that ends before its word counts as 0.
    pub fn sample(&mut self, at: u64, piece: &[u8]) {
        for (block, number) in piece.chunks(BLOCK_BYTES).zip(at >> 12..) {
            let (words, _) = block.as_chunks::<8>();
            let word = words.get(index(low32(number & 511)));
            self.word(number, word.map_or(0, |word| u64::from_le_bytes(*word)));
        }
    }

    /// Adds all bytes of a piece at byte `at`, a multiple of 8 for all but an empty piece.
    pub fn all(&mut self, at: u64, piece: &[u8]) {
        let mut at = at;
        let (words, rest) = piece.as_chunks::<8>();
        for word in words {
            self.word(at, u64::from_le_bytes(*word));
            at = at.wrapping_add(8);
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.word(at, u64::from_le_bytes(word));
        }
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn sums_notice_a_block_in_the_wrong_place_and_any_byte() {
        let (mut a, mut b) = (Sum::default(), Sum::default());
        let (x, y) = (vec![1; 4096], vec![2; 4096]);
        a.sample(0, &x);
        a.sample(4096, &y);
        b.sample(0, &y);
        b.sample(4096, &x);
        assert_ne!(a, b);
        let mut whole = Sum::default();
        whole.all(0, &x);
        for at in [0, 7, 8, 4095] {
            let mut other = x.clone();
            other[at] ^= 1;
            let mut sum = Sum::default();
            sum.all(0, &other);
            assert_ne!(sum, whole);
        }
        let mut parts = Sum::default();
        parts.all(2048, &x[2048..]);
        parts.all(0, &x[..2048]);
        assert_eq!(parts, whole);
    }
}
