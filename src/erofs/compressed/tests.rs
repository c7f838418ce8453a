//! Maps made by hand, one per form and per fault, and maps of arbitrary bytes.
//!
//! Always: an image of 64 blocks of 512 bytes; the inode is nid 100, its header at byte 3,232.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::string::ToString;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

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
/// Behind an extended inode, a multiple of 32.
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
        while at < self.inode.size {
            let extent = map.find(&mut meta, at).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert_eq!(extent.offset, at);
            at += extent.len;
            for offset in (extent.offset..at).step_by(61).chain([at - 1]) {
                assert_eq!(self.find(offset), Ok(extent), "{offset}");
            }
            found.push(extent);
        }
        assert_eq!(at, self.inode.size);
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

use Encoding::{Deflate, Interlaced, Lz4, MicroLzma, Plain, Zstd};

#[test]
fn full_index_has_an_entry_for_each_lcluster() {
    let heads = [head(1, 0, 5), behind(1, 1), head(0x8001, 100, 6), head(0, 50, 7)];
    let file = File::new(FULL, 2000, 0, 0, [0, 0]).entries(&heads);
    let partial = Extent { partial: true, ..encoded(1124, 462, 6, 1, Lz4) };
    let expected = [encoded(0, 1124, 5, 1, Lz4), partial, encoded(1586, 414, 7, 1, Plain)];
    assert_eq!(file.extents(), expected);
}

#[test]
fn first_and_second_head_have_an_algorithm_each() {
    let heads = [head(1, 0, 5), head(3, 9, 6)];
    for (numbers, first, second) in [(0x10, Lz4, MicroLzma), (0x32, Deflate, Zstd)] {
        let file = File::new(FULL, 1024, 0, 0, [numbers, 0]).entries(&heads);
        assert_eq!(file.extents(), [encoded(0, 521, 5, 1, first), encoded(521, 503, 6, 1, second)]);
        let bits = file.open().map(|map| map.algorithms());
        assert_eq!(bits, Ok(if numbers == 0x10 { 0b11 } else { 0b1100 }));
    }
}

#[test]
fn large_pcluster_has_its_blocks_behind_its_head() {
    let heads = [head(1, 0, 5), behind(0x800 | 3, 3), behind(2, 2), behind(3, 1), head(1, 1, 8)];
    let file = File::new(FULL, 2500, 0, 2, [3, 0]).entries(&heads);
    assert_eq!(file.extents(), [encoded(0, 2049, 5, 3, Zstd), encoded(2049, 451, 8, 1, Zstd)]);
}

#[test]
fn heads_side_by_side_have_one_block_even_where_more_are_allowed() {
    let file = File::new(FULL, 1024, 0, 2, [0, 0]).entries(&[head(1, 0, 5), head(1, 7, 9)]);
    assert_eq!(file.extents(), [encoded(0, 519, 5, 1, Lz4), encoded(519, 505, 9, 1, Lz4)]);
}

#[test]
fn distance_ahead_of_zero_is_one() {
    let heads = [head(1, 0, 5), behind(1, 0), behind(2, 0), head(1, 4, 6)];
    let file = File::new(FULL, 2048, 0, 0, [0, 0]).entries(&heads);
    assert_eq!(file.extents(), [encoded(0, 1540, 5, 1, Lz4), encoded(1540, 508, 6, 1, Lz4)]);
}

#[test]
fn lclusters_may_be_larger_than_blocks() {
    let file = File::new(FULL, 5000, 0, 0, [0, 3]).entries(&[head(1, 0, 5), head(1, 7, 6)]);
    assert_eq!(file.extents(), [encoded(0, 4103, 5, 1, Lz4), encoded(4103, 897, 6, 1, Lz4)]);
}

#[test]
fn plain_pclusters_are_rotated_if_the_map_says_so() {
    let heads = [head(1, 0, 5), head(0, 50, 7), head(0, 60, 8)];
    let file = File::new(FULL, 1100, 0, 0x10, [0, 0]).entries(&heads);
    let rotated = |first| Interlaced { first };
    let expected = [
        encoded(0, 562, 5, 1, Lz4),
        encoded(562, 522 - 12, 7, 1, rotated(50)),
        encoded(1084 - 12, 28, 8, 1, rotated(48)),
    ];
    let heads = [head(1, 0, 5), head(0, 50, 7), head(0, 48, 8)];
    assert_eq!(file.entries(&heads).extents(), expected);
}

