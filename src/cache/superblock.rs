//! The region's superblock: what the region is, and who wrote it last.
//!
//! Always: a [`Superblock`] came from a block whose magic, version and check were right.

use super::BLOCK_BYTES;
use super::bytes::{array, put, u32_at, u64_at};
use super::checksum::RegionHash;
use super::geometry::{Geometry, SlotSize};
use core::fmt;

/// First eight bytes of a superblock.
pub const MAGIC: [u8; 8] = crate::signature::REGION_MAGIC;
/// The format's version.
pub const VERSION: u32 = 4;
/// Checksum type 3: rapidhash v3, of a block from a seed for its place.
pub const CHECKSUM_RAPIDHASH: u8 = 3;

/// Incompatible features this code knows: none so far.
const INCOMPAT_KNOWN: u32 = 0;
/// Features that allow reading but not writing unless known: none so far.
const RO_COMPAT_KNOWN: u32 = 0;

pub(super) mod at {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 8;
    pub const COMPAT: usize = 12;
    pub const RO_COMPAT: usize = 16;
    pub const INCOMPAT: usize = 20;
    pub const UUID: usize = 24;
    pub const START: usize = 40;
    pub const LENGTH: usize = 48;
    pub const GENERATION: usize = 56;
    pub const NONCE: usize = 64;
    /// Followed by the checksum type.
    pub const SLOT_SHIFT: usize = 72;
    pub const SLOTS: usize = 76;
    pub const CONDEMNED: usize = 80;
    /// All that counts lies in the first 512 bytes, which survive a power cut together: a format
    /// that was cut short leaves a block with the magic, or a blank one.
    pub const CHECK: usize = 504;
}

/// A valid superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Random identity of this format of the region.
    pub uuid: [u8; 16],
    /// First byte of the region on its disk.
    pub start: u64,
    /// Length of the region in bytes.
    pub bytes: u64,
    /// Goes up with every write of the superblock; of two valid copies the higher counts.
    pub generation: u64,
    /// Drawn anew by every mount that writes.
    pub nonce: u64,
    /// The layout.
    pub geometry: Geometry,
    /// Whether all but this superblock is to be forgotten: the region failed its checks.
    pub condemned: bool,
    /// Whether a feature bit forbids writing to us.
    pub read_only: bool,
}

/// Why a block is no superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No magic: never formatted, or lost.
    NoMagic,
    /// The magic is there, the check is wrong.
    BadCheck,
    /// Made by another version; an earlier one's region is formatted anew.
    Version(u32),
    /// Incompatible feature bits that are not known.
    Incompat(u32),
    /// A checksum type that is not known.
    Checksum(u8),
    /// The region was moved: it says it starts elsewhere.
    Moved {
        /// Where it says it starts.
        start: u64,
    },
    /// Its sizes do not fit together.
    Layout,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMagic => f.write_str("no superblock"),
            Self::BadCheck => f.write_str("superblock with a wrong check"),
            Self::Version(version) => write!(f, "format version {version} is not known"),
            Self::Incompat(bits) => write!(f, "incompatible feature bits {bits:#x} are not known"),
            Self::Checksum(kind) => write!(f, "checksum type {kind} is not known"),
            Self::Moved { start } => {
                write!(f, "the region says it starts at byte {start:#x} of its disk, not here")
            }
            Self::Layout => f.write_str("the superblock's sizes do not fit together"),
        }
    }
}

impl Superblock {
    /// Returns first byte and length of the region that a superblock of any version describes,
    /// without a length where its version may keep something else there.
    pub fn place(raw: &[u8]) -> Option<(u64, Option<u64>)> {
        if matches!(Self::from_bytes(raw, 0), Err(Refusal::NoMagic | Refusal::BadCheck)) {
            return None;
        }
        let known = u32_at(raw, at::VERSION) <= VERSION;
        Some((u64_at(raw, at::START), known.then(|| u64_at(raw, at::LENGTH))))
    }

    /// Reads a superblock of a region that starts at byte `start` of its disk.
    pub fn from_bytes(raw: &[u8], start: u64) -> Result<Self, Refusal> {
        if array::<8>(raw, at::MAGIC) != MAGIC || raw.len() != BLOCK_BYTES {
            return Err(Refusal::NoMagic);
        }
        let uuid = array(raw, at::UUID);
        let body = raw.get(..at::CHECK).unwrap_or_default();
        if u64_at(raw, at::CHECK) != RegionHash::new(&uuid).page_check(body) {
            return Err(Refusal::BadCheck);
        }
        let version = u32_at(raw, at::VERSION);
        let own_start = u64_at(raw, at::START);
        let moved = Refusal::Moved { start: own_start };
        if version < VERSION && own_start != start {
            return Err(moved);
        }
        if version != VERSION {
            return Err(Refusal::Version(version));
        }
        let unknown = u32_at(raw, at::INCOMPAT) & !INCOMPAT_KNOWN;
        if unknown != 0 {
            return Err(Refusal::Incompat(unknown));
        }
        let [shift, checksum] = array(raw, at::SLOT_SHIFT);
        if checksum != CHECKSUM_RAPIDHASH {
            return Err(Refusal::Checksum(checksum));
        }
        if own_start != start {
            return Err(moved);
        }
        let bytes = u64_at(raw, at::LENGTH);
        let slot_size = SlotSize::from_shift(shift).ok_or(Refusal::Layout)?;
        let geometry =
            Geometry::new(slot_size, u32_at(raw, at::SLOTS), bytes).ok_or(Refusal::Layout)?;
        Ok(Self {
            uuid,
            start,
            bytes,
            generation: u64_at(raw, at::GENERATION),
            nonce: u64_at(raw, at::NONCE),
            geometry,
            condemned: raw.get(at::CONDEMNED).is_some_and(|byte| *byte != 0),
            read_only: u32_at(raw, at::RO_COMPAT) & !RO_COMPAT_KNOWN != 0,
        })
    }

    /// Writes the superblock into a whole block.
    pub fn write_to(&self, raw: &mut [u8]) {
        raw.fill(0);
        put(raw, at::MAGIC, &MAGIC);
        put(raw, at::VERSION, &VERSION.to_le_bytes());
        put(raw, at::COMPAT, &0u32.to_le_bytes());
        put(raw, at::UUID, &self.uuid);
        put(raw, at::START, &self.start.to_le_bytes());
        put(raw, at::LENGTH, &self.bytes.to_le_bytes());
        put(raw, at::GENERATION, &self.generation.to_le_bytes());
        put(raw, at::NONCE, &self.nonce.to_le_bytes());
        put(raw, at::SLOT_SHIFT, &[self.geometry.slot_size.shift(), CHECKSUM_RAPIDHASH]);
        put(raw, at::SLOTS, &self.geometry.slots.to_le_bytes());
        put(raw, at::CONDEMNED, &[u8::from(self.condemned)]);
        let body = raw.get(..at::CHECK).unwrap_or_default();
        let check = RegionHash::new(&self.uuid).page_check(body);
        put(raw, at::CHECK, &check.to_le_bytes());
    }
}
