//! Images of which every byte may be chosen: a built image with an area for inodes, maps and
//! streams made by hand.
//!
//! Always: `/file` and `/good` are there; the checksum of the superblock is right at the end.

use rootlet::erofs::Nid;
use rootlet_sim::image::{Built, Content, FileLayout, Inodes, Options, SUPERBLOCK_AT, Tree, build};

/// Bytes of the area.
const AREA_BYTES: usize = 192 << 10;

/// Features of an image.
pub const LZ4_0PADDING: u32 = 0x01;
pub const COMPR_CFGS: u32 = 0x02;
pub const FRAGMENTS: u32 = 0x20;
pub const XATTR_PREFIXES: u32 = 0x40;
pub const METABOX: u32 = 0x100;

/// Data layouts of an inode.
pub const PLAIN: u16 = 0;
pub const FULL: u16 = 1;
pub const INLINE: u16 = 2;
pub const COMPACT: u16 = 3;

/// An image under way.
pub struct Craft {
    pub built: Built,
    pub block_bits: u8,
    /// Where the free part of the area begins.
    free: u64,
    end: u64,
}

impl Craft {
    /// With blocks of 2^`block_bits` bytes, LZ4 with padding, and settings of all algorithms.
    pub fn new(block_bits: u8) -> Self {
        let mut tree = Tree::new();
        tree.file("/area", Content::bytes(vec![0; AREA_BYTES]));
        tree.file("/file", Content::bytes(*b"file"));
        tree.file("/good", Content::bytes(*b"good"));
        Self::of(&tree, block_bits)
    }

    /// Of a tree that has `/area` and `/good`.
    pub fn of(tree: &Tree, block_bits: u8) -> Self {
        let layouts = [(b"/area".to_vec(), FileLayout::Plain)];
        let options = Options {
            block_bits,
            layout: FileLayout::Inline,
            layouts: layouts.into(),
            inodes: Inodes::Extended,
            chunk_bits: 16,
            ..Options::default()
        };
        let built = build(tree, &options).unwrap();
        let area = built.image.locate("/area").data_at.unwrap();
        let mut craft = Self { built, block_bits, free: area, end: area + AREA_BYTES as u64 };
        craft.features(LZ4_0PADDING | COMPR_CFGS);
        craft.settings(15, &[&lz4(65_535, 1), &lzma(8 << 20), &DEFLATE, &ZSTD]);
        craft
    }

    pub fn block(&self) -> u64 {
        1 << self.block_bits
    }

    /// Adds features.
    pub fn features(&mut self, incompat: u32) -> &mut Self {
        let at = SUPERBLOCK_AT + 80;
        let now = self.u32_at(at);
        self.patch(at, &(now | incompat).to_le_bytes())
    }

    /// Writes the list of algorithms, and their settings after the superblock.
    pub fn settings(&mut self, algorithms: u16, records: &[&[u8]]) -> &mut Self {
        self.patch(SUPERBLOCK_AT + 84, &algorithms.to_le_bytes());
        self.patch(SUPERBLOCK_AT + 128, &records.concat())
    }

    /// Writes a field of the superblock.
    pub fn superblock(&mut self, at: u64, bytes: &[u8]) -> &mut Self {
        self.patch(SUPERBLOCK_AT + at, bytes)
    }

    /// Makes the inode the packed one.
    pub fn packed(&mut self, nid: Nid) -> &mut Self {
        self.features(FRAGMENTS).superblock(96, &nid.0.to_le_bytes())
    }

    /// Makes the inode the metabox: its nid is in the first extension of the superblock, before
    /// the settings.
    pub fn metabox(&mut self, nid: Nid) -> &mut Self {
        let settings = self.bytes(SUPERBLOCK_AT + 128, 64);
        self.features(METABOX).superblock(13, &[1]).superblock(128, &nid.0.to_le_bytes());
        self.superblock(136, &[0; 8]).superblock(144, &settings)
    }