/// Where the packs begin: 6 lclusters before a multiple of 32 bytes.
const PACKS: usize = HEADER + 8;

#[test]
fn short_packs_count_blocks_of_heads() {
    let packs = [
        pack(&[(1, 0), (2, 1)], 4),
        pack(&[(1, 10), (0, 20)], 5),
        pack(&[(2, 1), (2, 1)], 9),
        pack(&[(1, 30), (0, 0)], 7),
    ];
    let file = File::new(COMPACT, 3300, 0, 0, [0, 0]).put(PACKS, &packs.concat());
    let expected = [
        encoded(0, 1034, 5, 1, Lz4),
        encoded(1034, 522, 6, 1, Lz4),
        encoded(1556, 512, 7, 1, Plain),
        encoded(2068, 3300 - 2068, 8, 1, Lz4),
    ];
    // The plain one ends too late: its second lcluster has a head.
    let fault = MapFault::PlainLength { offset: 1556, len: 1546, stored: 512 };
    assert_eq!(file.fault(1600), fault);
    let file = file.put(PACKS + 16, &pack(&[(1, 20), (2, 1)], 7));
    let all = file.extents();
    assert_eq!(all[..3], expected[..3]);
    assert_eq!(all[3], encoded(2068, 3102 - 2068, 8, 1, Lz4));
    assert_eq!(all[4], encoded(3102, 198, 8, 1, Lz4));
}

#[test]
fn long_packs_lie_between_short_ones() {
    let mut long = [(2, 1); 16];
    long[0] = (1, 100);
    for back in 1..9 {
        long[usize::try_from(back).unwrap_or(0)] = (2, back);
    }
    long[9] = (1, 200);
    for back in 1..6 {
        long[usize::try_from(back).unwrap_or(0) + 9] = (2, back);
    }
    // The last item looks ahead: to the head in lcluster 23.
    long[15] = (2, 2);
    let mut packs = Vec::new();
    packs.extend_from_slice(&pack(&[(1, 0), (1, 0)], 0));
    packs.extend_from_slice(&pack(&[(1, 0), (1, 0)], 2));
    packs.extend_from_slice(&pack(&[(1, 0), (2, 1)], 4));
    packs.extend_from_slice(&pack(&long, 9));
    packs.extend_from_slice(&pack(&[(2, 7), (1, 3)], 11));
    let size = 24 * 512;
    let file = File::new(COMPACT, size, 0, 1, [0, 0]).put(PACKS, &packs);
    let mut expected: Vec<_> = (0..4).map(|n| encoded(n * 512, 512, n + 1, 1, Lz4)).collect();
    expected.push(encoded(2048, 6 * 512 + 100 - 2048, 5, 1, Lz4));
    expected.push(encoded(6 * 512 + 100, 9 * 512 + 100, 10, 1, Lz4));
    expected.push(encoded(15 * 512 + 200, 23 * 512 + 3 - (15 * 512 + 200), 11, 1, Lz4));
    expected.push(encoded(23 * 512 + 3, 509, 12, 1, Lz4));
    assert_eq!(file.extents(), expected);
}

#[test]
fn packs_of_large_pclusters_add_up_their_blocks() {
    let mut long = [(0, 0); 16];
    // 5 lclusters of 3 blocks, 1 of 1, 2 of 2, then 8 of 4.
    let items = [(1, 0), (2, 0x803), (2, 2), (2, 3), (2, 4), (1, 7), (1, 8), (2, 0x802), (1, 9)];
    long[..9].copy_from_slice(&items);
    long[9] = (2, 0x804);
    for back in 2..8 {
        long[usize::try_from(back).unwrap_or(0) + 8] = (2, back);
    }
    let mut packs = Vec::new();
    for number in 0..3 {
        packs.extend_from_slice(&pack(&[(1, 0), (1, 0)], number * 2));
    }
    long[15] = (2, 1);
    packs.extend_from_slice(&pack(&long, 6));
    let file = File::new(COMPACT, 22 * 512, 0, 7, [1, 0]).put(PACKS, &packs);
    let extents = file.extents();
    let at = |lcluster: u64, offset| lcluster * 512 + offset;
    let expected = [
        encoded(at(6, 0), 5 * 512 + 7, 6, 3, MicroLzma),
        encoded(at(11, 7), 513, 9, 1, MicroLzma),
        encoded(at(12, 8), 2 * 512 + 1, 10, 2, MicroLzma),
        encoded(at(14, 9), 8 * 512 - 9, 12, 4, MicroLzma),
    ];
    assert_eq!(extents[6..], expected);
    assert_eq!(extents[5], encoded(5 * 512, 512, 5, 1, MicroLzma));
}

