//! The units of the format: blocks, inode numbers, byte spans.
//!
//! Always: a [`BlockSize`] is a power of two from 512 to 65,536; nothing here wraps.

use core::fmt;

use rootlet_base::num::wide8;
use rootlet_base::units::Pow2;

/// The first number that is not a block number: these have at most 48 bits.
pub const BLOCKS_MAX: u64 = 1 << 48;

/// The size of a block of the image: 512 bytes to 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize(Pow2);

impl BlockSize {
    /// The largest block, in bytes.
    pub const BYTES_MAX: usize = 65_536;

    /// Returns the size 2^`bits`, as the superblock stores it (`blkszbits`); `None` if `bits` is
    /// not 9 to 16.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match Pow2::from_bits(wide8(bits)) {
            Some(size) if bits >= 9 && bits <= 16 => Some(Self(size)),
            _ => None,
        }
    }

    /// Returns the size as a power of two.
    pub const fn pow2(self) -> Pow2 {
        self.0
    }

    /// Returns the base 2 logarithm of the size.
    pub const fn bits(self) -> u32 {
        self.0.bits()
    }

    /// Returns the size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0.get()
    }

    /// Returns the size in bytes, as the length of a buffer.
    pub const fn bytes_usize(self) -> usize {
        1 << self.0.bits()
    }

    /// Returns the byte at which block `block` begins; `None` if the number has more than 48 bits.
    pub const fn at(self, block: u64) -> Option<u64> {
        if block < BLOCKS_MAX { self.0.times(block) } else { None }
    }

    /// Returns the number of blocks that `bytes` bytes take, the last one perhaps in part.
    pub const fn blocks_of(self, bytes: u64) -> u64 {
        self.0.cover(bytes)
    }

    /// Returns the offset of byte `at` in its block.
    pub const fn offset_in(self, at: u64) -> u64 {
        self.0.offset(at)
    }
}

impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

/// An inode number: the index of the 32-byte slot, counted from the metadata area, where the
/// inode begins; with bit 63, counted from the start of the metabox. In a stack of images, bits 55
/// to 62 have the number of the image, from 1: no image is long enough to need them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nid(pub u64);

impl Nid {
    const METABOX: u64 = 1 << 63;
    pub(crate) const LAYER_BITS: u32 = 55;
    pub(crate) const LAYER: u64 = 0xff << Self::LAYER_BITS;

    /// Returns the metadata space of the inode, and of its xattrs, map and inline tail.
    pub const fn space(self) -> Space {
        if self.0 & Self::METABOX == 0 { Space::Image } else { Space::Metabox }
    }

    /// Returns the number of the image in its stack, from 1; 0 for an image alone.
    pub const fn layer(self) -> u8 {
        let [.., low] = (self.0 >> Self::LAYER_BITS).to_be_bytes();
        low
    }

    /// Returns the index of the 32-byte slot in the metadata space.
    pub const fn slot(self) -> u64 {
        self.0 & !Self::METABOX
    }
}

/// A metadata space: offsets of metadata count from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// The primary device.
    Image,
    /// The data of the metabox inode.
    Metabox,
}

impl fmt::Display for Nid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Self(self.0 & !Self::LAYER);
        match (self.layer(), self.space()) {
            (0, Space::Image) => self.0.fmt(f),
            (0, Space::Metabox) => write!(f, "{} of the metabox", self.slot()),
            (layer, _) => write!(f, "{plain} of layer {layer}"),
        }
    }
}

/// A range of bytes of the primary device or of the metabox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub at: u64,
    /// The number of bytes.
    pub len: u64,
}

impl Span {
    /// Returns the byte after the last; `None` beyond 64 bits.
    pub(crate) const fn end(self) -> Option<u64> {
        self.at.checked_add(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nine_to_sixteen_bits_make_a_block() {
        for bits in 0..=u8::MAX {
            assert_eq!(BlockSize::from_bits(bits).is_some(), (9..=16).contains(&bits), "{bits}");
        }
    }

    #[test]
    fn a_block_number_of_49_bits_has_no_byte() {
        let size = BlockSize::from_bits(16).unwrap_or_else(|| unreachable!());
        assert_eq!(size.at((1 << 48) - 1), Some(0xffff_ffff_ffff_0000));
        assert_eq!(size.at(1 << 48), None);
        assert_eq!(size.offset_in(0x1_2345), 0x2345);
        assert_eq!(size.blocks_of(u64::MAX), 1 << 48);
        assert_eq!(size.blocks_of(65_537), 2);
    }
}
