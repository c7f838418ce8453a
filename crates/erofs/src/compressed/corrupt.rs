//! The faults of the map of a compressed file.
//!
//! Always: each variant carries the numbers that lead to the entry.

use core::fmt;

/// The fault of a map. Lclusters and extents are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say what `Display` writes of them")]
#[non_exhaustive]
pub enum MapFault {
    /// The map of an inode that is not compressed.
    NotCompressed,
    /// A byte after the end of the file.
    BeyondFile { offset: u64, size: u64 },
    /// Pclusters of several blocks in an image without them.
    BigPclusters { advise: u16 },
    /// Compact indexes where only one of two heads may have pclusters of several blocks.
    UnequalHeads { advise: u16 },
    /// A head whose extent begins after its lcluster.
    HeadOffset { lcluster: u64, offset: u64, bytes: u64 },
    /// A distance back of 0, or to before the start of the file.
    LookBack { lcluster: u64, distance: u64 },
    /// More hops back than any extent needs.
    Hops { lcluster: u64, hops: u64 },
    /// An lcluster of an extent that leads back to another head than the extent's.
    OtherHead { lcluster: u64, head: u64 },
    /// A block count in a map of pclusters of one block.
    BlockCount { lcluster: u64 },
    /// No block count where the map must have one.
    NoBlockCount { lcluster: u64 },
    /// A distance in a pack that leaves no room for the block count of its pcluster.
    PackDistance { lcluster: u64, distance: u32 },
    /// Extents that are not in the order of their offsets.
    Order { extent: u64, offset: u64, low: u64, high: u64 },
    /// A pcluster of more encoded bytes than the format allows.
    EncodedLength { offset: u64, len: u64 },
    /// A pcluster of LZ4 with more bytes than the most that the image states.
    PclusterLimit { offset: u64, len: u64, max: u64 },
    /// An extent of more bytes than the format lets a pcluster decode to.
    DecodedLength { offset: u64, len: u64 },
    /// An uncompressed extent of more bytes than are stored for it.
    PlainLength { offset: u64, len: u64, stored: u64 },
    /// An algorithm that the superblock does not list.
    Algorithm { offset: u64, algorithm: u8, listed: u16 },
    /// A pcluster that ends after the last block.
    BeyondBlocks { offset: u64, at: u64, len: u64, blocks: u64 },
    /// An inline pcluster that crosses a block.
    InlineCrossesBlock { at: u64, len: u64, block: u64 },
    /// A fragment that ends after the longest possible inode.
    Fragment { offset: u64, at: u64, len: u64 },
}

impl fmt::Display for MapFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotCompressed => f.write_str("the inode is not compressed"),
            Self::BeyondFile { offset, size } => {
                write!(f, "byte {offset:#x} of a file of {size:#x}")
            }
            Self::BigPclusters { advise } => {
                write!(
                    f,
                    "advise {advise:#06x} has pclusters of several blocks, the image has none"
                )
            }
            Self::UnequalHeads { advise } => {
                write!(f, "advise {advise:#06x}: compact indexes with two kinds of pclusters")
            }
            Self::HeadOffset { lcluster, offset, bytes } => {
                write!(f, "lcluster {lcluster} has a head at byte {offset} of {bytes}")
            }
            Self::LookBack { lcluster, distance } => {
                write!(f, "lcluster {lcluster} has its head {distance} lclusters before it")
            }
            Self::Hops { lcluster, hops } => {
                write!(f, "lcluster {lcluster} is more than {hops} hops after its head")
            }
            Self::OtherHead { lcluster, head } => {
                write!(f, "lcluster {lcluster} leads to another head than lcluster {head}")
            }
            Self::BlockCount { lcluster } => {
                write!(f, "lcluster {lcluster} has a block count, in pclusters of one block")
            }
            Self::NoBlockCount { lcluster } => {
                write!(f, "lcluster {lcluster} follows a head without its block count")
            }
            Self::PackDistance { lcluster, distance } => {
                write!(f, "lcluster {lcluster} is {distance} after its head, without block count")
            }
            Self::Order { extent, offset, low, high } => {
                write!(f, "extent {extent} at byte {offset:#x}, not {low:#x} to {high:#x}")
            }
            Self::EncodedLength { offset, len } => {
                write!(f, "the pcluster for byte {offset:#x} has {len} bytes")
            }
            Self::PclusterLimit { offset, len, max } => {
                write!(f, "the pcluster for byte {offset:#x} has {len} bytes, LZ4's have {max}")
            }
            Self::DecodedLength { offset, len } => {
                write!(f, "the extent at byte {offset:#x} has {len} bytes or more")
            }
            Self::PlainLength { offset, len, stored } => {
                write!(f, "the extent at byte {offset:#x} has {len} bytes, stored are {stored}")
            }
            Self::Algorithm { offset, algorithm, listed } => write!(
                f,
                "the extent at byte {offset:#x} names algorithm {algorithm}, listed are {listed:#b}"
            ),
            Self::BeyondBlocks { offset, at, len, blocks } => write!(
                f,
                "the pcluster for byte {offset:#x}, {len} bytes at byte {at:#x}, \
                 ends beyond block {blocks:#x}"
            ),
            Self::InlineCrossesBlock { at, len, block } => {
                write!(
                    f,
                    "inline pcluster, {len} bytes at byte {at:#x}, crosses a block of {block}"
                )
            }
            Self::Fragment { offset, at, len } => {
                write!(
                    f,
                    "the extent at byte {offset:#x} has {len} bytes of fragments from {at:#x}"
                )
            }
        }
    }
}

impl core::error::Error for MapFault {}