#[test]
fn first_block_of_a_pack_may_wrap() {
    let file = File::new(COMPACT, 512, 0, 0, [0, 0]).put(PACKS, &pack(&[(1, 0), (0, 0)], u32::MAX));
    assert_eq!(file.extents(), [encoded(0, 512, 0, 1, Lz4)]);
}

#[test]
fn last_pcluster_may_follow_the_index() {
    let heads = [head(1, 0, 5), head(1, 9, 77)];
    let file = File::new(FULL, 900, 200 << 16, 8, [2, 0]).entries(&heads);
    let place = Place::Inline { at: 3264 + 16 + 16 };
    let inline = |encoding| other(521, 379, Data::Encoded { place, len: 200, encoding });
    assert_eq!(file.extents(), [encoded(0, 521, 5, 1, Deflate), inline(Deflate)]);
    // Plain it would have to hold all.
    let file = file.entries(&[head(1, 0, 5), head(0, 9, 77)]);
    let fault = MapFault::PlainLength { offset: 521, len: 379, stored: 200 };
    assert_eq!(file.fault(600), fault);
    // It is never rotated.
    let heads = [head(1, 0, 5), head(0, 320, 77)];
    let file = File::new(FULL, 900, 200 << 16, 0x18, [2, 0]).entries(&heads);
    let data = Data::Encoded { place, len: 200, encoding: Plain };
    assert_eq!(file.find(899), Ok(other(832, 68, data)));
}

#[test]
fn inline_pcluster_follows_the_last_pack() {
    let file = File::new(COMPACT, 500, 1 << 16, 8, [0, 0]).put(PACKS, &pack(&[(1, 0), (0, 0)], 0));
    let place = Place::Inline { at: 3264 + 8 + 8 };
    let data = Data::Encoded { place, len: 1, encoding: Lz4 };
    assert_eq!(file.extents(), [other(0, 500, data)]);
}

#[test]
fn inline_pcluster_lies_in_one_block() {
    // From byte 3,296 its block has 288 bytes left.
    let file = |len: u32| File::new(FULL, 900, len << 16, 8, [2, 0]);
    assert!(file(288).open().is_ok());
    let fault = MapFault::InlineCrossesBlock { at: 3296, len: 289, block: 512 };
    assert_eq!(file(289).open(), Err(fault.of(NID)));
}

#[test]
fn tail_in_the_packed_inode_has_64_bits_in_a_full_index() {
    let heads = [head(1, 0, 5), head(1, 100, 3), behind(1, 1)];
    let file = File::new(FULL, 1500, 0xffff_fff0, 0x20, [0, 0]).entries(&heads);
    let tail = |at| other(612, 888, Data::Fragment { at });
    assert_eq!(file.extents(), [encoded(0, 612, 5, 1, Lz4), tail(3 << 32 | 0xffff_fff0)]);
    let packs = [pack(&[(1, 0), (1, 100)], 4), pack(&[(2, 1), (0, 0)], 0)];
    let file = File::new(COMPACT, 1500, 0xffff_fff0, 0x20, [0, 0]).put(PACKS, &packs.concat());
    assert_eq!(file.extents(), [encoded(0, 612, 5, 1, Lz4), tail(0xffff_fff0)]);
}

#[test]
fn tail_in_the_packed_inode_costs_no_read_once_open() {
    let heads = [head(1, 0, 5), head(1, 100, 3), behind(1, 1)];
    let file = File::new(FULL, 1500, 0, 0x20, [0, 0]).entries(&heads);
    let mut map = file.open().unwrap_or_else(|error| panic!("{error}"));
    let mut meta = Bytes::new(&file.image);
    assert!(map.find(&mut meta, 1499).is_ok() && meta.reads == 0);
}

#[test]
fn whole_file_may_lie_in_the_packed_inode() {
    let file = File::new(FULL, 1 << 50, 7, 0, [0, 0x80]);
    assert_eq!(file.find(1 << 49), Ok(other(0, 1 << 50, Data::Fragment { at: 7 })));
    assert_eq!(file.open().map(|map| map.algorithms()), Ok(0));
    let file = File::new(FULL, 1 << 50, u32::MAX, 0xffff, [0xff, 0xff]);
    let at = (1 << 63) - 1;
    assert_eq!(file.fault(0), MapFault::Fragment { offset: 0, at, len: 1 << 50 });
}

