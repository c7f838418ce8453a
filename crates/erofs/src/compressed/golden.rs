//! Every file of the images in `ROOTLET_GOLDEN`: its extents tile it, and each is found from any
//! byte in it.
//!
//! Always: without that variable the test does nothing.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::fs;
use std::vec::Vec;

use super::super::{DirBlock, FileKind, FormatError, Inode, Layout, Nid, Superblock};
use super::tests::Bytes;
use super::{CompressedMap, Data, Extent};

struct Image {
    bytes: Vec<u8>,
    superblock: Superblock,
    algorithms: u16,
    packed: Nid,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

impl Image {
    fn new(mut bytes: Vec<u8>) -> Option<Self> {
        let listed = u16_at(&bytes, 1024 + 84);
        let algorithms = if bytes[1024 + 80] & 2 != 0 { listed } else { 1 };
        let packed = u64::from_le_bytes(*bytes[1024 + 96..].first_chunk()?);
        // The superblock without its checksum, and without features that maps do not depend on.
        bytes[1024 + 8] &= !1;
        bytes[1024 + 80] &= !0x60;
        if bytes[1024 + 81] & 1 != 0 {
            // Of an image whose root lies in the metabox, the metabox itself.
            bytes.copy_within(1024 + 128..1024 + 136, 1024 + 112);
            bytes[1024 + 81] = 0;
        }
        let superblock = Superblock::from_bytes(&bytes).unwrap_or_else(|error| panic!("{error}"));
        Some(Self { bytes, superblock, algorithms, packed: Nid(packed) })
    }

    fn inode(&self, nid: Nid) -> Inode {
        let at = usize::try_from(self.superblock.inode_at(nid).unwrap()).unwrap();
        Inode::from_bytes(&self.superblock, nid, &self.bytes[at..]).unwrap()
    }

    fn directory(&self, inode: &Inode) -> Vec<Nid> {
        let block = self.superblock.block_size().bytes();
        let mut found = Vec::new();
        let (start, tail) = match inode.layout() {
            Layout::Plain { start } => (start.unwrap_or(0), None),
            Layout::Inline { start, tail } => (start, Some(tail)),
            layout => panic!("{layout:?}"),
        };
        for number in 0..inode.size().div_ceil(block) {
            let left = inode.size() - number * block;
            let at = match tail {
                Some(tail) if left == tail.len => tail.at,
                _ => (start + number) * block,
            };
            let at = usize::try_from(at).unwrap();
            let bytes = &self.bytes[at..][..usize::try_from(left.min(block)).unwrap()];
            for entry in DirBlock::from_bytes(bytes, inode.nid(), number).unwrap().entries() {
                let entry = entry.unwrap();
                if entry.name != b"." && entry.name != b".." && entry.nid.0 >> 63 == 0 {
                    found.push(entry.nid);
                }
            }
        }
        found
    }

    fn check(&self, inode: &Inode) -> Result<Vec<Extent>, FormatError> {
        let mut meta = Bytes::new(&self.bytes);
        let mut map = CompressedMap::open(&self.superblock, self.algorithms, inode, &mut meta)?;
        let (mut at, mut extents) = (0, Vec::new());
        while at < inode.size() {
            let reads = meta.reads;
            let extent = map.find(&mut meta, at)?;
            assert!(meta.reads - reads <= 2, "{} reads at {at:#x}", meta.reads - reads);
            assert_eq!((extent.offset, extent.len > 0), (at, true), "nid {}", inode.nid());
            at += extent.len;
            extents.push(extent);
        }
        assert_eq!(at, inode.size());
        for extent in &extents {
            for into in [1, extent.len / 3, extent.len / 2, extent.len - 1] {
                let offset = extent.offset + into.min(extent.len - 1);
                assert_eq!(map.find(&mut meta, offset)?, *extent, "nid {} {offset}", inode.nid());
                let mut fresh = map;
                if offset % 7 == 0 {
                    fresh =
                        CompressedMap::open(&self.superblock, self.algorithms, inode, &mut meta)?;
                }
                assert_eq!(fresh.find(&mut meta, offset)?, *extent);
            }
        }
        Ok(extents)
    }
}

#[test]
fn extents_of_every_golden_file_tile_it() {
    let Ok(dir) = std::env::var("ROOTLET_GOLDEN") else { return };
    let mut images: Vec<_> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    images.sort();
    images.retain(|path| path.extension().is_some_and(|extension| extension == "erofs"));
    assert!(!images.is_empty(), "no images in {dir}");
    for path in images {
        let Some(image) = Image::new(fs::read(&path).unwrap()) else { continue };
        let mut open = std::vec![image.superblock.root()];
        if image.packed.0 != 0 {
            open.push(image.packed);
        }
        let (mut files, mut kinds) = (0, [0_u32; 8]);
        while let Some(nid) = open.pop() {
            let inode = image.inode(nid);
            if let Layout::Compressed(_) = inode.layout() {
                files += 1;
                let extents =
                    image.check(&inode).unwrap_or_else(|error| panic!("{path:?} {error}"));
                for extent in extents {
                    kinds[kind(&extent)] += 1;
                }
            } else if inode.kind() == FileKind::Directory {
                open.extend(image.directory(&inode));
            }
        }
        std::println!("{:24} {files:4} files {kinds:?}", path.file_name().unwrap().display());
    }
}

fn kind(extent: &Extent) -> usize {
    use super::{Encoding, Place};
    match extent.data {
        Data::Hole => 0,
        Data::Fragment { .. } => 1,
        Data::Encoded { place: Place::Inline { .. }, encoding: Encoding::Plain, .. } => 2,
        Data::Encoded { place: Place::Inline { .. }, .. } => 3,
        Data::Encoded { encoding: Encoding::Plain, .. } => 4,
        Data::Encoded { encoding: Encoding::Interlaced { .. }, .. } => 5,
        Data::Encoded { .. } if extent.partial => 6,
        Data::Encoded { .. } => 7,
    }
}
