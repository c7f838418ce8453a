//! Pieces of one size that cover a range of bytes, or lie at random places in it.
//!
//! Always: each piece lies within the range as a whole; the same pieces in the same order in every
//! run, in any guest.

use core::num::NonZeroU64;
use rootlet_base::num::{Bug, OrBug};
use rootlet_base::units::{ByteRange, Pow2};

/// A series of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pieces {
    size: Pow2,
    count: u64,
    start: u64,
    order: Order,
}

/// Where the next piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// After the one before.
    Sequence,
    /// At any of this many places.
    Random(NonZeroU64),
}

impl Pieces {
    /// Returns all whole pieces of `size` bytes in `span`, in sequence.
    pub const fn sequence(size: Pow2, span: ByteRange) -> Self {
        let (count, start) = (size.whole(span.len()), span.start());
        Self { size, count, start, order: Order::Sequence }
    }

    /// Returns `count` pieces of `size` bytes at random places in `span`, or `None` if `span` is
    /// shorter than a piece.
    pub fn random(size: Pow2, count: u64, span: ByteRange) -> Option<Self> {
        let places = NonZeroU64::new(size.whole(span.len()))?;
        Some(Self { size, count, start: span.start(), order: Order::Random(places) })
    }

    /// Returns the number of bytes of each piece.
    pub const fn bytes(&self) -> u64 {
        self.size.get()
    }

    /// Returns the number of pieces.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the first byte of the first place.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Returns the first byte of piece `n`.
    ///
    /// # Errors
    /// A [`Bug`] if there are fewer pieces.
    pub fn at(&self, n: u64) -> Result<u64, Bug> {
        let place = match self.order {
            Order::Sequence => n,
            Order::Random(places) => {
                let mixed = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed ^ (mixed >> 31)) % places
            }
        };
        let offset = self.size.times(place).filter(|_| n < self.count);
        offset.and_then(|offset| self.start.checked_add(offset)).or_bug()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;

    #[test]
    fn pieces_lie_within_their_range() {
        let size = Pow2::of(4096).unwrap();
        for (start, len) in [(0, 4096), (4096, 5000), (1, 3 << 20)] {
            let span = ByteRange::sized(start, len).unwrap();
            let random = Pieces::random(size, 100, span).unwrap();
            for pieces in [Pieces::sequence(size, span), random] {
                for n in 0..pieces.count() {
                    let piece = ByteRange::sized(pieces.at(n).unwrap(), pieces.bytes()).unwrap();
                    assert!(piece.within(span), "piece {n} of {pieces:?} in {span:?}");
                }
                assert!(pieces.at(pieces.count()).is_err());
            }
        }
        assert_eq!(Pieces::random(size, 1, ByteRange::first(4095)), None);
        assert_eq!(Pieces::sequence(size, ByteRange::first(4095)).count(), 0);
    }
}
