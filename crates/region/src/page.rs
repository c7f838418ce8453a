//! A page: 4 KiB whose every sector says of which write it is, so that no page is put together out
//! of two writes. Most exist twice, and the valid copy that was written later counts.
//!
//! Always: [`open`] accepts only a page that one call of [`seal`] made for the same region, kind
//! and number, whole and unchanged.

use super::checksum::RegionHash;
use super::format::{Page, PageName, Stamp};
use zerocopy::{FromBytes, IntoBytes};

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

/// Returns the check of an open page.
fn check(region: &[u8; 16], page: &Page) -> u64 {
    let hash = RegionHash::new(region);
    hash.page_check(page.name.as_bytes()).rotate_left(32) ^ hash.page_check(page.rest.as_bytes())
}

/// Returns the stamp of one write in each sector: two writes that differ have different stamps.
fn stamp(check: u64) -> Stamp {
    let [a, b, c, d, ..] = check.to_le_bytes();
    [a, b, c, d]
}

/// Fills in the header of `page`, whose body is ready, and makes it what is written to disk.
pub fn seal(region: &[u8; 16], kind: PageKind, number: u32, generation: u64, page: &mut Page) {
    page.name =
        PageName { magic: kind.magic(), number: number.into(), generation: generation.into() };
    page.rest.displaced = Default::default();
    let check = check(region, page);
    page.check = check.into();
    let stamp = stamp(check);
    page.rest.displaced =
        page.sectors().each_mut().map(|sector| core::mem::replace(&mut sector.stamp, stamp));
}

/// Opens a sealed page: puts the bytes back that the stamps displaced.
pub fn unseal(page: &mut Page) {
    let displaced = core::mem::take(&mut page.rest.displaced);
    for (sector, displaced) in page.sectors().iter_mut().zip(displaced) {
        sector.stamp = displaced;
    }
}

/// Unseals `page` and returns its generation, if it is a valid page of this region, kind and
/// number; of what is not, the bytes mean nothing afterwards.
pub fn open(region: &[u8; 16], kind: PageKind, number: u32, page: &mut Page) -> Option<u64> {
    let stamp = stamp(page.check.get());
    let of_one_write = page.sectors().iter().all(|sector| sector.stamp == stamp);
    if !of_one_write || !is_of(kind, number, page.as_bytes()) {
        return None;
    }
    unseal(page);
    let right = page.check.get() == check(region, page);
    right.then(|| page.name.generation.get())
}

/// Returns whether a block says that it is page `number` of this kind, of whatever region.
pub fn is_of(kind: PageKind, number: u32, raw: &[u8]) -> bool {
    Page::ref_from_bytes(raw)
        .is_ok_and(|page| page.name.magic == kind.magic() && page.name.number.get() == number)
}

/// Returns whether generation `a` was written after `b`: numbers go round, and two that are compared lie
/// less than half of all apart.
pub fn is_later(a: u64, b: u64) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead < 1 << 63
}

/// Returns whether copy B counts of two with these generations, which are `None` where a copy is not
/// valid.
pub fn b_counts(a: Option<u64>, b: Option<u64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => is_later(b, a),
        (a, b) => a.is_none() && b.is_some(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "test code")]
    use super::super::BLOCK_BYTES;
    use super::super::format::{BODY_BYTES, SECTOR_BYTES as SECTOR, SECTORS};
    use super::*;
    use std::vec::Vec;

    fn sealed(generation: u64, fill: impl Fn(usize) -> u8) -> Vec<u8> {
        let mut raw: Vec<u8> = (0..BLOCK_BYTES).map(fill).collect();
        raw.get_mut(..size_of::<Page>() - BODY_BYTES).unwrap().fill(0);
        let page = Page::of(&mut raw).unwrap();
        seal(&[7; 16], PageKind::Descriptors, 3, generation, page);
        raw
    }

    fn opened(mut raw: Vec<u8>) -> Option<(u64, Vec<u8>)> {
        let page = Page::of(&mut raw).unwrap();
        let generation = open(&[7; 16], PageKind::Descriptors, 3, page)?;
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
