//! Memory of a port's own where the reads of an expendable disk land: one that may be lost at any
//! instant, and no reader's memory with it.
//!
//! Always: a piece lies in the memory, apart from all others, and is given out once until it is
//! given back. A disk that never answers keeps its pieces.

use core::ptr::{NonNull, slice_from_raw_parts_mut};

use rootlet::storage::Buffer;

/// A piece has whole blocks.
const BLOCK_BYTES: usize = 8 << 10;
/// The longest read that lands here, and all reads at once: two of the longest that a reader makes.
pub(crate) const ASIDE_BYTES: usize = BLOCK_BYTES * u64::BITS as usize;

/// The memory of one disk.
pub(super) struct Aside {
    /// Owns the bytes, which are reached by `first` alone.
    _bytes: Buffer,
    first: NonNull<u8>,
    /// A bit for each block.
    free: u64,
}

impl Aside {
    /// Allocates the memory.
    pub(super) fn new() -> Self {
        let mut bytes = Buffer::new(ASIDE_BYTES);
        let first = NonNull::from(bytes.get_mut().expect("a new buffer has one handle")).cast();
        Self { _bytes: bytes, first, free: u64::MAX }
    }

    /// Returns whether a piece of `len` bytes can be had.
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.find(len).is_some()
    }

    /// Takes a piece of `len` bytes, at least one.
    pub(super) fn take(&mut self, len: usize) -> Option<NonNull<[u8]>> {
        let number = self.find(len)?;
        self.free &= !(mask(len)? << number);
        let at = self.first.as_ptr().wrapping_add(number as usize * BLOCK_BYTES);
        NonNull::new(slice_from_raw_parts_mut(at, len))
    }

    /// Takes a piece back.
    pub(super) fn give(&mut self, piece: NonNull<[u8]>) {
        let bytes = piece.cast::<u8>().addr().get().checked_sub(self.first.addr().get());
        let number = bytes.expect("a piece lies in the memory") / BLOCK_BYTES;
        let blocks = mask(piece.len()).expect("a piece has bytes") << number;
        assert_eq!(self.free & blocks, 0, "a piece is given back once");
        self.free |= blocks;
    }

    /// Returns the first block of as many free ones as `len` bytes take.
    fn find(&self, len: usize) -> Option<u32> {
        let mask = mask(len)?;
        (0..=mask.leading_zeros()).find(|number| self.free >> number & mask == mask)
    }
}

/// Returns a bit for each block that `len` bytes take; `None` if that is none, or more than there
/// are.
fn mask(len: usize) -> Option<u64> {
    let blocks = u32::try_from(len.div_ceil(BLOCK_BYTES)).ok().filter(|blocks| *blocks > 0)?;
    Some(u64::MAX >> u64::BITS.checked_sub(blocks)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn pieces_lie_apart_and_come_back() {
        let mut aside = Aside::new();
        for lens in [&[1, 8192, 8193, 100_000, 4096][..], &[ASIDE_BYTES], &[256 << 10, 256 << 10]] {
            let pieces: Vec<_> = lens.iter().map(|len| aside.take(*len).unwrap()).collect();
            let mut ranges: Vec<_> = pieces
                .iter()
                .map(|piece| (piece.cast::<u8>().addr().get(), piece.len()))
                .map(|(at, len)| (at, at + len))
                .collect();
            ranges.sort_unstable();
            assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{lens:?}");
            let first = aside.first.addr().get();
            assert!(ranges.iter().all(|(at, end)| *at >= first && *end <= first + ASIDE_BYTES));
            pieces.into_iter().for_each(|piece| aside.give(piece));
            assert_eq!(aside.free, u64::MAX);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_given_out() {
        let mut aside = Aside::new();
        assert!(aside.take(0).is_none() && aside.take(ASIDE_BYTES + 1).is_none());
        let pieces: Vec<_> = core::iter::from_fn(|| aside.take(BLOCK_BYTES)).collect();
        assert_eq!(pieces.len(), 64);
        aside.give(pieces[7]);
        aside.give(pieces[9]);
        assert!(aside.has_room(BLOCK_BYTES) && !aside.has_room(BLOCK_BYTES + 1));
        aside.give(pieces[8]);
        assert!(aside.has_room(3 * BLOCK_BYTES) && !aside.has_room(3 * BLOCK_BYTES + 1));
    }

    #[test]
    #[should_panic(expected = "a piece is given back once")]
    fn piece_that_is_given_back_twice_is_a_bug() {
        let mut aside = Aside::new();
        let piece = aside.take(1).unwrap();
        aside.give(piece);
        aside.give(piece);
    }
}
