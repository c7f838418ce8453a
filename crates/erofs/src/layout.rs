//! The layout of an inode's data, as far as the inode itself states it.
//!
//! Always: an inline tail lies in one block; ranges of blocks end within 48 bits, and within the
//! image if it has only one device.

use super::block::{BLOCKS_MAX, BlockSize, Nid, Span};
use super::chunk::ChunkMap;
use super::corrupt::{Corrupt, Part};
use super::error::FormatError;
use super::outline::Outline;
use super::superblock::Superblock;
use rootlet_base::num::OrBug;

/// The layout of an inode's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// No data: a device, a pipe or a socket.
    None,
    /// Consecutive blocks of the unified address space.
    Plain {
        /// The first block; `None` for a file that is one hole. Has no meaning at size 0.
        start: Option<u64>,
    },
    /// Consecutive blocks, and the last part of the data after the inode.
    Inline {
        /// The first block. Has no meaning if the tail is all the data.
        start: u64,
        /// The tail, in the inode's metadata space: the last bytes of the data, at least 1 and at
        /// most a block; none at size 0. The data before the tail is whole blocks.
        tail: Span,
    },
    /// Chunks of equal size, each anywhere.
    Chunked(ChunkMap),
    /// The bytes of an object, from this byte of the objects' device on.
    Object {
        /// The first byte.
        at: u64,
    },
    /// Compressed data, for [`super::CompressedMap`].
    Compressed(Compressed),
}

/// The map of a compressed inode, as the inode describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// The form of the index.
    pub form: CompressedForm,
    /// The byte after the inode and its xattrs, in the inode's metadata space.
    pub body_end: u64,
    /// The number of blocks of the encoded bytes, as the image states it; for information only.
    pub blocks: u32,
}

/// The form of the index of a compressed inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressedForm {
    /// Layout 1: 8 bytes per lcluster, or records of extents.
    Full,
    /// Layout 3: packs of 2 and 4 bytes per lcluster.
    Compact,
}

impl CompressedForm {
    /// Returns the number of the form in `i_format`.
    pub fn number(self) -> u8 {
        match self {
            Self::Full => 1,
            Self::Compact => 3,
        }
    }
}

impl Layout {
    /// Returns the layout of data in consecutive blocks.
    pub(super) fn plain(
        outline: Outline,
        superblock: &Superblock,
        wide: bool,
    ) -> Result<Self, FormatError> {
        // If there is a high half, the null of Linux has all 48 bits set. Without 48BIT the high
        // half is reserved, and tools leave it zero.
        let null = match outline.high {
            Some(high) => high == u16::MAX || (high == 0 && !wide),
            None => true,
        };
        if outline.low == u32::MAX && null {
            return Ok(Self::Plain { start: None });
        }
        let start = outline.start();
        check_blocks(
            superblock,
            outline.nid,
            start,
            superblock.block_size().blocks_of(outline.size),
        )?;
        Ok(Self::Plain { start: Some(start) })
    }

    /// Returns the layout of data in consecutive blocks with an inline tail.
    pub(super) fn inline(outline: Outline, superblock: &Superblock) -> Result<Self, FormatError> {
        let (block_size, start) = (superblock.block_size(), outline.start());
        // As in Linux: the last block is inline even if it is full.
        let (whole, len) = match outline.size.checked_sub(1) {
            Some(last) => {
                let before = block_size.pow2().floor(last);
                (block_size.pow2().whole(last), outline.size.checked_sub(before).or_bug()?)
            }
            None => (0, 0),
        };
        check_blocks(superblock, outline.nid, start, whole)?;
        let tail = Span { at: outline.body_end, len };
        check_tail(block_size, outline.nid, tail)?;
        superblock.within(tail, Part::Tail(outline.nid))?;
        Ok(Self::Inline { start, tail })
    }
}

/// Refuses a tail that does not lie in one block.
fn check_tail(block_size: BlockSize, nid: Nid, tail: Span) -> Result<(), Corrupt> {
    let end = block_size.offset_in(tail.at).checked_add(tail.len);
    if end.is_some_and(|end| end <= block_size.bytes()) {
        return Ok(());
    }
    Err(Corrupt::TailCrossesBlock { nid, at: tail.at, len: tail.len, block: block_size.bytes() })
}

/// Returns the most blocks of the unified address space.
pub(super) fn block_limit(superblock: &Superblock) -> u64 {
    let alone = superblock.extra_devices() == 0 && superblock.blocks() != 0;
    if alone { superblock.blocks() } else { BLOCKS_MAX }
}

/// Refuses blocks of a flat inode that end after the image, if the image has only one device. Else
/// the blocks may lie on another device, whose length the table knows.
fn check_blocks(superblock: &Superblock, nid: Nid, start: u64, blocks: u64) -> Result<(), Corrupt> {
    let image_blocks = block_limit(superblock);
    if blocks == 0 || start.checked_add(blocks).is_some_and(|end| end <= image_blocks) {
        return Ok(());
    }
    Err(Corrupt::DataBeyondImage { nid, start, blocks, image_blocks })
}

#[cfg(test)]
mod tests {
    use super::super::feature::Incompat;
    use super::super::sample::{NID, Sample, compact, extended, inode};
    use super::super::{Inode, Superblock};
    use super::*;

    const REGULAR: u16 = 0o100_644;

    fn layout(bytes: &[u8]) -> Result<Layout, FormatError> {
        inode(bytes).map(|inode| inode.layout())
    }

    fn wide() -> Superblock {
        let superblock = Sample::new().put(80, &[0x80]).put(36, &[0; 4]).superblock();
        assert!(superblock.incompat().has(Incompat::BITS_48));
        superblock
    }

