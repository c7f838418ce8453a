//! Quantities that cannot be mixed up or overflow: powers of two, ranges of bytes, buffers that
//! are being filled.
//!
//! Always: the start of a [`ByteRange`] is not after its end; a [`Fill`] gives each byte of its
//! buffer once, in order, and ends well only when it has given all.

use crate::num::{Bug, OrBug, low8, narrow, wide, wide8};
use core::ops::Range;

/// A block of 4 KiB: the unit of a region, of pages of metadata and of buffers.
pub const BLOCK: Pow2 = Pow2(12);

/// Adds `n` to a counter of events, by which nothing is decided: a full counter stays full.
pub const fn count(counter: &mut u64, n: u64) {
    *counter = counter.saturating_add(n);
}

/// A power of two: 1 to 2^63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pow2(u8);

impl Pow2 {
    /// Returns 2^`bits`; `None` if that takes more than 64 bits.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits < u64::BITS { Some(Self(low8(bits))) } else { None }
    }

    /// Returns `n`; `None` if it is not a power of two.
    pub const fn of(n: u64) -> Option<Self> {
        if n.is_power_of_two() { Self::from_bits(n.trailing_zeros()) } else { None }
    }

    /// Returns the base 2 logarithm.
    pub const fn bits(self) -> u32 {
        wide8(self.0)
    }

    /// Returns the number itself.
    pub const fn get(self) -> u64 {
        1 << self.0
    }

    /// Returns the distance from the last multiple that is not after `n` to `n`.
    pub const fn offset(self, n: u64) -> u64 {
        n & !(u64::MAX << self.0)
    }

    /// Returns the last multiple that is not after `n`.
    pub const fn floor(self, n: u64) -> u64 {
        n & u64::MAX << self.0
    }

    /// Returns the first multiple that is not before `n`; `None` if that takes more than 64 bits.
    pub const fn ceil(self, n: u64) -> Option<u64> {
        n.checked_next_multiple_of(self.get())
    }

    /// Returns the number of whole units in `n`.
    pub const fn whole(self, n: u64) -> u64 {
        n >> self.0
    }

    /// Returns the number of units that cover `n`, the last one perhaps in part.
    pub const fn cover(self, n: u64) -> u64 {
        n.div_ceil(self.get())
    }

    /// Returns the bytes of `range` before the first multiple after its start.
    #[expect(clippy::arithmetic_side_effects, reason = "an offset is below the number itself")]
    pub fn front(self, range: ByteRange) -> ByteRange {
        range.take(self.get() - self.offset(range.start))
    }

    /// Returns the numbers of the units that hold the bytes of `range`.
    pub const fn numbers(self, range: ByteRange) -> Range<u64> {
        self.whole(range.start)..self.cover(range.end)
    }

    /// Returns `n` times this number; `None` if that takes more than 64 bits.
    pub const fn times(self, n: u64) -> Option<u64> {
        n.checked_mul(self.get())
    }
}