#[test]
fn head_of_a_hole_has_no_pcluster() {
    let heads = [head(0x4001, 0, 5), behind(1, 1), head(1, 9, 6)];
    let file = File::new(FULL, 1536, 0, 0, [0, 0]).entries(&heads);
    assert_eq!(file.extents(), [other(0, 1033, Data::Hole), encoded(1033, 503, 6, 1, Lz4)]);
}

#[test]
fn no_blocks_are_a_hole() {
    let heads = [head(1, 0, 5), behind(0x800, 1), head(1, 9, 6)];
    let file = File::new(FULL, 1536, 0, 2, [0, 0]).entries(&heads);
    assert_eq!(file.extents(), [other(0, 1033, Data::Hole), encoded(1033, 503, 6, 1, Lz4)]);
    let packs = [pack(&[(1, 0), (2, 0x800)], 5), pack(&[(1, 9), (0, 0)], 5)];
    let file = File::new(COMPACT, 1536, 0, 6, [0, 0]).put(PACKS, &packs.concat());
    assert_eq!(file.extents(), [other(0, 1033, Data::Hole), encoded(1033, 503, 5, 1, Lz4)]);
}

#[test]
fn hole_longer_than_any_pcluster_is_cut_behind_the_byte_asked_for() {
    // Lclusters of 16 MiB: the first two are a hole, none is too far to be seen from another.
    let heads = [head(0x4001, 0, 5), behind(1, 1), behind(2, 1), head(1, 0, 5)];
    let file = File::new(FULL, (3 << 24) + 1, 0, 0, [0, 15]).entries(&heads);
    assert_eq!(file.find(0), Ok(other(0, 1 << 24, Data::Hole)));
    assert_eq!(file.find(1 << 24), Ok(other(0, 2 << 24, Data::Hole)));
    assert_eq!(file.find((3 << 24) - 1), Ok(other(0, 3 << 24, Data::Hole)));
}

/// Records of extents, `bytes` each.
fn records(size: u64, bits: u16, advise: u16, count: u32, last: [u8; 2]) -> File {
    File::new(FULL, size, count, 1 | (bits - 2) << 1 | advise, last)
}

#[test]
fn short_records_lie_behind_each_other() {
    let words = [900, 1 << 28 | 512, 0, 2 << 28 | 1 << 27 | 100];
    let words: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    let file = records(3 * 1024 + 5, 2, 0, 0, [0, 1]);
    let file = file.put(HEADER + 8, &2051_u64.to_le_bytes()).put(HEADER + 16, &words);
    let at = |offset, len, at, stored, encoding| {
        let data = Data::Encoded { place: Place::Blocks { at }, len: stored, encoding };
        other(offset, len, data)
    };
    let fault = MapFault::PlainLength { offset: 0, len: 1024, stored: 900 };
    assert_eq!(file.fault(0), fault);
    let file = file.put(HEADER + 16, &1200_u32.to_le_bytes());
    let expected = [
        at(0, 1024, 2051, 1200, Plain),
        at(1024, 1024, 3251, 512, Lz4),
        other(2048, 1024, Data::Hole),
        Extent { partial: true, ..at(3072, 5, 3763, 100, MicroLzma) },
    ];
    assert_eq!(file.extents(), expected);
    let file = file.put(HEADER + 12, &[0xff; 4]);
    let (at, len) = (0xffff_ffff_0000_0803, 1200);
    let fault = MapFault::BeyondBlocks { offset: 0, at, len, blocks: 64 };
    assert_eq!(file.fault(0), fault);
}

#[test]
fn consecutive_short_records_are_read_once() {
    let count = 2000_usize;
    let file = records(512 * 2000, 2, 0, 0, [0, 0]).put(HEADER + 8, &[0; 8]);
    let file = file.put(HEADER + 16, &[1, 0, 0, 0x10].repeat(count));
    let mut map = file.open().unwrap_or_else(|error| panic!("{error}"));
    let mut meta = Bytes::new(&file.image);
    for number in 0..2000 {
        let before = meta.reads;
        let extent = map.find(&mut meta, number * 512 + 3);
        let place = Place::Blocks { at: number };
        let data = Data::Encoded { place, len: 1, encoding: Lz4 };
        assert_eq!(extent, Ok(other(number * 512, 512, data)));
        assert!(meta.reads - before <= 2);
    }
    let back = map.find(&mut meta, 0);
    assert_eq!(back.map(|extent| extent.offset), Ok(0));
}

