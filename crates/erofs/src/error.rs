//! What can be wrong with an image: its bytes, or our knowledge of them.
//!
//! Always: the message names the place and the values, so that a person with a hex dump finds
//! the byte. A failed read never appears here.

use core::fmt;

use super::block::Nid;
use super::codec::Algorithm;
#[cfg(feature = "alloc")]
use super::codec::Fault;
use super::corrupt::Corrupt;
use super::device::DEVICES_MAX;
use super::feature::Incompat;
use super::overlay::{self, Marks, Object};
use rootlet_base::num::Bug;

/// Bytes that did not become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The bytes are wrong.
    Corrupt(Corrupt),
    /// The bytes are valid, and not ours to read.
    Unsupported(Unsupported),
    /// Our own code is wrong; no image can cause it.
    Bug(Bug),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(corrupt) => write!(f, "corrupt image: {corrupt}"),
            Self::Unsupported(file @ Unsupported::Elsewhere { .. }) => {
                write!(f, "not supported: {file}")
            }
            Self::Unsupported(unsupported) => write!(f, "unsupported image: {unsupported}"),
            Self::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for FormatError {}

impl FormatError {
    /// Returns the error for the pcluster of byte `offset` of a file that does not decode.
    #[cold]
    #[cfg(feature = "alloc")]
    pub fn encoded(nid: Nid, offset: u64, algorithm: Algorithm, fault: Fault) -> Self {
        match fault {
            Fault::Bug(bug) => Self::Bug(bug),
            fault => Self::Corrupt(Corrupt::Encoded { nid, offset, algorithm, fault }),
        }
    }
}

impl From<Bug> for FormatError {
    #[cold]
    fn from(bug: Bug) -> Self {
        Self::Bug(bug)
    }
}

impl From<Corrupt> for FormatError {
    #[cold]
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl From<Unsupported> for FormatError {
    #[cold]
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}

/// Something valid that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    /// These incompatible features, of all that the superblock names.
    Features(Incompat),
    /// Another format than EROFS.
    Foreign {
        /// What it is.
        name: &'static str,
        /// How to come to an image.
        next: &'static str,
    },
    /// More device slots than [`DEVICES_MAX`].
    Devices(u16),
    /// More memory for superblock and device table than there is, in bytes.
    HeadMemory(usize),
    /// Blocks that are larger than the buffers of a build without `alloc`, in bytes.
    LargeBlocks {
        /// What the image needs.
        bytes: u64,
    },
    /// Directory blocks that are not blocks (`dirblkbits`).
    DirBlockBits(u8),
    /// Unknown bits in `i_format`.
    InodeFormat {
        /// The inode.
        nid: Nid,
        /// The whole field.
        format: u16,
    },
    /// A data layout above 4.
    Layout {
        /// The inode.
        nid: Nid,
        /// The layout.
        layout: u8,
    },
    /// The data of a compressed inode, in a build without `alloc`.
    Compressed {
        /// The inode.
        nid: Nid,
    },
    /// Lclusters too large for compact indexes.
    LclusterBits {
        /// The inode.
        nid: Nid,
        /// Base 2 logarithm of their bytes.
        bits: u32,
    },
    /// A compression algorithm above 3.
    Algorithm {
        /// The inode.
        nid: Nid,
        /// The algorithm.
        algorithm: u8,
    },
    /// Unknown bits in the chunk format.
    ChunkFormat {
        /// The inode.
        nid: Nid,
        /// The whole field.
        format: u16,
    },
    /// Compression algorithms by these bits.
    Algorithms(u16),
    /// A form of an algorithm's data that is not 0.
    CompressionFormat {
        /// The algorithm.
        algorithm: Algorithm,
        /// The form.
        format: u16,
    },
    /// More memory for decoding than there is, in bytes.
    DecoderMemory {
        /// What the image needs.
        need: usize,
        /// What there is.
        has: usize,
    },
    /// A file whose bytes lie outside the image, as overlayfs's marks say.
    Elsewhere {
        /// The inode.
        nid: Nid,
        /// Whose marks.
        marks: Marks,
        /// What holds the bytes.
        object: Object,
    },
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features(set) => write!(f, "incompatible features {set}"),
            Self::Foreign { name, next } => {
                write!(f, "this is {name}, and no EROFS image; {next}")
            }
            Self::Devices(count) => write!(f, "{count} device slots, at most {DEVICES_MAX}"),
            Self::HeadMemory(bytes) => {
                write!(f, "superblock and device table take {bytes} bytes more than there are")
            }
            Self::LargeBlocks { bytes } => write!(f, "blocks need a buffer of {bytes} bytes"),
            Self::DirBlockBits(bits) => write!(f, "directory blocks of 2^{bits} blocks"),
            Self::InodeFormat { nid, format } => {
                write!(f, "unknown bits in the format {format:#06x} of nid {nid}")
            }
            Self::Layout { nid, layout } => write!(f, "data layout {layout} of nid {nid}"),
            Self::Compressed { nid } => {
                write!(f, "compressed data of nid {nid}, by a build without memory to decode it")
            }
            Self::LclusterBits { nid, bits } => {
                write!(f, "compact indexes of lclusters of 2^{bits} bytes in nid {nid}")
            }
            Self::Algorithm { nid, algorithm } => {
                write!(f, "compression algorithm {algorithm} of nid {nid}")
            }
            Self::ChunkFormat { nid, format } => {
                write!(f, "unknown bits in the chunk format {format:#06x} of nid {nid}")
            }
            Self::Algorithms(bits) => write!(f, "compression algorithms {bits:#06x}"),
            Self::CompressionFormat { algorithm, format } => {
                write!(f, "{algorithm} in the form {format}")
            }
            Self::DecoderMemory { need, has } => {
                write!(f, "decoding needs {need} bytes of memory, {has} are free")
            }
            Self::Elsewhere { marks, object, .. } => overlay::describe(f, *marks, object),
        }
    }
}
