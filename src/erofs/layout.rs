//! How an inode's data is laid out, as far as the inode itself says.
//!
//! Always: an inline tail lies in one block; block ranges stay within 48 bits, and within the
//! image where it has one device only.

use super::block::{BLOCKS_MAX, BlockSize, Nid, Span};
use super::chunk::ChunkMap;
use super::corrupt::{Corrupt, Part};
use super::error::{FormatError, Unsupported};
use super::superblock::Superblock;

/// The layout of an inode's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// No data: a device, a pipe or a socket.
    None,
    /// Consecutive blocks of the unified address space.
    Plain {
        /// The first block; `None` for a file that is one hole. Means nothing at size 0.
        start: Option<u64>,
    },
    /// As plain, and the last part of the data behind the inode.
    Inline {
        /// The first block. Means nothing if the size is that of the tail.
        start: u64,
        /// The tail, on the primary device: the last 1 to block size bytes of the data, or none
        /// at size 0. The bytes before it are whole blocks.
        tail: Span,
    },
    /// Chunks of equal size, anywhere.
    Chunked(ChunkMap),
    /// Compressed; not read.
    Compressed(CompressedForm),
}

/// The index of a compressed inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressedForm {
    /// Layout 1: 8 bytes per logical cluster, or extent records.
    Full,
    /// Layout 3: packs of 2 and 4 bytes per logical cluster.
    Compact,
}

impl CompressedForm {
    /// Its number in `i_format`.
    pub fn number(self) -> u8 {
        match self {
            Self::Full => 1,
            Self::Compact => 3,
        }
    }

    /// The refusal of its data.
    pub fn unsupported(self, nid: Nid) -> FormatError {
        Unsupported::Compressed { nid, layout: self.number() }.into()
    }
}

/// What an inode says about its place and its data, before the layout is known.
#[derive(Clone, Copy)]
pub(super) struct Outline {
    pub nid: Nid,
    pub size: u64,
    /// `i_u`: low half of the start block, or the chunk format.
    pub low: u32,
    /// High half of the start block, where the inode has one.
    pub high: Option<u16>,
    /// The byte after the inode and its xattrs.
    pub body_end: u64,
}

impl Outline {
    pub fn plain(self, superblock: &Superblock, wide: bool) -> Result<Layout, FormatError> {
        let high = self.high.unwrap_or(0);
        // A null address is as wide as the field: 32 bits where nothing stores a high half.
        let null_high = if self.high.is_some() && wide { u16::MAX } else { 0 };
        if self.low == u32::MAX && high == null_high {
            return Ok(Layout::Plain { start: None });
        }
        let start = super::record::block48(high, self.low);
        check_blocks(superblock, self.nid, start, superblock.block_size.blocks_of(self.size))?;
        Ok(Layout::Plain { start: Some(start) })
    }

    pub fn inline(self, superblock: &Superblock) -> Result<Layout, FormatError> {
        let block_size = superblock.block_size;
        let start = super::record::block48(self.high.unwrap_or(0), self.low);
        // As Linux counts: the last block is the inline one even if it is full.
        let whole = block_size.blocks_of(self.size).saturating_sub(1);
        check_blocks(superblock, self.nid, start, whole)?;
        let len = self.size.saturating_sub(whole.saturating_mul(block_size.bytes()));
        let tail = Span { at: self.body_end, len };
        check_tail(block_size, self.nid, tail)?;
        superblock.within(tail, Part::Tail(self.nid))?;
        Ok(Layout::Inline { start, tail })
    }
}

fn check_tail(block_size: BlockSize, nid: Nid, tail: Span) -> Result<(), Corrupt> {
    let end = block_size.offset_in(tail.at).saturating_add(tail.len);
    if end <= block_size.bytes() {
        return Ok(());
    }
    Err(Corrupt::TailCrossesBlock { nid, at: tail.at, len: tail.len, block: block_size.bytes() })
}

/// Blocks of a flat inode may lie on another device, whose length the table knows; with one
/// device they end within the image.
fn check_blocks(superblock: &Superblock, nid: Nid, start: u64, blocks: u64) -> Result<(), Corrupt> {
    let alone = superblock.extra_devices == 0 && superblock.blocks != 0;
    let image_blocks = if alone { superblock.blocks } else { BLOCKS_MAX };
    if blocks == 0 || start.saturating_add(blocks) <= image_blocks {
        return Ok(());
    }
    Err(Corrupt::DataBeyondImage { nid, start, blocks, image_blocks })
}
