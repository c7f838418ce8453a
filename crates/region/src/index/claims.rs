//! What a hint says of pages that were not taken in: how many blocks of each blob they have.
//!
//! Always: no more blocks than the region has, and than each blob has. A page that has more of a
//! blob than is left shows that the hint does not hold, and then nothing of it counts.

use crate::blobs::ENTRIES_MAX;
use crate::num;
use crate::{BLOCK_BYTES, BlobIndex};
use alloc::boxed::Box;
use alloc::vec;

/// The resident blocks of each blob in pages that were not taken in.
#[derive(Debug)]
pub struct Claims {
    blocks: Box<[u64]>,
    /// Whether a hint was taken, and nothing has contradicted it.
    counts: bool,
}

impl Claims {
    /// Returns that nothing is known.
    pub fn new() -> Self {
        Self { blocks: vec![0; ENTRIES_MAX].into_boxed_slice(), counts: false }
    }

    /// Takes what a hint says: the blobs that there are, with the bytes and the resident blocks of
    /// each, in a region of `region_blocks` blocks. Returns false, and takes nothing, if that
    /// cannot be.
    pub fn take(
        &mut self,
        blobs: impl Iterator<Item = (BlobIndex, u64, u64)>,
        region_blocks: u64,
    ) -> bool {
        self.forget();
        let mut left = region_blocks;
        for (blob, bytes, blocks) in blobs {
            let (Some(rest), true, Some(claimed)) = (
                left.checked_sub(blocks),
                blocks <= bytes.div_ceil(num::wide(BLOCK_BYTES)),
                self.blocks.get_mut(usize::from(blob.get())),
            ) else {
                self.forget();
                return false;
            };
            (*claimed, left) = (blocks, rest);
        }
        self.counts = true;
        true
    }

    /// Returns how many blocks of `blob` are in pages that were not taken in.
    pub fn of(&self, blob: BlobIndex) -> u64 {
        self.blocks.get(usize::from(blob.get())).map_or(0, |blocks| *blocks)
    }

    /// Notes that a page was taken in which has `blocks` blocks of `blob`. Returns false if the hint
    /// has fewer.
    #[must_use]
    pub fn see(&mut self, blob: BlobIndex, blocks: u64) -> bool {
        let claimed = self.blocks.get_mut(usize::from(blob.get()));
        let left = claimed.and_then(|claimed| Some((claimed.checked_sub(blocks)?, claimed)));
        match left {
            _ if !self.counts => true,
            Some((left, claimed)) => {
                *claimed = left;
                true
            }
            None => false,
        }
    }

    /// Drops what was said of one blob, whose entry another gets.
    pub fn remove(&mut self, blob: BlobIndex) {
        if let Some(claimed) = self.blocks.get_mut(usize::from(blob.get())) {
            *claimed = 0;
        }
    }

    /// Drops all that the hint said.
    pub fn forget(&mut self) {
        self.blocks.fill(0);
        self.counts = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: BlobIndex = BlobIndex::new(3);
    const OTHER: BlobIndex = BlobIndex::new(7);

    #[test]
    fn pages_use_up_what_a_hint_says_and_one_that_has_more_contradicts_it() {
        let mut claims = Claims::new();
        assert!(claims.see(BLOB, 5), "no hint says anything");
        assert!(claims.take([(BLOB, 40_000, 10), (OTHER, 4096, 1)].into_iter(), 16));
        assert!(claims.see(BLOB, 4) && claims.see(BLOB, 6) && claims.see(BLOB, 0));
        assert_eq!((claims.of(BLOB), claims.of(OTHER)), (0, 1));
        assert!(!claims.see(BLOB, 1));
        claims.forget();
        assert_eq!(claims.of(OTHER), 0);
        assert!(claims.see(BLOB, 1));
    }

    #[test]
    fn hint_that_says_more_than_can_be_is_not_taken() {
        for said in [
            [(BLOB, 40_000, 11), (OTHER, 4096, 1)],
            [(BLOB, u64::MAX, u64::MAX), (OTHER, u64::MAX, 1)],
            [(BLOB, 40_000, 10), (OTHER, 1 << 20, 7)],
            [(BLOB, 40_000, 10), (BlobIndex::new(u16::MAX), 4096, 1)],
        ] {
            let mut claims = Claims::new();
            assert!(!claims.take(said.into_iter(), 16), "{said:?}");
            assert_eq!((claims.of(BLOB), claims.of(OTHER)), (0, 0));
            assert!(claims.see(BLOB, 1), "nothing is said");
        }
    }
}