#[test]
fn records_of_8_bytes_have_a_place() {
    let mut bytes = Vec::new();
    for (word, at) in [(3_u32 << 28 | 77, 0x2001_u32), (0xfff0, 3)] {
        bytes.extend_from_slice(&word.to_le_bytes());
        bytes.extend_from_slice(&at.to_le_bytes());
    }
    let file = records(1000, 3, 0x20, 0, [0, 0]).put(HEADER + 8, &bytes);
    let place = Place::Blocks { at: 0x2001 };
    let first = other(0, 512, Data::Encoded { place, len: 77, encoding: Deflate });
    assert_eq!(file.extents(), [first, other(512, 488, Data::Fragment { at: 3 << 32 | 0xfff0 })]);
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

#[test]
fn long_records_are_found_by_their_offset() {
    for (bits, at) in [(4, HEADER + 16), (5, HEADER + 32)] {
        let list = [
            (4 << 28 | 300, 0x1003, 0),
            (1024, 0x2000, 700),
            (1024, 0x2001, 1500),
            (0, 0, 2000),
            (1 << 27 | 1 << 28 | 9, 0x3000, 2001),
        ];
        let file = records(3000, bits, 0x10, 5, [0, 0]).put(at, &long_records(bits, &list));
        let encoded = |offset, len, at, stored, encoding| {
            let data = Data::Encoded { place: Place::Blocks { at }, len: stored, encoding };
            other(offset, len, data)
        };
        let expected = [
            encoded(0, 700, 0x1003, 300, Zstd),
            encoded(700, 800, 0x2000, 1024, Interlaced { first: 512 + 188 }),
            encoded(1500, 500, 0x2001, 1024, Plain),
            other(2000, 1, Data::Hole),
            Extent { partial: true, ..encoded(2001, 999, 0x3000, 9, Lz4) },
        ];
        assert_eq!(file.extents(), expected);
    }
}

#[test]
fn records_of_32_bytes_reach_beyond_4_gib() {
    let far = 5 << 32;
    let list = [(0, 0, 0), (1 << 28 | 8, 0x7000, far), (0xffff_ffff, 0x1_0000_0002, far + 100)];
    let file = records(far + 200, 5, 0x20, 3, [0, 0]).put(HEADER + 32, &long_records(5, &list));
    let place = Place::Blocks { at: 0x7000 };
    let data = Data::Encoded { place, len: 8, encoding: Lz4 };
    assert_eq!(file.find(far - 1), Ok(other(0, far, Data::Hole)));
    assert_eq!(file.find(far + 99), Ok(other(far, 100, data)));
    let at = 2 << 32 | 0xffff_ffff;
    assert_eq!(file.find(far + 100), Ok(other(far + 100, 100, Data::Fragment { at })));
}

#[test]
fn before_the_first_record_is_a_hole() {
    let file = records(3000, 4, 0, 1, [0, 0]).put(HEADER + 16, &long_records(4, &[(0, 0, 9)]));
    assert_eq!(file.extents(), [other(0, 9, Data::Hole), other(9, 2991, Data::Hole)]);
    let file = records(3000, 4, 0, 0, [0, 0]);
    assert_eq!(file.extents(), [other(0, 3000, Data::Hole)]);
}

#[test]
fn records_out_of_order_are_corrupt() {
    let list = [(0, 0, 0), (0, 0, 4000)];
    let file = records(3000, 4, 0, 2, [0, 0]).put(HEADER + 16, &long_records(4, &list));
    let fault = MapFault::Order { extent: 1, offset: 4000, low: 0, high: 3000 };
    assert_eq!(file.fault(5), fault);
    let list = [(0, 0, 500), (0, 0, 400)];
    let file = file.put(HEADER + 16, &long_records(4, &list));
    let fault = MapFault::Order { extent: 1, offset: 400, low: 500, high: 3000 };
    assert_eq!(file.fault(600), fault);
}

#[test]
fn map_beyond_the_image_is_corrupt() {
    let size = (1 << 63) - 1;
    let (part, image) = (Part::CompressedMap(NID), 0x8000);
    let beyond = |at, len| Err(Corrupt::BeyondImage { part, at, len, image }.into());
    assert_eq!(File::new(FULL, size, 0, 0, [0, 0]).open(), beyond(3264 + 16, 1 << 57));
    assert_eq!(File::new(COMPACT, size, 0, 0, [0, 0]).open(), beyond(3264 + 8, 1 << 56));
    let records = records(size, 5, 0, u32::MAX, [0xff, 0x7f]);
    assert_eq!(records.open(), beyond(3264 + 32, ((1 << 47) - 1) * 32));
}

#[test]
fn byte_behind_the_file_has_no_extent() {
    let file = File::new(FULL, 512, 0, 0, [0, 0]).entries(&[head(1, 0, 5)]);
    assert_eq!(file.fault(512), MapFault::BeyondFile { offset: 512, size: 512 });
    assert_eq!(
        File::new(FULL, 0, 0, 0x28, [0, 0]).fault(0),
        MapFault::BeyondFile { offset: 0, size: 0 }
    );
}

#[test]
fn plain_inode_has_no_map() {
    let file = File::new(0, 512, 0, 0, [0, 0]);
    assert_eq!(file.open(), Err(MapFault::NotCompressed.of(NID)));
}

#[test]
fn head_lies_within_its_lcluster() {
    let file = File::new(FULL, 1024, 0, 0, [0, 0]).entries(&[head(1, 512, 5), behind(1, 1)]);
    let fault = MapFault::HeadOffset { lcluster: 0, offset: 512, bytes: 512 };
    assert_eq!((file.fault(0), file.fault(600)), (fault, fault));
    let file = File::new(COMPACT, 512, 0, 0, [0, 0]).put(PACKS, &pack(&[(1, 0xfff), (0, 0)], 5));
    let fault = MapFault::HeadOffset { lcluster: 0, offset: 4095, bytes: 512 };
    assert_eq!(file.fault(0), fault);
}

#[test]
fn look_back_is_neither_nothing_nor_to_before_the_file() {
    for back in [0, 2] {
        let file = File::new(FULL, 1024, 0, 0, [0, 0]).entries(&[head(1, 0, 5), behind(back, 1)]);
        let fault = MapFault::LookBack { lcluster: 1, distance: u64::from(back) };
        assert_eq!(file.fault(600), fault);
    }
    let file = File::new(FULL, 512, 0, 0, [0, 0]).entries(&[head(1, 9, 5)]);
    assert_eq!(file.fault(8), MapFault::LookBack { lcluster: 0, distance: 1 });
}

#[test]
fn look_back_is_bounded_in_hops() {
    let mut entries = std::vec![head(1, 0, 5)];
    entries.resize(66, behind(1, 1));
    let file = File::new(FULL, 66 * 512, 0, 0, [0, 0]).entries(&entries);
    assert!(file.find(65 * 512 - 1).is_ok());
    assert_eq!(file.fault(65 * 512), MapFault::Hops { lcluster: 65, hops: 64 });
}

#[test]
fn pcluster_that_decodes_to_more_than_12_mib_is_refused() {
    // 2,048 entries are 16 KiB; lclusters of 16 KiB.
    let mut entries = std::vec![head(1, 0, 5), behind(1, 1)];
    entries.resize(800, behind(1, 1));
    let file = |size| File::new(FULL, size, 0, 0, [0, 5]).entries(&entries);
    assert_eq!(file(12 << 20).find(0).map(|extent| extent.len), Ok(12 << 20));
    let fault = MapFault::DecodedLength { offset: 0, len: (12 << 20) + 1 };
    assert_eq!(file((12 << 20) + 1).fault(0), fault);
    let fault = MapFault::DecodedLength { offset: 0, len: (12 << 20) + (16 << 10) };
    assert_eq!(file(13_000_000).fault(0), fault);
}

#[test]
fn pcluster_has_a_mebibyte_at_most() {
    let file = |blocks: u16| {
        let heads = [head(1, 0, 0), behind(0x800 | blocks, 1)];
        let mut file = File::new(FULL, 1024, 0, 2, [0, 0]).entries(&heads);
        // An image that does not say how long it is.
        file.superblock = Sample::new().put(80, &[2]).put(36, &[0; 4]).superblock();
        file
    };
    assert_eq!(file(2047).find(0), Ok(encoded(0, 1024, 0, 2047, Lz4)));
    let heads = [head(1, 0, 0), behind(0x1800 | 1, 1)];
    let file = file(0).entries(&heads);
    assert_eq!(file.fault(0), MapFault::EncodedLength { offset: 0, len: 4097 * 512 });
    let long = ((1 << 28) | ((1 << 20) + 1), 0, 0);
    let file = records(3000, 4, 0, 1, [0, 0]).put(HEADER + 16, &long_records(4, &[long]));
    assert_eq!(file.fault(0), MapFault::EncodedLength { offset: 0, len: (1 << 20) + 1 });
}

#[test]
fn pcluster_ends_with_the_image() {
    let file = |block| File::new(FULL, 512, 0, 0, [0, 0]).entries(&[head(1, 0, block)]);
    assert!(file(63).find(0).is_ok());
    let fault = MapFault::BeyondBlocks { offset: 0, at: 64 * 512, len: 512, blocks: 64 };
    assert_eq!(file(64).fault(0), fault);
}

#[test]
fn pcluster_may_lie_on_another_device() {
    let mut file = File::new(FULL, 512, 0, 0, [0, 0]).entries(&[head(1, 0, 70)]);
    file.superblock = Sample::with_devices(1).superblock();
    assert_eq!(file.extents(), [encoded(0, 512, 70, 1, Lz4)]);
}

#[test]
fn algorithm_is_known_and_listed() {
    let mut file = File::new(FULL, 512, 0, 0, [4, 0]).entries(&[head(1, 0, 5)]);
    let error = Unsupported::Algorithm { nid: NID, algorithm: 4 };
    assert_eq!(file.find(0), Err(error.into()));
    file = file.put(HEADER + 6, &[3]);
    file.algorithms = 0b0111;
    let fault = MapFault::Algorithm { offset: 0, algorithm: 3, listed: 7 };
    assert_eq!(file.fault(0), fault);
    let record = (4 << 28 | 9, 0, 0);
    let mut file = records(3000, 4, 0, 1, [0, 0]).put(HEADER + 16, &long_records(4, &[record]));
    file.algorithms = 0b0111;
    assert_eq!(file.fault(0), fault);
    let record = (15 << 28 | 9, 0, 0);
    let file = file.put(HEADER + 16, &long_records(4, &[record]));
    let error = Unsupported::Algorithm { nid: NID, algorithm: 14 };
    assert_eq!(file.find(0), Err(error.into()));
}

#[test]
fn large_pclusters_need_their_feature() {
    for advise in [2, 4] {
        let mut file = File::new(FULL, 512, 0, advise, [0, 0]);
        assert!(file.open().is_ok());
        file.superblock = Sample::new().superblock();
        assert_eq!(file.open(), Err(MapFault::BigPclusters { advise }.of(NID)));
        let file = File::new(COMPACT, 512, 0, advise, [0, 0]);
        assert_eq!(file.open(), Err(MapFault::UnequalHeads { advise }.of(NID)));
    }
}

#[test]
fn block_count_stands_behind_heads_of_large_pclusters_and_nowhere_else() {
    let heads = [head(1, 0, 5), behind(0x802, 1)];
    let file = File::new(FULL, 1024, 0, 0, [0, 0]).entries(&heads);
    assert_eq!(file.fault(0), MapFault::BlockCount { lcluster: 1 });
    let file = File::new(COMPACT, 1024, 0, 0, [0, 0]).put(PACKS, &pack(&[(1, 0), (2, 0x802)], 5));
    assert_eq!(file.fault(0), MapFault::BlockCount { lcluster: 1 });
    let file = File::new(FULL, 1024, 0, 2, [0, 0]).entries(&[head(1, 0, 5), behind(1, 1)]);
    assert_eq!(file.fault(0), MapFault::NoBlockCount { lcluster: 1 });
}

#[test]
fn pack_of_large_pclusters_has_no_distance_of_one() {
    let mut long = [(1, 0); 16];
    long[3] = (2, 1);
    let mut packs = pack(&[(1, 0), (1, 0)], 0).repeat(3);
    packs.extend_from_slice(&pack(&long, 6));
    let file = File::new(COMPACT, 22 * 512, 0, 7, [0, 0]).put(PACKS, &packs);
    assert!(file.find(7 * 512).is_ok());
    assert_eq!(file.fault(11 * 512), MapFault::PackDistance { lcluster: 9, distance: 1 });
}

#[test]
fn packs_have_room_for_lclusters_of_16_kib_and_long_ones_of_4() {
    let open = |size, advise, bits| File::new(COMPACT, size, 0, advise, [0, bits]).open();
    let refused = |bits| Err(Unsupported::LclusterBits { nid: NID, bits }.into());
    assert!(open(512, 0, 5).is_ok() && open(22 * 512, 1, 3).is_ok());
    assert_eq!(open(512, 0, 6), refused(15));
    assert_eq!(open(22 * 512, 1, 4), refused(13));
    // Too short for a long pack.
    assert!(open(21 * 512, 1, 5).is_ok());
}

#[test]
fn message_leads_to_the_entry() {
    let fault = MapFault::LookBack { lcluster: 7, distance: 9 };
    assert_eq!(
        fault.of(NID).to_string(),
        "corrupt image: compressed map of nid 100: lcluster 7 has its head 9 lclusters before it"
    );
    let fault = MapFault::Algorithm { offset: 512, algorithm: 3, listed: 7 };
    assert_eq!(
        fault.of(NID).to_string(),
        "corrupt image: compressed map of nid 100: the extent at byte 0x200 names algorithm 3, \
         listed are 0b111"
    );
}

#[test]
fn nothing_is_read_behind_the_index() {
    let heads = [head(1, 0, 5), behind(1, 1), head(1, 9, 6)];
    let file = File::new(FULL, 1300, 0, 0, [0, 0]).entries(&heads);
    let mut meta = Bytes::new(&file.image);
    let map = CompressedMap::open(&file.superblock, ALL, &file.inode, &mut meta);
    assert_eq!((meta.reads, meta.end), (1, 3272));
    let extent = map.and_then(|mut map| map.find(&mut meta, 0));
    assert_eq!(extent, Ok(encoded(0, 1033, 5, 1, Lz4)));
    assert_eq!((meta.reads, meta.end), (2, 3264 + 16 + 24));
}

/// 2,000 bytes, many of them small: types, distances and offsets that are not refused at once.
fn entries(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        // Xorshift, by Marsaglia.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let byte = |[choice, value, ..]: [u8; 8]| match choice & 3 {
        0 => 0,
        1 => value & 3,
        2 => 0x20 | value & 0xf,
        _ => value,
    };
    (0..2000).map(|_| byte(next())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_extents_or_errors_in_bounded_reads(
        format in prop::sample::select(std::vec![FULL, COMPACT]),
        size in prop_oneof![4 => 0_u64..40_000, 1 => any::<u64>().prop_map(|size| size >> 1)],
        word in prop_oneof![0_u32..600, any::<u32>()],
        advise in 0_u16..64,
        last in (any::<u8>(), prop_oneof![9 => 0_u8..7, 1 => any::<u8>()]),
        seed in any::<u64>(),
        offsets in vec(any::<u64>(), 8),
    ) {
        let file = File::new(format, size, word, advise, [last.0, last.1]).put(HEADER + 8, &entries(seed));
        let mut meta = Bytes::new(&file.image);
        let map = CompressedMap::open(&file.superblock, ALL, &file.inode, &mut meta);
        // An index has at most 30 KiB, so the hops back are fewer than 64 + 32.
        prop_assert!(meta.reads <= 1 + 96);
        let Ok(mut map) = map else { return Ok(()) };
        let walk = (0..size).step_by(700).take(20);
        for offset in walk.chain(offsets.iter().map(|offset| offset % size.max(1))) {
            meta.reads = 0;
            let found = map.find(&mut meta, offset);
            // Back, the count, and ahead: all entries at most, 4 bytes each in the shortest runs.
            prop_assert!(meta.reads <= 96 + 2 + 30_000 / 8, "{} reads", meta.reads);
            prop_assert!(meta.end <= 64 * 512);
            let Ok(extent) = found else { continue };
            prop_assert!(extent.offset <= offset && extent.len >= 1);
            let end = extent.offset.checked_add(extent.len);
            prop_assert!(end.is_some_and(|end| end > offset && end <= size));
            if let Data::Encoded { place, len, encoding } = extent.data {
                prop_assert!((1..=super::ENCODED_BYTES_MAX).contains(&len));
                prop_assert!(extent.len <= super::DECODED_BYTES_MAX);
                let (Place::Blocks { at } | Place::Inline { at }) = place;
                prop_assert!(at + len <= 64 * 512);
                match encoding {
                    Plain => prop_assert!(extent.len <= len),
                    Interlaced { first } => prop_assert!(first < len && extent.len <= len),
                    _ => {}
                }
            }
            if extent.data != Data::Hole {
                prop_assert_eq!(file.find(offset), Ok(extent));
            }
        }
    }
}
