//! The chunk map of an inode: one entry per chunk, after the inode and its xattrs.
//!
//! Always: the map has an entry for every chunk of the file and lies within the image.

use super::block::{Nid, Span};
use super::corrupt::{Corrupt, Part};
use super::error::{FormatError, Unsupported};
use super::outline::Outline;
use super::record::{Record, block48};
use super::superblock::Superblock;
use core::ops::Range;
use rootlet_base::num::OrBug;
use rootlet_base::units::Pow2;

const BITS_MASK: u16 = 0x1f;
const INDEXES: u16 = 0x20;
const WIDE: u16 = 0x40;
const KNOWN: u16 = BITS_MASK | INDEXES | WIDE;

/// The form of the entries of a chunk map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkEntry {
    /// 4 bytes: a block of the unified address space.
    Block,
    /// 8 bytes: a device id and a 32-bit block; the high half of the block is ignored.
    Index,
    /// 8 bytes: a device id and a 48-bit block.
    WideIndex,
}

impl ChunkEntry {
    /// Returns the length of an entry in bytes, as the length of a buffer.
    pub const fn bytes_usize(self) -> usize {
        match self {
            Self::Block => 4,
            Self::Index | Self::WideIndex => 8,
        }
    }

    /// Returns the length of an entry in bytes.
    const fn bytes(self) -> u64 {
        match self {
            Self::Block => 4,
            Self::Index | Self::WideIndex => 8,
        }
    }
}

/// The place of a chunk's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkTarget {
    /// A hole: zeros.
    Hole,
    /// Blocks of a device, for [`super::Devices::resolve`].
    At {
        /// The device id, masked; 0 is the unified address space.
        device_id: u16,
        /// The first block of the chunk.
        block: u64,
    },
}

/// The place and form of a chunk map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMap {
    /// Chunks have 2^`chunk_bits` bytes: 9 to 47.
    chunk_bits: u32,
    /// The form of the entries.
    entry: ChunkEntry,
    nid: Nid,
    span: Span,
    chunks: u64,
    device_id_mask: u16,
    devices: u16,
}

impl ChunkMap {
    pub(super) fn from_outline(
        superblock: &Superblock,
        outline: Outline,
    ) -> Result<Self, FormatError> {
        let nid = outline.nid;
        let [low, high, _, _] = outline.low.to_le_bytes();
        let format = u16::from_le_bytes([low, high]);
        if format & !KNOWN != 0 {
            return Err(Unsupported::ChunkFormat { nid, format }.into());
        }
        let entry = match (format & INDEXES != 0, format & WIDE != 0) {
            (false, _) => ChunkEntry::Block,
            (true, false) => ChunkEntry::Index,
            (true, true) => ChunkEntry::WideIndex,
        };
        // 9 to 16, plus at most 31.
        let chunk_bits = superblock.block_size().bits().checked_add(u32::from(format & BITS_MASK));
        let chunk_bits = chunk_bits.or_bug()?;
        let chunks = Pow2::from_bits(chunk_bits).or_bug()?.cover(outline.size);
        let part = Part::ChunkMap(nid);
        let len = chunks.checked_mul(entry.bytes()).ok_or(Corrupt::Overflow(part))?;
        let aligned = outline.body_end.checked_next_multiple_of(entry.bytes());
        let at = aligned.ok_or(Corrupt::Overflow(part))?;
        let span = Span { at, len };
        superblock.within(span, part)?;
        let device_id_mask = superblock.device_id_mask();
        Ok(Self {
            chunk_bits,
            entry,
            nid,
            span,
            chunks,
            device_id_mask,
            devices: superblock.extra_devices(),
        })
    }

    /// Returns the number of chunks of the file, the last one perhaps in part.
    pub fn count(&self) -> u64 {
        self.chunks
    }

    /// Returns the number of the chunk that holds byte `offset` of the file.
    pub fn chunk_of(&self, offset: u64) -> u64 {
        offset >> self.chunk_bits
    }