    pub fn patch(&mut self, at: u64, bytes: &[u8]) -> &mut Self {
        self.built.image.patch(at, bytes);
        self
    }

    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        self.built.image.bytes()[at as usize..][..len].to_vec()
    }

    fn u32_at(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    /// Puts bytes in the area, at a multiple of `align`; where they are.
    pub fn put(&mut self, align: u64, bytes: &[u8]) -> u64 {
        let at = self.free.next_multiple_of(align);
        self.free = at + bytes.len() as u64;
        assert!(self.free <= self.end, "the area is full");
        self.patch(at, bytes);
        at
    }

    /// Puts bytes in whole blocks; the number of the first.
    pub fn blocks(&mut self, bytes: &[u8]) -> u32 {
        let mut bytes = bytes.to_vec();
        bytes.resize(bytes.len().next_multiple_of(self.block() as usize), 0);
        (self.put(self.block(), &bytes) / self.block()) as u32
    }

    /// Puts a stream in whole blocks, after its padding. Returns the number of the first.
    pub fn stream(&mut self, bytes: &[u8]) -> u32 {
        let mut padded = bytes.to_vec();
        while !padded.len().is_multiple_of(self.block() as usize) {
            padded.insert(0, 0);
        }
        self.blocks(&padded)
    }

    /// Puts an extended inode of a regular file with what follows it.
    pub fn inode(&mut self, layout: u16, size: u64, word: u32, body: &[u8]) -> Nid {
        let bytes = inode(layout, 0o100_644, size, word, body);
        Nid(self.put(32, &bytes) / 32)
    }

    /// Makes the entry `path` lead to another inode.
    pub fn link(&mut self, path: &str, nid: Nid) -> &mut Self {
        let at = self.built.image.dirent_at(path);
        self.patch(at, &nid.0.to_le_bytes())
    }

    /// Puts a compressed inode and makes it `/file`.
    pub fn file(&mut self, layout: u16, size: u64, header: [u8; 8], index: &[u8]) -> Nid {
        let nid = self.inode(layout, size, 0, &[&header, index].concat());
        self.link("/file", nid);
        nid
    }

    /// Fixes the checksum.
    pub fn done(mut self) -> Built {
        self.built.image.fix_checksum();
        self.built
    }
}

/// An extended inode with what follows it.
pub fn inode(layout: u16, mode: u16, size: u64, word: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..2].copy_from_slice(&(1 | layout << 1).to_le_bytes());
    bytes[4..6].copy_from_slice(&mode.to_le_bytes());
    bytes[8..16].copy_from_slice(&size.to_le_bytes());
    bytes[16..20].copy_from_slice(&word.to_le_bytes());
    bytes[44..48].copy_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Settings of LZ4: the farthest match, and the most blocks of a pcluster.
pub fn lz4(distance: u16, blocks: u16) -> [u8; 16] {
    let ([a, b], [c, d]) = (distance.to_le_bytes(), blocks.to_le_bytes());
    [14, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Settings of MicroLZMA: the dictionary.
pub fn lzma(dictionary: u32) -> [u8; 16] {
    let [a, b, c, d] = dictionary.to_le_bytes();
    [14, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Settings of DEFLATE.
pub const DEFLATE: [u8; 8] = [6, 0, 15, 0, 0, 0, 0, 0];

/// Settings of Zstandard: a window of 1 MiB.
pub const ZSTD: [u8; 8] = [6, 0, 0, 10, 0, 0, 0, 0];

/// The header of a map: its first word, advise, algorithms of the heads, lcluster bits.
pub fn header(word: u32, advise: u16, algorithms: u8, bits: u8) -> [u8; 8] {
    let ([a, b, c, d], [e, f]) = (word.to_le_bytes(), advise.to_le_bytes());
    [a, b, c, d, e, f, algorithms, bits]
}

/// A head in a full index.
pub fn head(flags: u16, offset: u16, block: u32) -> [u8; 8] {
    let ([a, b], [c, d], [e, f, g, h]) =
        (flags.to_le_bytes(), offset.to_le_bytes(), block.to_le_bytes());
    [a, b, c, d, e, f, g, h]
}

/// An lcluster after its head in a full index.
pub fn behind(back: u16, ahead: u16) -> [u8; 8] {
    head(2, 0, u32::from(ahead) << 16 | u32::from(back))
}

/// A full index: 8 bytes of gap, then the entries.
pub fn full(entries: &[[u8; 8]]) -> Vec<u8> {
    [&[0; 8], entries.as_flattened()].concat()
}

/// A pack of 2 or 16 items of type and low bits, for lclusters of 2^12 bytes at most.
pub fn pack(items: &[(u32, u32)], block: u32) -> Vec<u8> {
    let bits = if items.len() == 2 { 16 } else { 14 };
    let mut bytes = vec![0_u8; items.len() * bits / 8];
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

/// Records of extents of 16 bytes: length field, place, first byte of the file.
pub fn records(records: &[(u32, u64, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (word, at, offset) in records {
        bytes.extend_from_slice(&word.to_le_bytes());
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    bytes
}
