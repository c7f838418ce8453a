//! A page: 4 KiB whose every sector says of which write it is, so that no page is put together out
//! of two writes. Most exist twice, and the valid copy that was written later counts.
//!
//! Always: [`open`] accepts only a page that one call of [`seal`] made for the same region, kind
//! and number, whole and unchanged.

use super::BLOCK_BYTES;
use super::bytes::{array, put, u32_at, u64_at};
use super::checksum::RegionHash;

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Entries of the blob table.
    Blobs,
    /// Descriptors of slots.
    Descriptors,
    /// The hint; it exists once.
    Hint,
    /// The boot trace; it exists once.
    Boot,
    /// The mark of the mount that writes; it exists once.
    Mark,
}

impl PageKind {
    pub(super) fn magic(self) -> [u8; 4] {
        match self {
            Self::Blobs => *b"RLbl",
            Self::Descriptors => *b"RLds",
            Self::Hint => *b"RLh2",
            Self::Boot => *b"RLbt",
            Self::Mark => *b"RLmk",
        }
    }
}

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;
const SECTORS: usize = BLOCK_BYTES / SECTOR;
/// Bytes at the end of each sector that give way to the stamp.
const STAMP_BYTES: usize = 4;

pub(super) mod at {
    pub const MAGIC: usize = 0;
    pub const NUMBER: usize = 4;
    pub const GENERATION: usize = 8;
    pub const CHECK: usize = 16;
    pub const CHECKED: usize = 24;
    /// The bytes whose places have the stamp.
    pub const DISPLACED: usize = 24;
}

// FORMAT.md, pages: what the stamps displace fits into the header.
const _: () = assert!(at::DISPLACED + SECTORS * STAMP_BYTES <= super::geometry::PAGE_HEADER_BYTES);

fn check(region: &[u8; 16], raw: &[u8]) -> u64 {
    let hash = RegionHash::new(region);
    let head = hash.page_check(raw.get(..at::CHECK).unwrap_or_default());
    head.rotate_left(32) ^ hash.page_check(raw.get(at::CHECKED..).unwrap_or_default())
}

/// The mark of one write in each of its sectors: of two writes that differ, it differs too.
fn stamp(check: u64) -> [u8; STAMP_BYTES] {
    let [a, b, c, d, ..] = check.to_le_bytes();
    [a, b, c, d]
}

/// Where the stamp of each sector lies, and where the bytes are that it displaces.
fn stamps() -> impl Iterator<Item = (usize, usize)> {
    let places = (SECTOR.saturating_sub(STAMP_BYTES)..BLOCK_BYTES).step_by(SECTOR);
    places.zip((at::DISPLACED..).step_by(STAMP_BYTES))
}

/// Fills in the header of `raw`, whose body is ready, and makes it what is written to disk.
pub fn seal(region: &[u8; 16], kind: PageKind, number: u32, generation: u64, raw: &mut [u8]) {
    put(raw, at::MAGIC, &kind.magic());
    put(raw, at::NUMBER, &number.to_le_bytes());
    put(raw, at::GENERATION, &generation.to_le_bytes());
    let check = check(region, raw);
    put(raw, at::CHECK, &check.to_le_bytes());
    for (place, displaced) in stamps() {
        let bytes: [u8; STAMP_BYTES] = array(raw, place);
        put(raw, displaced, &bytes);
        put(raw, place, &stamp(check));
    }
}

/// Makes a sealed page what it was before: puts the bytes back that the stamps displaced.
pub fn unseal(raw: &mut [u8]) {
    for (place, displaced) in stamps() {
        let bytes: [u8; STAMP_BYTES] = array(raw, displaced);
        put(raw, place, &bytes);
        put(raw, displaced, &[0; STAMP_BYTES]);
    }
}

/// Unseals `raw` and returns its generation, if it is a valid page of this region, kind and
/// number; of what is not, the bytes mean nothing afterwards.
pub fn open(region: &[u8; 16], kind: PageKind, number: u32, raw: &mut [u8]) -> Option<u64> {
    let stamp = stamp(u64_at(raw, at::CHECK));
    let of_one_write = raw.len() == BLOCK_BYTES
        && is_of(kind, number, raw)
        && stamps().all(|(place, _)| array(raw, place) == stamp);
    if !of_one_write {
        return None;
    }
    unseal(raw);
    let right = u64_at(raw, at::CHECK) == check(region, raw);
    right.then(|| u64_at(raw, at::GENERATION))
}