    /// Returns the bytes of the whole map, in the inode's metadata space.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Returns the bytes of the entry of chunk `chunk`, in the inode's metadata space. Entries of
    /// consecutive chunks adjoin.
    pub fn entry_at(&self, chunk: u64) -> Result<Span, FormatError> {
        if chunk >= self.chunks {
            let (nid, chunks) = (self.nid, self.chunks);
            return Err(Corrupt::ChunkBeyondFile { nid, chunk, chunks }.into());
        }
        let len = self.entry.bytes();
        // Below the end of the map, which the constructor has checked.
        let at = chunk.checked_mul(len).and_then(|skip| self.span.at.checked_add(skip));
        Ok(Span { at: at.or_bug()?, len })
    }

    /// Returns the bytes of the entries of `chunks`: at most `bytes_max`, and at least one whole
    /// entry.
    pub fn entries(&self, chunks: Range<u64>, bytes_max: u64) -> Result<Span, FormatError> {
        let first = self.entry_at(chunks.start)?;
        let count = chunks.end.checked_sub(chunks.start).or_bug()?;
        let whole = bytes_max.checked_div(first.len).or_bug()?;
        let len = count.min(whole).max(1).checked_mul(first.len).or_bug()?;
        Ok(Span { at: first.at, len })
    }

    /// Returns the target of chunk `chunk`; `bytes` begin with its entry.
    pub fn parse(&self, chunk: u64, bytes: &[u8]) -> Result<ChunkTarget, FormatError> {
        let need = self.entry.bytes_usize();
        let short = Corrupt::Short { part: Part::ChunkEntry(self.nid), need, got: bytes.len() };
        let (device_id, block, null) = match self.entry {
            ChunkEntry::Block => {
                let raw = Record::<4>::first_of(bytes).ok_or(short)?;
                (0, u64::from(raw.u32::<0>()), u64::from(u32::MAX))
            }
            ChunkEntry::Index => {
                let raw = Record::<8>::first_of(bytes).ok_or(short)?;
                (raw.u16::<2>(), u64::from(raw.u32::<4>()), u64::from(u32::MAX))
            }
            ChunkEntry::WideIndex => {
                let raw = Record::<8>::first_of(bytes).ok_or(short)?;
                let block = block48(raw.u16::<0>(), raw.u32::<4>());
                (raw.u16::<2>(), block, block48(u16::MAX, u32::MAX))
            }
        };
        if block == null {
            return Ok(ChunkTarget::Hole);
        }
        let (slot, slots) = (device_id & self.device_id_mask, self.devices);
        if slot > slots {
            return Err(Corrupt::ChunkSlot { nid: self.nid, chunk, slot, slots }.into());
        }
        Ok(ChunkTarget::At { device_id: slot, block })
    }

    /// Returns the bits of an offset in a chunk, 9 to 47: a chunk has 2 to their power of bytes.
    pub const fn chunk_bits(&self) -> u32 {
        self.chunk_bits
    }

