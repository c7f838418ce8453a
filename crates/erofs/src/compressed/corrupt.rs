//! The faults of the map of a compressed file.
//!
//! Always: each variant carries the numbers that lead to the entry.

use core::fmt;

use super::super::faults::faults;

faults! {
    /// The fault of a map. Lclusters and extents are counted from 0.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[expect(missing_docs, reason = "the fields say what `Display` writes of them")]
    #[non_exhaustive]
    pub enum MapFault {
        /// The map of an inode that is not compressed.
        NotCompressed => "the inode is not compressed",
        /// A byte after the end of the file.
        BeyondFile { offset: u64, size: u64 } => "byte {offset:#x} of a file of {size:#x}",
        /// Pclusters of several blocks in an image without them.
        BigPclusters { advise: u16 } =>
            "advise {advise:#06x} has pclusters of several blocks, the image has none",
        /// Compact indexes where only one of two heads may have pclusters of several blocks.
        UnequalHeads { advise: u16 } =>
            "advise {advise:#06x}: compact indexes with two kinds of pclusters",
        /// A head whose extent begins after its lcluster.
        HeadOffset { lcluster: u64, offset: u64, bytes: u64 } =>
            "lcluster {lcluster} has a head at byte {offset} of {bytes}",
        /// A distance back of 0, or to before the start of the file.
        LookBack { lcluster: u64, distance: u64 } =>
            "lcluster {lcluster} has its head {distance} lclusters before it",
        /// More hops back than any extent needs.
        Hops { lcluster: u64, hops: u64 } =>
            "lcluster {lcluster} is more than {hops} hops after its head",
        /// An lcluster of an extent that leads back to another head than the extent's.
        OtherHead { lcluster: u64, head: u64 } =>
            "lcluster {lcluster} leads to another head than lcluster {head}",
        /// A block count in a map of pclusters of one block.
        BlockCount { lcluster: u64 } =>
            "lcluster {lcluster} has a block count, in pclusters of one block",
        /// No block count where the map must have one.
        NoBlockCount { lcluster: u64 } => "lcluster {lcluster} follows a head without its block count",
        /// A distance in a pack that leaves no room for the block count of its pcluster.
        PackDistance { lcluster: u64, distance: u32 } =>
            "lcluster {lcluster} is {distance} after its head, without block count",
        /// Extents that are not in the order of their offsets.
        Order { extent: u64, offset: u64, low: u64, high: u64 } =>
            "extent {extent} at byte {offset:#x}, not {low:#x} to {high:#x}",
        /// A pcluster of more encoded bytes than the format allows.
        EncodedLength { offset: u64, len: u64 } => "the pcluster for byte {offset:#x} has {len} bytes",
        /// A pcluster of LZ4 with more bytes than the most that the image states.
        PclusterLimit { offset: u64, len: u64, max: u64 } =>
            "the pcluster for byte {offset:#x} has {len} bytes, LZ4's have {max}",
        /// An extent of more bytes than the format lets a pcluster decode to.
        DecodedLength { offset: u64, len: u64 } =>
            "the extent at byte {offset:#x} has {len} bytes or more",
        /// An uncompressed extent of more bytes than are stored for it.
        PlainLength { offset: u64, len: u64, stored: u64 } =>
            "the extent at byte {offset:#x} has {len} bytes, stored are {stored}",
        /// An algorithm that the superblock does not list.
        Algorithm { offset: u64, algorithm: u8, listed: u16 } =>
            "the extent at byte {offset:#x} names algorithm {algorithm}, listed are {listed:#b}",
        /// A pcluster that ends after the last block.
        BeyondBlocks { offset: u64, at: u64, len: u64, blocks: u64 } =>
            "the pcluster for byte {offset:#x}, {len} bytes at byte {at:#x}, \
             ends beyond block {blocks:#x}",
        /// An inline pcluster that crosses a block.
        InlineCrossesBlock { at: u64, len: u64, block: u64 } =>
            "inline pcluster, {len} bytes at byte {at:#x}, crosses a block of {block}",
        /// A fragment that ends after the longest possible inode.
        Fragment { offset: u64, at: u64, len: u64 } =>
            "the extent at byte {offset:#x} has {len} bytes of fragments from {at:#x}",
    }
}

impl core::error::Error for MapFault {}
