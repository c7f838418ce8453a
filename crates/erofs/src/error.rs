//! The error of parsing an image: its bytes are wrong, or are not supported.
//!
//! Always: the message names the place and the values, so that a person with a hex dump finds the
//! byte. A failed read is never such an error.

use core::fmt;

use super::block::Nid;
use super::codec::Algorithm;
#[cfg(feature = "alloc")]
use super::codec::Fault;
use super::compressed::MapFault;
use super::corrupt::Corrupt;
use super::feature::Incompat;
use super::limits::DEVICES_MAX;
use super::overlay::{self, Marks, Object};
use super::rafs::Rafs;
use rootlet_base::cause::write_cause;
use rootlet_base::num::Bug;

/// The reason why bytes did not become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// The bytes are wrong.
    Corrupt(Corrupt),
    /// The bytes are valid, but use a feature that is not supported.
    Unsupported(Unsupported),
    /// Our own code is wrong; no image can cause this.
    Bug(Bug),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(corrupt) => {
                f.write_str("corrupt image")?;
                write_cause(f, corrupt)
            }
            Self::Unsupported(
                file @ (Unsupported::Elsewhere { .. } | Unsupported::Rafs { .. }),
            ) => {
                f.write_str("not supported")?;
                write_cause(f, file)
            }
            Self::Unsupported(unsupported) => {
                f.write_str("unsupported image")?;
                write_cause(f, unsupported)
            }
            Self::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for FormatError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Corrupt(corrupt) => Some(corrupt),
            Self::Unsupported(unsupported) => Some(unsupported),
            Self::Bug(_) => None,
        }
    }
}

impl MapFault {
    /// Returns the error for this fault in the map of an inode.
    pub(crate) fn of(self, nid: Nid) -> FormatError {
        Corrupt::Map { nid, fault: self }.into()
    }
}

impl FormatError {
    /// Returns the error for the pcluster of an extent at byte `offset` of a file that does not
    /// decode.
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

/// A valid feature of an image that is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsupported {
    /// The incompatible features of the superblock that are not supported.
    Features(Incompat),
    /// A format other than EROFS.
    Foreign {
        /// The name of the format, with its article.
        name: &'static str,
        /// The way to an image.
        next: &'static str,
    },
    /// More device slots than [`DEVICES_MAX`].
    Devices(u16),
    /// The superblock and the device table take more memory than there is; in bytes.
    HeadMemory(usize),
    /// Blocks that are larger than the buffers of a build without `alloc`.
    LargeBlocks {
        /// The bytes of a block.
        bytes: u64,
    },
    /// Directory blocks of another size than blocks (`dirblkbits`).
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
        /// The binary logarithm of their size in bytes.
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
    /// Unknown compression algorithms in this set of bits.
    Algorithms(u16),
    /// A form of an algorithm's data other than 0.
    CompressionFormat {
        /// The algorithm.
        algorithm: Algorithm,
        /// The form.
        format: u16,
    },
    /// Decoding takes more memory than the budget; in bytes.
    DecoderMemory {
        /// The bytes that the image needs.
        need: usize,
        /// The bytes of the budget.
        has: usize,
    },
    /// A file whose bytes are chunks of a Nydus blob.
    Rafs {
        /// The inode.
        nid: Nid,
        /// The flags of Nydus, which tell how the chunks are packed.
        flags: u64,
    },
    /// A stack of too many images, or of images with too many sources together.
    Stack {
        /// The images.
        images: usize,
        /// The sources.
        sources: usize,
    },
    /// A file whose bytes lie outside the image, as overlayfs's marks say.
    Elsewhere {
        /// The inode.
        nid: Nid,
        /// The kind of the marks.
        marks: Marks,
        /// The object that holds the bytes.
        object: Object,
    },
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Features(set) => write!(f, "incompatible features {set}"),
            Self::Foreign { name, next } => {
                write!(f, "this is {name}, not an EROFS image; {next}")
            }
            Self::Stack { images, sources } => write!(
                f,
                "a stack of {images} images with {sources} sources together; at most 128 and 65536"
            ),
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
            Self::Rafs { flags, .. } => write!(
                f,
                "its bytes are chunks of a Nydus blob (RAFS v6, {rafs}), which are not read: make a \
                 tar of the image by `nydus-image unpack --bootstrap FILE --blob-dir DIR --output \
                 TAR`, and an image by `mkfs.erofs --tar=f IMAGE TAR`",
                rafs = Rafs(*flags)
            ),
            Self::Elsewhere { marks, object, .. } => overlay::describe(f, *marks, object),
        }
    }
}

impl core::error::Error for Unsupported {}
