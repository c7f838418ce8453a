//! The header of a map: its first 8 bytes.
//!
//! Always: fields that depend on the form of the index are returned in all their meanings;
//! [`super::CompressedMap::open`] picks the right one.

use super::super::block::BlockSize;
use super::super::record::Record;
use rootlet_base::num::{Bug, OrBug};
use rootlet_base::units::Pow2;

/// The flag of a file that lies in the packed inode as a whole.
const WHOLE_FRAGMENT: u64 = 1 << 63;

/// The length of a header in bytes.
pub const HEADER_BYTES: usize = 8;

/// `h_advise`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advise(pub u16);

impl Advise {
    /// Packs of 2 bytes, in layout 3.
    pub const COMPACT_2B: Self = Self(0x01);
    /// Records of extents, in layout 1.
    pub const EXTENTS: Self = Self(0x01);
    /// Pclusters of several blocks under HEAD1.
    pub const BIG_1: Self = Self(0x02);
    /// Pclusters of several blocks under HEAD2, and plain ones.
    pub const BIG_2: Self = Self(0x04);
    /// The last pcluster lies after the index.
    pub const INLINE: Self = Self(0x08);
    /// Plain pclusters are rotated.
    pub const INTERLACED: Self = Self(0x10);
    /// The last extent lies in the packed inode.
    pub const FRAGMENT: Self = Self(0x20);

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the size of a record if [`Advise::EXTENTS`] is set.
    pub fn record(self) -> RecordSize {
        match self.0 >> 1 & 3 {
            0 => RecordSize::B4,
            1 => RecordSize::B8,
            2 => RecordSize::B16,
            _ => RecordSize::B32,
        }
    }
}

/// The size of a record of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordSize {
    B4,
    B8,
    B16,
    B32,
}

impl RecordSize {
    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::B4 => 4,
            Self::B8 => 8,
            Self::B16 => 16,
            Self::B32 => 32,
        }
    }

    /// Returns whether each lcluster has a record, which is then found by its number.
    pub const fn is_short(self) -> bool {
        matches!(self, Self::B4 | Self::B8)
    }
}

/// The fields of a header.
#[derive(Clone, Copy)]
pub struct Header {
    pub advise: Advise,
    /// The algorithms of HEAD1 and HEAD2.
    pub heads: [u8; 2],
    /// The binary logarithm of the number of blocks in an lcluster.
    pub lcluster_bits: u32,
    /// The low half of the offset of the last extent in the packed inode.
    pub fragment: u32,
    /// The length of the inline pcluster in bytes.
    pub inline_len: u64,
    /// The number of records.
    pub records: u64,
}

impl Header {
    /// Returns the size of an lcluster: at most 2^31.
    pub fn lcluster(&self, block_size: BlockSize) -> Result<Pow2, Bug> {
        let bits = block_size.bits().checked_add(self.lcluster_bits).or_bug()?;
        Pow2::from_bits(bits).or_bug()
    }

    /// Parses a header. `Err` is the offset in the packed inode of a file that lies there as a
    /// whole.
    pub fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, u64> {
        let raw = Record(bytes);
        let whole = raw.u64::<0>();
        if whole & WHOLE_FRAGMENT != 0 {
            return Err(whole ^ WHOLE_FRAGMENT);
        }
        let (algorithms, cluster_bits) = (raw.u8::<6>(), raw.u8::<7>());
        Ok(Self {
            advise: Advise(raw.u16::<4>()),
            heads: [algorithms & 0xf, algorithms >> 4],
            lcluster_bits: u32::from(cluster_bits & 0xf),
            fragment: raw.u32::<0>(),
            inline_len: u64::from(raw.u16::<2>()),
            records: super::super::record::block48(raw.u16::<6>(), raw.u32::<0>()),
        })
    }
}
