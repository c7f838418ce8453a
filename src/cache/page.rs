//! A paired page: 4 KiB that exist twice, of which the valid copy with the higher generation
//! counts.
//!
//! Always: [`verify`] accepts only a page that [`seal`] made for the same region, kind and
//! number, whole and unchanged.

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
}

impl PageKind {
    fn magic(self) -> [u8; 4] {
        match self {
            Self::Blobs => *b"RLbl",
            Self::Descriptors => *b"RLds",
            Self::Hint => *b"RLh2",
            Self::Boot => *b"RLbt",
        }
    }
}

pub(super) mod at {
    pub const MAGIC: usize = 0;
    pub const NUMBER: usize = 4;
    pub const GENERATION: usize = 8;
    pub const CHECK: usize = 16;
    pub const CHECKED: usize = 24;
}

fn check(region: &[u8; 16], raw: &[u8]) -> u64 {
    let hash = RegionHash::new(region);
    let head = hash.page_check(raw.get(..at::CHECK).unwrap_or_default());
    head.rotate_left(32) ^ hash.page_check(raw.get(at::CHECKED..).unwrap_or_default())
}

/// Fills in the header of `raw`, whose body is ready.
pub fn seal(region: &[u8; 16], kind: PageKind, number: u32, generation: u64, raw: &mut [u8]) {
    put(raw, at::MAGIC, &kind.magic());
    put(raw, at::NUMBER, &number.to_le_bytes());
    put(raw, at::GENERATION, &generation.to_le_bytes());
    let check = check(region, raw);
    put(raw, at::CHECK, &check.to_le_bytes());
}

/// The generation of `raw` if it is a valid page of this region, kind and number.
pub fn verify(region: &[u8; 16], kind: PageKind, number: u32, raw: &[u8]) -> Option<u64> {
    let right = raw.len() == BLOCK_BYTES
        && array::<4>(raw, at::MAGIC) == kind.magic()
        && u32_at(raw, at::NUMBER) == number
        && u64_at(raw, at::CHECK) == check(region, raw);
    right.then(|| u64_at(raw, at::GENERATION))
}
