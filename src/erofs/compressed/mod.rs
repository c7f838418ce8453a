//! The map of a compressed file: for a byte of the file, the extent that covers it.
//!
//! Always: pure but for reads of index bytes, which lie between the map's header and its end; an
//! extent covers the byte asked for and lies in the file; encoded bytes are at most
//! [`ENCODED_BYTES_MAX`] and decode to at most [`DECODED_BYTES_MAX`].
//!
//! A compressed file is cut into logical clusters (lclusters) of equal size and, across them, into
//! extents: each gives the decoded bytes of one physical cluster (pcluster), or a prefix of them.
//! Index forms: 8 bytes per lcluster, packs of 2 or 4 bytes per lcluster, and records per extent.
//!
//! Source of the format: Linux `fs/erofs/erofs_fs.h` and what `fs/erofs/zmap.c` does with it.

mod corrupt;
mod extent;

pub use corrupt::MapFault;

use super::block::{BlockSize, Nid};
use super::error::{FormatError, Unsupported};
use super::inode::Inode;
use super::superblock::Superblock;

/// The most encoded bytes of a pcluster (Linux `Z_EROFS_PCLUSTER_MAX_SIZE`).
pub const ENCODED_BYTES_MAX: u64 = 1 << 20;
/// The most bytes that a pcluster decodes to (Linux `Z_EROFS_PCLUSTER_MAX_DSIZE`).
pub const DECODED_BYTES_MAX: u64 = 12 << 20;

/// Bytes of the metadata space that an inode lies in: the primary device, or the metabox.
pub trait Metadata {
    /// What a read may fail with.
    type Error: From<FormatError>;

    /// Fills `out` with the bytes from byte `at` of the space on, or fails.
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), Self::Error>;
}

/// A part of a file that comes from one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first byte of the file that it gives.
    pub offset: u64,
    /// How many bytes of the file it gives, at least 1; it ends with the file at the latest.
    pub len: u64,
    /// Whether its pcluster may decode to more than `len` bytes, which are its first.
    pub partial: bool,
    /// Where the bytes come from.
    pub data: Data,
}

/// Where the bytes of an extent come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nowhere: zeros.
    Hole,
    /// The data of the packed inode, uncompressed as that inode gives it.
    Fragment {
        /// The byte of the packed inode's data that is the extent's first. At most 2^63 together
        /// with the extent's length; whether the packed inode has so many is not checked.
        at: u64,
    },
    /// A pcluster.
    Encoded {
        /// Where it lies.
        place: Place,
        /// How many encoded bytes it has, padding included: 1 to [`ENCODED_BYTES_MAX`].
        len: u64,
        /// How they are encoded.
        encoding: Encoding,
    },
}

/// Where a pcluster lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a device. Not at a multiple of the block size in every image.
    Blocks {
        /// The first byte, in the unified address space (device id 0).
        at: u64,
    },
    /// Behind the inode's index, in one block.
    Inline {
        /// The first byte, in the inode's metadata space.
        at: u64,
    },
}

/// How the bytes of a pcluster are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all: the first bytes are the extent's.
    Plain,
    /// Not encoded but rotated, so that bytes lie as deep in their block as in the file.
    Interlaced {
        /// The encoded byte that is the extent's first, below the encoded length. Behind the last
        /// encoded byte follows the first.
        first: u64,
    },
    /// LZ4 blocks.
    Lz4,
    /// LZMA without its usual header.
    MicroLzma,
    /// Raw DEFLATE.
    Deflate,
    /// Zstandard frames.
    Zstd,
}

impl Encoding {
    /// The algorithm of this number in a map or in the superblock's list.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Lz4),
            1 => Some(Self::MicroLzma),
            2 => Some(Self::Deflate),
            3 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The parsed header of a map, and where the last extent was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressedMap {
    nid: Nid,
    size: u64,
    block_size: BlockSize,
    /// Bit n: the image says that it uses algorithm n.
    algorithms: u16,
}

impl CompressedMap {
    /// Reads the header of an inode of layout 1 or 3, and of a file with a tail in the packed
    /// inode the place of that tail.
    ///
    /// `algorithms` is what the superblock lists (`available_compr_algs`; 1, for LZ4, in an image
    /// without COMPR_CFGS): an extent that names another is corrupt.
    pub fn open<M: Metadata>(
        superblock: &Superblock,
        algorithms: u16,
        inode: &Inode,
        meta: &mut M,
    ) -> Result<Self, M::Error> {
        let _ = meta;
        let (nid, size, block_size) = (inode.nid, inode.size, superblock.block_size);
        Ok(Self { nid, size, block_size, algorithms })
    }

    /// The extent that covers byte `offset`, which must be below the size of the file.
    ///
    /// Consecutive extents cost one or two reads of at most 512 bytes each: the map remembers
    /// where it was. From any offset inside an extent that extent is found.
    pub fn find<M: Metadata>(&mut self, meta: &mut M, offset: u64) -> Result<Extent, M::Error> {
        let _ = (meta, offset, self.size, self.block_size);
        Err(FormatError::from(Unsupported::Compressed { nid: self.nid }).into())
    }

    /// The algorithms that extents may name, as in the superblock: bit n is algorithm n.
    pub fn algorithms(&self) -> u16 {
        self.algorithms
    }
}
