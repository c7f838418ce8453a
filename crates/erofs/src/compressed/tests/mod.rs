//! Maps made by hand, one per form and per fault, and maps of arbitrary bytes: what makes them.
//!
//! Always: an image of 64 blocks of 512 bytes; the inode is nid 100, its header at byte 3,232.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod arbitrary;
mod faults;
mod index;
mod records;

use std::vec::Vec;

use super::super::sample::{NID, Sample, extended};
use super::super::{Corrupt, FormatError, Inode, Nid, Part, Superblock, Unsupported};
use super::window::RUN_BYTES;
use super::{CompressedMap, Data, Encoding, Extent, MapFault, Metadata, Place};

/// Bytes as a metadata space, and what was read of them.
pub struct Bytes<'b> {
    bytes: &'b [u8],
    pub reads: usize,
    /// The byte after the last that was read.
    pub end: u64,
}

impl<'b> Bytes<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, reads: 0, end: 0 }
    }
}

impl Metadata for Bytes<'_> {
    type Error = FormatError;

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), FormatError> {
        assert!(out.len() <= RUN_BYTES);
        self.reads += 1;
        self.end = self.end.max(at.saturating_add(u64::try_from(out.len()).unwrap_or(0)));
        let here = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..));
        match here.and_then(|here| here.get(..out.len())) {
            Some(here) => out.copy_from_slice(here),
            None => {
                let (part, need) = (Part::Inode(Nid(0)), out.len());
                return Err(Corrupt::Short { part, need, got: self.bytes.len() }.into());
            }
        }
        Ok(())
    }
}

const FULL: u16 = 2;
const COMPACT: u16 = 6;
/// The byte after an extended inode, a multiple of 32.
const HEADER: usize = 3264;
const ALL: u16 = 0xf;

/// A compressed inode with its map.
struct File {
    image: Vec<u8>,
    superblock: Superblock,
    inode: Inode,
    algorithms: u16,
}

impl File {
    /// With the superblock's COMPR_CFGS; `word`, `advise`, algorithms and bits make the header.
    fn new(format: u16, size: u64, word: u32, advise: u16, last: [u8; 2]) -> Self {
        let superblock = Sample::new().put(80, &[2]).superblock();
        let inode = Inode::from_bytes(&superblock, NID, &extended(format, 0o100_644, size, 9, 0));
        let inode = inode.unwrap_or_else(|error| panic!("{error}"));
        let mut file = Self { image: Vec::new(), superblock, inode, algorithms: ALL };
        file.image.resize(64 * 512, 0);
        let [a, b, c, d] = word.to_le_bytes();
        let [e, f] = advise.to_le_bytes();
        file.put(HEADER, &[a, b, c, d, e, f, last[0], last[1]])
    }

    fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.image[at..][..bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Entries of a full index.
    fn entries(self, entries: &[[u8; 8]]) -> Self {
        self.put(HEADER + 16, entries.as_flattened())
    }

    fn open(&self) -> Result<CompressedMap, FormatError> {
        let meta = &mut Bytes::new(&self.image);
        CompressedMap::open(&self.superblock, self.algorithms, &self.inode, meta)
    }

    fn find(&self, offset: u64) -> Result<Extent, FormatError> {
        self.open()?.find(&mut Bytes::new(&self.image), offset)
    }

    /// All extents; each is found from any of its bytes.
    fn extents(&self) -> Vec<Extent> {
        let mut map = self.open().unwrap_or_else(|error| panic!("{error}"));
        let mut meta = Bytes::new(&self.image);
        let (mut at, mut found) = (0, Vec::new());
        while at < self.inode.size() {
            let extent = map.find(&mut meta, at).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(extent.offset, at);
            at += extent.len;
            for offset in (extent.offset..at).step_by(61).chain([at - 1]) {
                assert_eq!(self.find(offset), Ok(extent), "{offset}");
            }
            found.push(extent);
        }
        assert_eq!(at, self.inode.size());
        found
    }

    fn fault(&self, offset: u64) -> MapFault {
        match self.find(offset) {
            Err(FormatError::Corrupt(Corrupt::Map { nid: NID, fault })) => fault,
            other => panic!("{other:?}"),
        }
    }
}

fn head(flags: u16, offset: u16, block: u32) -> [u8; 8] {
    let ([a, b], [c, d], [e, f, g, h]) =
        (flags.to_le_bytes(), offset.to_le_bytes(), block.to_le_bytes());
    [a, b, c, d, e, f, g, h]
}

fn behind(back: u16, ahead: u16) -> [u8; 8] {
    head(2, 0, u32::from(ahead) << 16 | u32::from(back))
}

/// A pack of 2 or 16 items of type and low bits, for lclusters of 2^12 bytes at most.
fn pack(items: &[(u32, u32)], block: u32) -> Vec<u8> {
    let bits = if items.len() == 2 { 16 } else { 14 };
    let mut bytes = std::vec![0_u8; items.len() * bits / 8];
    for (number, (kind, low)) in items.iter().enumerate() {
        for bit in 0..14 {
            if (kind << 12 | low) >> bit & 1 == 1 {
                bytes[(number * bits + bit) / 8] |= 1 << ((number * bits + bit) % 8);
            }
        }
    }
    bytes.extend_from_slice(&block.to_le_bytes());
    bytes
}

fn encoded(offset: u64, len: u64, block: u64, blocks: u64, encoding: Encoding) -> Extent {
    let place = Place::Blocks { at: block * 512 };
    let data = Data::Encoded { place, len: blocks * 512, encoding };
    Extent { offset, len, partial: false, data }
}

fn other(offset: u64, len: u64, data: Data) -> Extent {
    Extent { offset, len, partial: false, data }
}

/// Where the packs begin: 6 lclusters before a multiple of 32 bytes.
const PACKS: usize = HEADER + 8;

/// Records of extents, `bytes` each.
fn records(size: u64, bits: u16, advise: u16, count: u32, last: [u8; 2]) -> File {
    File::new(FULL, size, count, 1 | (bits - 2) << 1 | advise, last)
}

fn long_records(bits: u16, records: &[(u32, u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (word, at, offset) in records {
        bytes.extend_from_slice(&word.to_le_bytes());
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.resize(bytes.len() - 4 + if bits == 4 { 0 } else { 16 }, 0);
    }
    bytes
}
