//! The region's superblock: what the region is, and who wrote it last.
//!
//! Always: a [`Superblock`] came from a block whose magic, version and check were right.

use super::checksum::RegionHash;
use super::geometry::{Geometry, SlotSize};
use super::{BLOCK_BYTES, format};
use core::fmt;
use zerocopy::{FromBytes, IntoBytes};

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

/// Why a block is not a superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

impl core::error::Error for Refusal {}

impl Superblock {
    /// Returns first byte and length of the region that a superblock of any version describes,
    /// without a length where its version may keep something else there.
    pub fn place(raw: &[u8]) -> Option<(u64, Option<u64>)> {
        if matches!(Self::from_bytes(raw, 0), Err(Refusal::NoMagic | Refusal::BadCheck)) {
            return None;
        }
        let fields = &format::Superblock::ref_from_bytes(raw).ok()?.fields;
        let known = fields.version.get() <= VERSION;
        Some((fields.start.get(), known.then(|| fields.length.get())))
    }

    /// Returns the superblock that `raw` is, of a region that starts at byte `start` of its disk.
    ///
    /// # Errors
    /// Why it is not one.
    pub fn from_bytes(raw: &[u8], start: u64) -> Result<Self, Refusal> {
        let raw = format::Superblock::ref_from_bytes(raw).map_err(|_| Refusal::NoMagic)?;
        let fields = &raw.fields;
        if fields.magic != MAGIC {
            return Err(Refusal::NoMagic);
        }
        if raw.check.get() != RegionHash::new(&fields.uuid).page_check(fields.as_bytes()) {
            return Err(Refusal::BadCheck);
        }
        let version = fields.version.get();
        let own_start = fields.start.get();
        let moved = Refusal::Moved { start: own_start };
        if version < VERSION && own_start != start {
            return Err(moved);
        }
        if version != VERSION {
            return Err(Refusal::Version(version));
        }
        let unknown = fields.incompat.get() & !INCOMPAT_KNOWN;
        if unknown != 0 {
            return Err(Refusal::Incompat(unknown));
        }
        if fields.checksum != CHECKSUM_RAPIDHASH {
            return Err(Refusal::Checksum(fields.checksum));
        }
        if own_start != start {
            return Err(moved);
        }
        let bytes = fields.length.get();
        let slot_size = SlotSize::from_shift(fields.slot_shift).ok_or(Refusal::Layout)?;
        let geometry =
            Geometry::new(slot_size, fields.slots.get(), bytes).ok_or(Refusal::Layout)?;
        Ok(Self {
            uuid: fields.uuid,
            start,
            bytes,
            generation: fields.generation.get(),
            nonce: fields.nonce.get(),
            geometry,
            condemned: fields.condemned != 0,
            read_only: fields.ro_compat.get() & !RO_COMPAT_KNOWN != 0,
        })
    }

    /// Returns the block that the superblock is on disk.
    pub fn to_bytes(&self) -> [u8; BLOCK_BYTES] {
        let fields = format::SuperblockFields {
            magic: MAGIC,
            version: VERSION.into(),
            compat: 0.into(),
            ro_compat: 0.into(),
            incompat: 0.into(),
            uuid: self.uuid,
            start: self.start.into(),
            length: self.bytes.into(),
            generation: self.generation.into(),
            nonce: self.nonce.into(),
            slot_shift: self.geometry.slot_size().shift(),
            checksum: CHECKSUM_RAPIDHASH,
            unused: [0; 2],
            slots: self.geometry.slots().into(),
            condemned: u8::from(self.condemned),
            rest: [0; _],
        };
        let check = RegionHash::new(&self.uuid).page_check(fields.as_bytes()).into();
        zerocopy::transmute!(format::Superblock { fields, check, rest: [0; _] })
    }
}