    /// Returns the form of the entries.
    pub const fn entry(&self) -> ChunkEntry {
        self.entry
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{NID, Sample, compact, extended};
    use super::super::{Inode, Layout};
    use super::*;

    fn map_of(superblock: &Superblock, bytes: &[u8]) -> Result<ChunkMap, FormatError> {
        match Inode::from_bytes(superblock, NID, bytes)?.layout() {
            Layout::Chunked(map) => Ok(map),
            layout => panic!("{layout:?}"),
        }
    }

    /// A map in a sample with three extra devices.
    fn map(format: u32, size: u32) -> Result<ChunkMap, FormatError> {
        let superblock = Sample::with_devices(3).superblock();
        map_of(&superblock, &compact(8, 0, 0o100_644, size, format))
    }

    fn valid(format: u32) -> ChunkMap {
        map(format, 5000).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn map_begins_behind_the_xattrs_at_a_multiple_of_its_entry() {
        let superblock = Sample::new().superblock();
        for (format, at) in [(1, 3200 + 32 + 12), (0x21, 3200 + 32 + 16)] {
            let map = map_of(&superblock, &compact(8, 1, 0o100_644, 1025, format));
            let len = if format == 1 { 8 } else { 16 };
            assert_eq!(map.map(|map| map.span()), Ok(Span { at, len }));
        }
    }

    #[test]
    fn last_chunk_may_be_partial() {
        let map = map(0x22, 4097).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((map.chunk_bits, map.count()), (11, 3));
        assert_eq!((map.chunk_of(2047), map.chunk_of(2048)), (0, 1));
        assert_eq!(map.entry_at(2), Ok(Span { at: 3232 + 16, len: 8 }));
        let error = Corrupt::ChunkBeyondFile { nid: NID, chunk: 3, chunks: 3 };
        assert_eq!(map.entry_at(3), Err(error.into()));
    }

    #[test]
    fn size_beyond_the_map_is_corrupt() {
        let superblock = Sample::new().superblock();
        let size = (1 << 63) - 1;
        let map = map_of(&superblock, &extended(8, 0o100_644, size, 0x20, 0));
        let (part, len) = (Part::ChunkMap(NID), 1 << 57);
        let error = Corrupt::BeyondImage { part, at: 3200 + 64, len, image: 0x8000 };
        assert_eq!(map, Err(error.into()));
    }

    #[test]
    fn largest_chunk_holds_the_file() {
        assert_eq!(map(0x1f, u32::MAX).map(|map| (map.chunk_bits, map.count())), Ok((40, 1)));
    }

    #[test]
    fn unknown_chunk_format_is_refused_by_number() {
        let error = Unsupported::ChunkFormat { nid: NID, format: 0x80 };
        assert_eq!(map(0x80, 1), Err(error.into()));
    }

    #[test]
    fn block_entry_is_a_unified_block_or_a_hole() {
        let map = valid(0);
        let target = ChunkTarget::At { device_id: 0, block: 0xffff_fffe };
        assert_eq!(map.parse(0, &[0xfe, 0xff, 0xff, 0xff]), Ok(target));
        assert_eq!(map.parse(0, &[0xff; 4]), Ok(ChunkTarget::Hole));
    }

    #[test]
    fn index_entry_ignores_the_high_half() {
        let map = valid(0x20);
        let target = ChunkTarget::At { device_id: 2, block: 9 };
        assert_eq!(map.parse(0, &[0xff, 0xff, 2, 0, 9, 0, 0, 0]), Ok(target));
        assert_eq!(map.parse(0, &[0, 0, 9, 9, 255, 255, 255, 255]), Ok(ChunkTarget::Hole));
    }

    #[test]
    fn wide_index_entry_is_a_hole_only_with_all_48_bits() {
        let map = valid(0x60);
        let target = ChunkTarget::At { device_id: 1, block: 0xffff_ffff };
        assert_eq!(map.parse(0, &[0, 0, 1, 0, 255, 255, 255, 255]), Ok(target));
        assert_eq!(map.parse(0, &[255, 255, 1, 0, 255, 255, 255, 255]), Ok(ChunkTarget::Hole));
        let target = ChunkTarget::At { device_id: 1, block: 1 << 32 };
        assert_eq!(map.parse(0, &[1, 0, 1, 0, 0, 0, 0, 0]), Ok(target));
    }

    #[test]
    fn device_id_is_masked_before_it_is_judged() {
        let target = ChunkTarget::At { device_id: 1, block: 0 };
        assert_eq!(valid(0x20).parse(0, &[0, 0, 0xf1, 0xff, 0, 0, 0, 0]), Ok(target));
    }

    #[test]
    fn device_id_beyond_the_table_names_chunk_and_slot() {
        let superblock = Sample::with_devices(4).superblock();
        let map = map_of(&superblock, &compact(8, 0, 0o100_644, 5000, 0x20));
        let map = map.unwrap_or_else(|error| panic!("{error}"));
        let error = Corrupt::ChunkSlot { nid: NID, chunk: 7, slot: 5, slots: 4 };
        assert_eq!(map.parse(7, &[0, 0, 5, 0, 0, 0, 0, 0]), Err(error.into()));
    }

    #[test]
    fn entry_cut_short_is_corrupt() {
        let part = Part::ChunkEntry(NID);
        let error = Corrupt::Short { part, need: 8, got: 7 };
        assert_eq!(valid(0x60).parse(0, &[0; 7]), Err(error.into()));
    }
}
