//! RAM, and what of it nobody uses.
//!
//! Always: pure; free memory lies in RAM, after the image, and in nothing that is taken.

use core::fmt;
use core::ops::Range;

use heapless::Vec;

/// Most ranges of RAM, and most that are taken.
const RANGES_MAX: usize = 64;
/// A piece that is smaller is not worth a heap of its own.
const PIECE_BYTES_MIN: u64 = 64 << 10;

/// Ranges of bytes.
pub type Ranges = Vec<Range<u64>, RANGES_MAX>;

/// Bytes from an address on that end beyond all addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    start: u64,
    bytes: u64,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, bytes } = self;
        write!(f, "{bytes:#x} bytes at {start:#x} end beyond all addresses")
    }
}

/// Returns the range of `bytes` from `start` on.
///
/// # Errors
///
/// [`Beyond`].
pub fn range(start: u64, bytes: u64) -> Result<Range<u64>, Beyond> {
    let end = start.checked_add(bytes).ok_or(Beyond { start, bytes })?;
    Ok(start..end)
}

/// The memory of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ram {
    /// RAM.
    pub ranges: Ranges,
    /// Ranges that are somebody else's.
    pub taken: Ranges,
    /// Whether there was no room for one: then nothing is free.
    is_cut: bool,
}

impl Ram {
    /// Returns a list of no memory.
    pub const fn new() -> Self {
        Self { ranges: Vec::new(), taken: Vec::new(), is_cut: false }
    }

