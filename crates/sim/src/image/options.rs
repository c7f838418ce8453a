//! How an image is laid out.
//!
//! Always: the defaults build an image that every reader of EROFS since Linux 5.16 opens.

use std::collections::BTreeMap;
use std::fmt;

/// Which inode form is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inodes {
    /// 32 bytes wherever owner, size and link count fit; the mtime is lost to the superblock's
    /// (with 48BIT: kept to the second where it fits).
    Compact,
    /// 64 bytes always.
    Extended,
    /// 32 bytes where nothing at all is lost, else 64.
    Lossless,
}

/// How the data of regular files is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileLayout {
    /// Layout 0: consecutive blocks. With blobs each file lies on one of them, reached through
    /// the unified address space.
    Plain,
    /// Layout 2: consecutive blocks in the image and the tail beside the inode.
    Inline,
    /// Layout 4 with 4-byte block map entries, in the unified address space.
    ChunkMap,
    /// Layout 4 with 8-byte indexes.
    ChunkIndexes,
    /// Layout 4 with 8-byte indexes and 48-bit block numbers; sets the 48BIT feature.
    ChunkIndexes48,
}

/// Which device a chunk (or a whole flat file) goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One after the other.
    RoundRobin,
    /// All chunks of a file on one device, file after file on the next.
    ByFile,
    /// By the hash of the chunk's bytes.
    Hash,
    /// At random from this seed.
    Seeded(u64),
}

/// What becomes a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holes {
    /// Nothing: zeros are stored (as mkfs 1.5 does).
    Stored,
    /// Chunks that lie in a hole of the file.
    Sparse,
    /// All chunks of zeros.
    Zero,
}

/// Where extended attributes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrPlace {
    /// Beside each inode.
    Inline,
    /// All in the shared area.
    Shared,
    /// Those that several nodes have in the shared area, the others beside their inodes.
    SharedIfRepeated,
}

/// How to lay out an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Log2 of the block size, 9 to 16.
    pub block_bits: u8,
    /// The inode form.
    pub inodes: Inodes,
    /// The layout of regular files.
    pub layout: FileLayout,
    /// Other layouts for single paths.
    pub layouts: BTreeMap<Vec<u8>, FileLayout>,
    /// Whether the tails of directories and symbolic links lie beside their inodes.
    pub inline_dirs: bool,
    /// Log2 of the chunk size in bytes, from `block_bits` to `block_bits` + 31.
    pub chunk_bits: u8,
    /// How many extra devices there are.
    pub blobs: u16,
    /// How data is spread over the blobs.
    pub spread: Spread,
    /// Whether the image itself takes part in the spread.
    pub primary_too: bool,
    /// Labels of the device slots, at most 64 bytes each; a missing one is empty.
    pub tags: Vec<Vec<u8>>,
    /// Whether the slots state their length in blocks, or 0.
    pub slot_blocks: bool,
    /// Whether the slots state their place in the unified address space, or 0.
    pub uniaddr: bool,
    /// Whether the blobs lie after the image in its own file.
    pub flattened: bool,
    /// Whether equal chunks are stored once.
    pub dedupe: bool,
    /// What becomes a hole of a chunked file.
    pub holes: Holes,
    /// Whether a flat-plain file that is all hole has a start block of all ones.
    pub flat_holes: bool,
    /// Blocks of zeros in front of the data of each blob (2^32 and more test high block numbers).
    pub lead_blocks: u64,
    /// The 48BIT feature.
    pub bits48: bool,
    /// Whether directories leave out their `.` entry; sets the 48BIT feature.
    pub dot_omitted: bool,
    /// Where extended attributes go.
    pub xattrs: XattrPlace,
    /// Whether nids count from byte 0 of the image, or from the first block after the
    /// superblock and device table.
    pub meta_at_zero: bool,
    /// Whether the superblock has a checksum.
    pub checksum: bool,
    /// The superblock's time in seconds since 1970 (without 48BIT).
    pub epoch_s: u64,
    /// Identity of the image.
    pub uuid: [u8; 16],
    /// Volume name.
    pub volume: [u8; 16],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_bits: 12,
            inodes: Inodes::Lossless,
            layout: FileLayout::ChunkIndexes,
            layouts: BTreeMap::new(),
            inline_dirs: true,
            chunk_bits: 16,
            blobs: 0,
            spread: Spread::RoundRobin,
            primary_too: false,
            tags: Vec::new(),
            slot_blocks: true,
            uniaddr: true,
            flattened: false,
            dedupe: true,
            holes: Holes::Zero,
            flat_holes: false,
            lead_blocks: 0,
            bits48: false,
            dot_omitted: false,
            xattrs: XattrPlace::SharedIfRepeated,
            meta_at_zero: true,
            checksum: true,
            epoch_s: 0,
            uuid: *b"rootlet-sim-uuid",
            volume: [0; 16],
        }
    }
}

impl Options {
    pub(super) fn block(&self) -> u64 {
        1 << self.block_bits
    }

    pub(super) fn chunk(&self) -> u64 {
        1 << self.chunk_bits
    }

    pub(super) fn has_48bit(&self) -> bool {
        self.bits48
            || self.dot_omitted
            || self.layout == FileLayout::ChunkIndexes48
            || self.layouts.values().any(|layout| *layout == FileLayout::ChunkIndexes48)
    }

    pub(super) fn check(&self) -> Result<(), BuildError> {
        let wrong = |what| Err(BuildError::Options(what));
        if !(9..=16).contains(&self.block_bits) {
            return wrong("block_bits is 9 to 16");
        }
        if !(self.block_bits..=self.block_bits + 31).contains(&self.chunk_bits) {
            return wrong("chunk_bits is block_bits to block_bits + 31");
        }
        if self.tags.iter().any(|tag| tag.len() > 64) || self.tags.len() > self.blobs.into() {
            return wrong("a tag has at most 64 bytes, and there is one for each blob");
        }
        if self.flattened && !self.uniaddr {
            return wrong("a flattened image needs uniaddr");
        }
        let unified = |layout: &FileLayout| {
            matches!(layout, FileLayout::Plain | FileLayout::ChunkMap) && self.blobs > 0
        };
        let mut layouts = self.layouts.values().chain([&self.layout]);
        let mapped = self.uniaddr && (self.slot_blocks || self.flattened);
        if !mapped && layouts.any(unified) {
            return wrong("flat files and block maps reach a blob only by its uniaddr and length");
        }
        Ok(())
    }
}

/// Why an image cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The options contradict each other.
    Options(&'static str),
    /// The tree does not fit the format under these options: the path and why.
    Node(String, &'static str),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Options(why) => write!(f, "image options: {why}"),
            Self::Node(path, why) => write!(f, "{path}: {why}"),
        }
    }
}

impl std::error::Error for BuildError {}