/// Declares a number of one kind of thing, which is not mixed up with the numbers of others.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($bare:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($bare);

        impl $name {
            /// Returns the thing with this number.
            pub const fn new(number: $bare) -> Self {
                Self(number)
            }

            /// Returns the bare number.
            pub const fn get(self) -> $bare {
                self.0
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A device slot of an image: 0 is the image itself, the others are entries of the device table.
    DeviceSlot(u16)
}

number! {
    /// A slot of a region, from 0 on.
    RegionSlot(u32)
}

impl DeviceSlot {
    /// The image itself.
    pub const PRIMARY: Self = Self(0);
}

/// A number of things, counted one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count(u32);

impl Count {
    /// No things.
    pub const ZERO: Self = Self(0);

    /// Returns the number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Adds one.
    ///
    /// # Panics
    /// If there are 2^32 - 1 things: they were not counted one by one.
    #[expect(clippy::arithmetic_side_effects, reason = "asserted")]
    pub const fn raise(&mut self) {
        assert!(self.0 < u32::MAX, "a count runs over");
        self.0 += 1;
    }

    /// Subtracts one.
    ///
    /// # Panics
    /// If there is nothing: a thing was released twice.
    #[expect(clippy::arithmetic_side_effects, reason = "asserted")]
    pub const fn lower(&mut self) {
        assert!(self.0 > 0, "a count falls below zero");
        self.0 -= 1;
    }
}

/// The bytes from `start` up to, but not including, `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// Returns `start..end`; `None` if `end` is before `start`.
    pub const fn new(start: u64, end: u64) -> Option<Self> {
        if start <= end { Some(Self { start, end }) } else { None }
    }

    /// Returns the `len` bytes from `start` on; `None` if their end takes more than 64 bits.
    pub const fn sized(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// Returns the range `0..len`.
    pub const fn first(len: u64) -> Self {
        Self { start: 0, end: len }
    }

    /// Returns the first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Returns the byte after the last.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Returns the number of bytes.
    #[expect(clippy::arithmetic_side_effects, reason = "start <= end")]
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Returns whether there are no bytes.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns the range itself, or `None` if it is empty: the condition of a loop.
    pub const fn non_empty(self) -> Option<Self> {
        if self.is_empty() { None } else { Some(self) }
    }

    /// Returns the first `len` bytes, or all if there are fewer.
    pub fn take(self, len: u64) -> Self {
        self.split(len).0
    }

    /// Returns the bytes after the first `len`; an empty range if there are fewer.
    pub fn skip(self, len: u64) -> Self {
        self.split(len).1
    }

    /// Returns the first `len` bytes, or all if there are fewer, and the rest.
    #[expect(clippy::arithmetic_side_effects, reason = "not after `end`")]
    pub fn split(self, len: u64) -> (Self, Self) {
        let middle = self.start + len.min(self.len());
        (Self { start: self.start, end: middle }, Self { start: middle, end: self.end })
    }

    /// Returns the bytes of `bytes` in this range.
    ///
    /// # Errors
    /// A [`Bug`] if `bytes` ends before the range does.
    #[track_caller]
    pub fn of(self, bytes: &[u8]) -> Result<&[u8], Bug> {
        bytes
            .get(narrow(self.start)?..)
            .and_then(|bytes| bytes.get(..narrow(self.len()).ok()?))
            .or_bug()
    }

    /// Returns whether byte `at` is in the range.
    pub const fn contains(self, at: u64) -> bool {
        self.start <= at && at < self.end
    }

    /// Returns whether all bytes of the range are in `outer`.
    pub const fn within(self, outer: Self) -> bool {
        outer.start <= self.start && self.end <= outer.end
    }

    /// Returns whether any byte is in both ranges.
    pub fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }
}

/// A buffer that is filled front to back.
#[derive(Debug)]
pub struct Fill<'o> {
    rest: &'o mut [u8],
}

impl<'o> Fill<'o> {
    /// Returns the buffer `out`, with no byte filled.
    pub const fn new(out: &'o mut [u8]) -> Self {
        Self { rest: out }
    }

    /// Returns the number of bytes still to be filled.
    pub const fn left(&self) -> u64 {
        wide(self.rest.len())
    }

    /// Returns the bytes still to be filled, without counting them as filled.
    pub const fn unfilled(&mut self) -> &mut [u8] {
        self.rest
    }