/// Whether a block says that it is page `number` of this kind, of whatever region.
pub fn is_of(kind: PageKind, number: u32, raw: &[u8]) -> bool {
    array::<4>(raw, at::MAGIC) == kind.magic() && u32_at(raw, at::NUMBER) == number
}

/// Whether generation `a` was written after `b`: numbers go round, and two that are compared lie
/// less than half of all apart.
pub fn is_later(a: u64, b: u64) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead < 1 << 63
}

/// Whether copy B counts of two with these generations, which are `None` where a copy is not
/// valid.
pub fn b_counts(a: Option<u64>, b: Option<u64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => is_later(b, a),
        (a, b) => a.is_none() && b.is_some(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "test code")]
    use super::*;
    use std::vec::Vec;

    fn sealed(generation: u64, fill: impl Fn(usize) -> u8) -> Vec<u8> {
        let mut raw: Vec<u8> = (0..BLOCK_BYTES).map(fill).collect();
        raw.get_mut(..super::super::geometry::PAGE_HEADER_BYTES).unwrap().fill(0);
        seal(&[7; 16], PageKind::Descriptors, 3, generation, &mut raw);
        raw
    }

    fn opened(mut raw: Vec<u8>) -> Option<(u64, Vec<u8>)> {
        let generation = open(&[7; 16], PageKind::Descriptors, 3, &mut raw)?;
        Some((generation, raw))
    }

    #[test]
    fn page_is_as_it_was_when_it_is_opened() {
        let body = |at: usize| u8::try_from(at % 251).unwrap();
        let (generation, raw) = opened(sealed(9, body)).unwrap();
        assert_eq!(generation, 9);
        assert!((64..BLOCK_BYTES).all(|at| raw.get(at) == Some(&body(at))));
        assert!(raw.get(24..64).unwrap().iter().all(|byte| *byte == 0));
    }

    #[test]
    fn no_sector_of_two_writes_is_the_same() {
        // Writes that differ in one byte, or in their generation alone.
        let of = |at: usize, byte: u8| sealed(5, move |here| if here == at { byte } else { 0 });
        for (first, second) in [
            (of(70, 1), of(70, 2)),
            (of(4095, 1), of(4000, 1)),
            (sealed(5, |_| 0), sealed(6, |_| 0)),
        ] {
            let pairs = first.chunks(SECTOR).zip(second.chunks(SECTOR));
            assert!(pairs.into_iter().all(|(first, second)| first != second));
        }
    }

    #[test]
    fn page_of_sectors_of_two_writes_is_none() {
        let (first, second) = (sealed(5, |_| 1), sealed(5, |at| u8::from(at < 1000)));
        for mask in 1..(1 << SECTORS) - 1 {
            let sector = |at: usize| if (mask >> at) & 1 == 1 { &first } else { &second };
            let mixed: Vec<u8> = (0..SECTORS)
                .flat_map(|at| sector(at).get(at * SECTOR..(at + 1) * SECTOR).unwrap().to_vec())
                .collect();
            assert_eq!(opened(mixed), None, "{mask:#b}");
        }
        assert!(opened(first).is_some() && opened(second).is_some());
    }

    #[test]
    fn any_changed_bit_makes_a_page_invalid() {
        let raw = sealed(5, |at| u8::from(at % 3 == 0));
        // Bytes 56 to 63 are not used, and under the check all the same.
        for bit in 0..BLOCK_BYTES * 8 {
            let mut changed = raw.clone();
            *changed.get_mut(bit / 8).unwrap() ^= 1 << (bit % 8);
            assert_eq!(opened(changed), None, "bit {bit}");
        }
    }

    #[test]
    fn generations_go_round() {
        assert!(is_later(2, 1) && !is_later(1, 2) && !is_later(1, 1));
        assert!(is_later(0, u64::MAX) && !is_later(u64::MAX, 0));
        assert!(b_counts(Some(u64::MAX), Some(0)) && !b_counts(Some(0), Some(u64::MAX)));
        assert!(b_counts(None, Some(0)) && !b_counts(Some(0), None) && !b_counts(None, None));
    }
}