    /// Adds RAM.
    pub fn add(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.is_cut |= self.ranges.push(range).is_err();
        }
    }

    /// Takes a range away.
    pub fn take(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.is_cut |= self.taken.push(range).is_err();
        }
    }

    /// Returns whether RAM lies in a range.
    pub fn overlaps(&self, range: &Range<u64>) -> bool {
        self.ranges.iter().any(|ram| ram.start < range.end && range.start < ram.end)
    }

    /// Returns the pieces of RAM after `image_end` that nobody has taken, from the lowest on, beside
    /// each other; no
    /// piece has a part beyond `split` and one before it. `None` for a machine with more ranges
    /// than there is room for.
    pub fn free(&self, image_end: u64, split: u64) -> Option<Ranges> {
        let mut free = Ranges::new();
        let mut add = |piece: Range<u64>| {
            let is_worth = piece.end.checked_sub(piece.start) >= Some(PIECE_BYTES_MIN);
            // In order: a sort of `core` is 3 KiB of code.
            let place =
                free.iter().take_while(|other: &&Range<u64>| other.start <= piece.start).count();
            if is_worth { free.insert(place, piece).ok() } else { Some(()) }
        };
        for ram in &self.ranges {
            for half in [ram.start..ram.end.min(split), ram.start.max(split)..ram.end] {
                let mut start = half.start.max(image_end);
                // Ends: each step takes the first range after the last one.
                while start < half.end {
                    let next = self.taken.iter().filter(|taken| taken.end > start);
                    let Some(next) = next.min_by_key(|taken| taken.start) else {
                        add(start..half.end)?;
                        break;
                    };
                    add(start..next.start.clamp(start, half.end))?;
                    start = next.end;
                }
            }
        }
        // Ranges of RAM may lie over each other, and no byte is free twice.
        let mut end = 0;
        for piece in &mut free {
            piece.start = piece.start.max(end).min(piece.end);
            end = end.max(piece.end);
        }
        free.retain(|piece| piece.end - piece.start >= PIECE_BYTES_MIN);
        (!self.is_cut).then_some(free)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges may have one")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;
    const KIB: u64 = 1 << 10;

    fn ram(ranges: &[Range<u64>], taken: &[Range<u64>]) -> Ram {
        let mut ram = Ram::new();
        ranges.iter().for_each(|range| ram.add(range.clone()));
        taken.iter().for_each(|range| ram.take(range.clone()));
        ram
    }

    #[test]
    fn all_pieces_are_free_that_nobody_has_taken() {
        let both = [4 * GIB..10 * GIB, 0..2 * GIB];
        let free = |taken: &[Range<u64>]| ram(&both, taken).free(4 << 20, 4 * GIB).unwrap();
        assert_eq!(free(&[]), [4 << 20..2 * GIB, 4 * GIB..10 * GIB]);
        // Below the image, in the middle, at an end, over each other, and over all of a piece.
        assert_eq!(free(&[0..1 << 20]), free(&[]));
        let middle = free(&[GIB..GIB + 64 * KIB, GIB + 32 * KIB..GIB + 128 * KIB]);
        assert_eq!(middle, [4 << 20..GIB, GIB + 128 * KIB..2 * GIB, 4 * GIB..10 * GIB]);
        assert_eq!(free(&[GIB..5 * GIB]), [4 << 20..GIB, 5 * GIB..10 * GIB]);
        assert_eq!(free(&[0..2 * GIB]), [4 * GIB..10 * GIB]);
        assert_eq!(free(&[0..16 * GIB]), []);
        // Pieces that are too small are left.
        assert_eq!(free(&[(4 << 20) + 60 * KIB..3 * GIB]), [4 * GIB..10 * GIB]);
    }

    #[test]
    fn memory_that_is_named_twice_is_free_once() {
        let free = |ranges: &[Range<u64>]| ram(ranges, &[]).free(0, u64::MAX).unwrap();
        assert_eq!(free(&[0..2 * GIB, GIB..3 * GIB]), [0..2 * GIB, 2 * GIB..3 * GIB]);
        assert_eq!(free(&[GIB..2 * GIB, 0..4 * GIB, 0..4 * GIB]), [0..4 * GIB]);
    }

    proptest! {
        /// Counted in half the smallest piece: each half is in RAM, in one piece at most, and taken
        /// by nobody.
        #[test]
        fn what_is_free_is_ram_that_nobody_has(
            ranges in prop::collection::vec((0_u64..64, 0_u64..16), 0..6),
            taken in prop::collection::vec((0_u64..64, 0_u64..16), 0..6),
            (image_end, split) in (0_u64..64, 0_u64..80),
        ) {
            const UNIT: u64 = PIECE_BYTES_MIN / 2;
            let of = |list: &[(u64, u64)]| -> std::vec::Vec<Range<u64>> {
                list.iter().map(|(start, len)| start * UNIT..(start + len) * UNIT).collect()
            };
            let (ranges, taken) = (of(&ranges), of(&taken));
            let (image_end, split) = (image_end * UNIT, split * UNIT);
            let free = ram(&ranges, &taken).free(image_end, split).unwrap();
            prop_assert!(free.is_sorted_by(|one, next| one.end <= next.start));
            for piece in &free {
                prop_assert!(piece.end - piece.start >= PIECE_BYTES_MIN);
                prop_assert!(piece.end <= split || piece.start >= split);
            }
            for unit in (0..80).map(|unit| unit * UNIT) {
                let has = |list: &[Range<u64>]| list.iter().any(|range| range.contains(&unit));
                let may_be = has(&ranges) && !has(&taken) && unit >= image_end;
                prop_assert!(may_be || !has(&free), "{unit:#x}");
            }
        }
    }

    #[test]
    fn piece_on_both_sides_of_the_split_is_two() {
        let free = ram(&[GIB..6 * GIB], &[]).free(0, 4 * GIB).unwrap();
        assert_eq!(free, [GIB..4 * GIB, 4 * GIB..6 * GIB]);
    }

    #[test]
    fn machine_with_more_ranges_than_there_is_room_for_has_nothing_free() {
        let many: std::vec::Vec<Range<u64>> =
            (0..65).map(|number| number * GIB..number * GIB + KIB).collect();
        assert_eq!(ram(&[0..GIB], &many).free(0, GIB), None);
        assert_eq!(ram(&many, &[]).free(0, GIB), None);
        assert!(ram(&[0..GIB], &many[..64]).free(0, GIB).is_some());
    }

    #[test]
    fn range_that_ends_beyond_all_addresses_is_told_with_its_place() {
        assert_eq!(range(GIB, GIB), Ok(GIB..2 * GIB));
        let beyond = range(u64::MAX - 1, 0x2000).unwrap_err().to_string();
        assert_eq!(beyond, "0x2000 bytes at 0xfffffffffffffffe end beyond all addresses");
    }

    #[test]
    fn range_beside_ram_does_not_overlap_it() {
        let ram = ram(&[GIB..2 * GIB], &[]);
        assert!(ram.overlaps(&(2 * GIB - 1..2 * GIB)) && ram.overlaps(&(0..GIB + 1)));
        assert!(!ram.overlaps(&(0..GIB)) && !ram.overlaps(&(2 * GIB..3 * GIB)));
    }
}