    /// Returns the next `len` bytes of the buffer.
    ///
    /// # Errors
    /// A [`Bug`] if there are fewer: more bytes were planned than asked for.
    #[track_caller]
    pub fn next(&mut self, len: u64) -> Result<&'o mut [u8], Bug> {
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= self.rest.len()) else {
            return Err(Bug::here());
        };
        let (next, rest) = core::mem::take(&mut self.rest).split_at_mut(len);
        self.rest = rest;
        Ok(next)
    }

    /// Ends the filling, and checks that the buffer is full.
    ///
    /// # Errors
    /// A [`Bug`] if bytes are left: fewer bytes were planned than asked for.
    #[track_caller]
    pub const fn finish(self) -> Result<(), Bug> {
        if self.rest.is_empty() { Ok(()) } else { Err(Bug::here()) }
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that fails panics"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_power_of_two_divides_as_numbers_do(bits in 0_u32..64, n in any::<u64>()) {
            let unit = Pow2::from_bits(bits).unwrap();
            let size = 1_u128 << bits;
            let n128 = u128::from(n);
            prop_assert_eq!(u128::from(unit.get()), size);
            prop_assert_eq!(Pow2::of(unit.get()), Some(unit));
            prop_assert_eq!(u128::from(unit.floor(n) + unit.offset(n)), n128);
            prop_assert_eq!(u128::from(unit.floor(n)), n128 / size * size);
            prop_assert_eq!(unit.ceil(n).map(u128::from), Some(n128.div_ceil(size) * size).filter(|n| *n <= u128::from(u64::MAX)));
            prop_assert_eq!(u128::from(unit.whole(n)), n128 / size);
            prop_assert_eq!(u128::from(unit.cover(n)), n128.div_ceil(size));
            let range = ByteRange::new(n / 2, n).unwrap();
            let (front, numbers) = (unit.front(range), unit.numbers(range));
            prop_assert_eq!(u128::from(front.end()), n128.min((u128::from(n / 2) / size + 1) * size));
            prop_assert_eq!(front.start(), n / 2);
            prop_assert_eq!((numbers.start, numbers.end), (unit.whole(n / 2), unit.cover(n)));
            prop_assert_eq!(unit.times(n).map(u128::from), Some(n128 * size).filter(|n| *n <= u128::from(u64::MAX)));
        }

        #[test]
        fn a_range_is_cut_as_a_slice_is(start in 0_usize..40, len in 0_usize..40, cut in 0_u64..60, other in (0_u64..60, 0_u64..20)) {
            let bytes: std::vec::Vec<u64> = (0..100).collect();
            let range = ByteRange::sized(wide(start), wide(len)).unwrap();
            let of = |range: ByteRange| (range.start()..range.end()).collect::<std::vec::Vec<_>>();
            prop_assert_eq!(of(range), &bytes[start..start + len]);
            let (front, rest) = range.split(cut);
            let at = usize::try_from(cut).unwrap().min(len);
            prop_assert_eq!(of(front), &bytes[start..start + at]);
            prop_assert_eq!(of(rest), &bytes[start + at..start + len]);
            prop_assert_eq!((range.take(cut), range.skip(cut)), (front, rest));
            let short = [7; 60];
            prop_assert_eq!(range.of(&short).map(|bytes| bytes.len()).ok(), (range.end() <= 60).then_some(len));
            prop_assert!(front.within(range) && rest.within(range) && !front.overlaps(rest));
            let other = ByteRange::sized(other.0, other.1).unwrap();
            let both = of(other).iter().any(|at| range.contains(*at));
            prop_assert_eq!(range.overlaps(other), both);
            prop_assert_eq!(range.non_empty().is_none(), len == 0);
        }
    }

    #[test]
    fn a_count_goes_up_and_down() {
        let mut count = Count::ZERO;
        count.raise();
        count.raise();
        count.lower();
        assert_eq!(count.get(), 1);
    }

    #[test]
    #[should_panic(expected = "below zero")]
    fn a_count_that_falls_below_zero_is_noticed() {
        Count::ZERO.clone().lower();
    }

    #[test]
    fn a_full_counter_stays_full() {
        let mut counter = u64::MAX - 1;
        count(&mut counter, 1);
        assert_eq!(counter, u64::MAX);
        count(&mut counter, 7);
        assert_eq!(counter, u64::MAX);
    }

    #[test]
    fn no_range_ends_before_it_starts_or_beyond_64_bits() {
        assert_eq!(ByteRange::new(2, 1), None);
        assert_eq!(ByteRange::sized(u64::MAX, 1), None);
        assert_eq!(ByteRange::sized(u64::MAX, 0).map(ByteRange::len), Some(0));
        assert_eq!((Pow2::from_bits(64), Pow2::of(0), Pow2::of(3)), (None, None, None));
    }

    #[test]
    fn a_buffer_is_filled_once_and_whole() {
        let mut out = [0; 5];
        let mut fill = Fill::new(&mut out);
        fill.next(2).unwrap().fill(1);
        assert_eq!((fill.left(), fill.unfilled().len()), (3, 3));
        assert!(fill.next(4).is_err() && fill.next(u64::MAX).is_err());
        fill.next(3).unwrap().fill(2);
        assert_eq!(fill.next(0).map(|rest| rest.len()), Ok(0));
        assert_eq!(fill.finish(), Ok(()));
        assert_eq!(out, [1, 1, 2, 2, 2]);
        assert!(Fill::new(&mut out).finish().is_err());
    }
}