    fn wide_layout(bytes: &[u8]) -> Result<Layout, FormatError> {
        Inode::from_bytes(&wide(), NID, bytes).map(|inode| inode.layout())
    }

    #[test]
    fn plain_data_ends_with_the_image() {
        let start = Some(62);
        assert_eq!(layout(&compact(0, 0, REGULAR, 1024, 62)), Ok(Layout::Plain { start }));
        let error = Corrupt::DataBeyondImage { nid: NID, start: 62, blocks: 3, image_blocks: 64 };
        assert_eq!(layout(&compact(0, 0, REGULAR, 1025, 62)), Err(error.into()));
    }

    #[test]
    fn plain_data_may_lie_on_another_device() {
        let superblock = Sample::with_devices(1).superblock();
        let bytes = compact(0, 0, REGULAR, 1024, 1000);
        let inode = Inode::from_bytes(&superblock, NID, &bytes);
        assert_eq!(inode.map(|inode| inode.layout()), Ok(Layout::Plain { start: Some(1000) }));
    }

    #[test]
    fn start_of_all_ones_is_a_hole() {
        let hole = Ok(Layout::Plain { start: None });
        assert_eq!(layout(&compact(0, 0, REGULAR, 1 << 30, u32::MAX)), hole);
        assert_eq!(layout(&extended(0, REGULAR, 1 << 40, u32::MAX, 0)), hole);
        assert_eq!(wide_layout(&extended(0, REGULAR, 1 << 40, u32::MAX, 0xffff)), hole);
        assert_eq!(wide_layout(&compact(0, 0, REGULAR, 4096, u32::MAX)), hole);
    }

    #[test]
    fn with_48_bits_all_ones_in_the_low_half_is_a_block() {
        let start = Some(7 << 32 | 0xffff_ffff);
        let plain = Ok(Layout::Plain { start });
        assert_eq!(wide_layout(&extended(0, REGULAR, 512, u32::MAX, 7)), plain);
    }

    #[test]
    fn compact_inode_of_one_link_has_a_high_half() {
        let start = Some(5 << 32 | 9);
        assert_eq!(wide_layout(&compact(0x10, 0, REGULAR, 512, 9)), Ok(Layout::Plain { start }));
    }

    #[test]
    fn blocks_beyond_48_bits_are_corrupt() {
        let bytes = extended(0, REGULAR, 1024, u32::MAX.saturating_sub(1), 0xffff);
        assert!(wide_layout(&bytes).is_ok());
        let bytes = extended(0, REGULAR, 1025, u32::MAX.saturating_sub(1), 0xffff);
        let (start, image_blocks) = ((1 << 48) - 2, 1 << 48);
        let error = Corrupt::DataBeyondImage { nid: NID, start, blocks: 3, image_blocks };
        assert_eq!(wide_layout(&bytes), Err(error.into()));
    }

    #[test]
    fn huge_size_is_beyond_the_image_and_no_panic() {
        let size = (1 << 63) - 1;
        let error =
            Corrupt::DataBeyondImage { nid: NID, start: 0, blocks: 1 << 54, image_blocks: 64 };
        assert_eq!(layout(&extended(0, REGULAR, size, 0, 0)), Err(error.into()));
    }

    #[test]
    fn tail_follows_inode_and_xattrs() {
        // Nid 100 is at byte 3,200; 12 + 4 bytes of xattrs.
        let tail = Span { at: 3200 + 32 + 16, len: 100 };
        let inline = Ok(Layout::Inline { start: 3, tail });
        assert_eq!(layout(&compact(4, 2, REGULAR, 612, 3)), inline);
    }

    #[test]
    fn tail_that_crosses_a_block_is_corrupt() {
        // From byte 3,232 the block has 352 bytes left.
        assert!(layout(&compact(4, 0, REGULAR, 352, 0)).is_ok());
        let error = Corrupt::TailCrossesBlock { nid: NID, at: 3232, len: 353, block: 512 };
        assert_eq!(layout(&compact(4, 0, REGULAR, 353, 0)), Err(error.into()));
    }

    #[test]
    fn tail_may_be_a_full_block_if_it_begins_one() {
        let error = Corrupt::TailCrossesBlock { nid: NID, at: 3232, len: 512, block: 512 };
        assert_eq!(layout(&compact(4, 0, REGULAR, 1024, 0)), Err(error.into()));
        let superblock = Sample::new().superblock();
        let inode = Inode::from_bytes(&superblock, Nid(111), &compact(4, 0, REGULAR, 1024, 8));
        let tail = Span { at: 3584, len: 512 };
        assert_eq!(inode.map(|inode| inode.layout()), Ok(Layout::Inline { start: 8, tail }));
    }

    #[test]
    fn empty_inline_file_has_no_tail() {
        let tail = Span { at: 3232, len: 0 };
        let inline = Ok(Layout::Inline { start: 0xffff_ffff, tail });
        assert_eq!(layout(&compact(4, 0, REGULAR, 0, u32::MAX)), inline);
    }

    #[test]
    fn whole_blocks_before_a_tail_end_with_the_image() {
        let error = Corrupt::DataBeyondImage { nid: NID, start: 63, blocks: 2, image_blocks: 64 };
        assert_eq!(layout(&compact(4, 0, REGULAR, 1025, 63)), Err(error.into()));
    }

    #[test]
    fn compressed_inode_says_where_it_ends() {
        for (format, form) in [(2, CompressedForm::Full), (6, CompressedForm::Compact)] {
            let layout = layout(&compact(format, 2, REGULAR, 100_000, 1));
            let body_end = 3200 + 32 + 16;
            let compressed = Compressed { form, body_end, blocks: 1 };
            assert_eq!(layout, Ok(Layout::Compressed(compressed)));
        }
    }
}
