//! An open file: `Read` and `Seek`, its ends, its holes, and files beyond 4 GiB.

use embedded_io::{Read, Seek, SeekFrom};
use rootlet::{Error, PathError};
use rootlet_sim::Rng;
use rootlet_sim::image::{Content, FileLayout, Holes, Options, Tree};
use std::io;

use crate::mount;

fn layouts() -> [FileLayout; 5] {
    [
        FileLayout::Plain,
        FileLayout::Inline,
        FileLayout::ChunkMap,
        FileLayout::ChunkIndexes,
        FileLayout::ChunkIndexes48,
    ]
}

#[test]
fn read_and_seek_move_as_those_of_the_standard_library_do() {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(1, 70_001));
    let bytes = tree.content("/file").unwrap().to_vec();
    let mount = mount::tree(&tree, &Options { blobs: 2, chunk_bits: 12, ..Options::default() });
    let mut file = mount.guest.root.open(b"/file").unwrap();
    let mut oracle = io::Cursor::new(bytes);
    let rng = &mut Rng::new(5);
    for _ in 0..400 {
        let by = rng.below(80_000) as i64 - 5_000;
        let (to, same) = match rng.below(3) {
            0 => (SeekFrom::Start(by.unsigned_abs()), io::SeekFrom::Start(by.unsigned_abs())),
            1 => (SeekFrom::End(-by), io::SeekFrom::End(-by)),
            _ => (SeekFrom::Current(by / 2), io::SeekFrom::Current(by / 2)),
        };
        match io::Seek::seek(&mut oracle, same) {
            Ok(position) => assert_eq!(file.seek(to), Ok(position)),
            Err(_) => assert_eq!(file.seek(to), Err(Error::Path(PathError::BeforeStart))),
        }
        let len = rng.index(9_000);
        let (mut out, mut wanted) = (vec![0; len], vec![0; len]);
        let got = file.read(&mut out).unwrap();
        assert_eq!(got, io::Read::read(&mut oracle, &mut wanted).unwrap());
        assert_eq!(out, wanted);
        assert_eq!(file.stream_position(), Ok(oracle.position()));
    }
}

#[test]
fn read_exact_fails_at_the_end_and_gives_what_there_is_before_it() {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(1, 5_000));
    let mount = mount::tree(&tree, &Options::default());
    let mut file = mount.guest.root.open(b"/file").unwrap();
    let mut out = [0; 3_000];
    file.read_exact(&mut out).unwrap();
    let error = file.read_exact(&mut out).unwrap_err();
    assert_eq!(error, embedded_io::ReadExactError::UnexpectedEof);
}

#[test]
fn ends_of_files_are_where_their_size_says_in_every_layout() {
    for layout in layouts() {
        for block_bits in [9, 12] {
            let mut tree = Tree::new();
            for size in [0, 1, 511, 512, 513, 4095, 4096, 4097, 12_287, 12_288, 12_289] {
                tree.file(format!("/{size}"), Content::seeded(size, size as usize));
            }
            let options = Options { layout, block_bits, chunk_bits: 13, ..Options::default() };
            let mount = mount::tree(&tree, &options);
            for (path, _) in tree.walk().into_iter().skip(1) {
                let bytes = tree.content(&path).unwrap().to_vec();
                let file = mount.guest.root.open(&path).unwrap();
                let size = bytes.len() as u64;
                assert_eq!(file.size(), size);
                let mut out = [0xa5; 20_000];
                assert_eq!(file.read_at(0, &mut out), Ok(bytes.len()), "{layout:?}");
                assert_eq!(out[..bytes.len()], bytes[..], "{layout:?} of {size}");
                assert!(out[bytes.len()..].iter().all(|byte| *byte == 0xa5), "{layout:?}");
                for beyond in [size, size + 1, size + 4096, u64::MAX - 1, u64::MAX] {
                    assert_eq!(file.read_at(beyond, &mut out), Ok(0), "{layout:?} at {beyond}");
                }
                if let Some(last) = size.checked_sub(1) {
                    assert_eq!(file.read_at(last, &mut out), Ok(1));
                    assert_eq!(Some(&out[0]), bytes.last(), "{layout:?} of {size}");
                }
                assert_eq!(file.read_at(0, &mut []), Ok(0));
            }
        }
    }
}

#[test]
fn hole_reads_as_zeros_without_a_transfer() {
    let mut tree = Tree::new();
    let mut sparse = Content::hole(1 << 20);
    sparse.put(300_000, vec![1; 5]);
    tree.file("/sparse", sparse);
    tree.file("/empty", Content::hole(777_777));
    for (layout, holes) in
        [(FileLayout::ChunkIndexes, Holes::Sparse), (FileLayout::ChunkMap, Holes::Zero)]
    {
        let options = Options { layout, holes, blobs: 1, ..Options::default() };
        let mount = mount::tree(&tree, &options);
        let mut out = vec![0xa5; 777_777];
        let file = mount.guest.root.open(b"/empty").unwrap();
        assert_eq!(file.read_at(0, &mut out), Ok(777_777));
        assert!(out.iter().all(|byte| *byte == 0));
        assert_eq!(mount.world.counters(mount.devices[1]).reads, 0);

        let file = mount.guest.root.open(b"/sparse").unwrap();
        out.fill(0xa5);
        assert_eq!(file.read_at(299_998, &mut out[..10]), Ok(10));
        assert_eq!(out[..10], [0, 0, 1, 1, 1, 1, 1, 0, 0, 0]);
        assert_eq!(mount.world.counters(mount.devices[1]).reads, 1);
    }
}

#[test]
fn flat_file_that_is_all_hole_reads_as_zeros() {
    let mut tree = Tree::new();
    tree.file("/hole", Content::hole(10_000));
    let options = Options { layout: FileLayout::Plain, flat_holes: true, ..Options::default() };
    let mount = mount::tree(&tree, &options);
    let mut out = [0xa5; 10_001];
    assert_eq!(mount.guest.root.open(b"/hole").unwrap().read_at(0, &mut out), Ok(10_000));
    assert!(out[..10_000].iter().all(|byte| *byte == 0));
}

#[test]
fn offsets_beyond_4_gib_are_not_cut_to_32_bits() {
    const FAR: u64 = (5 << 30) + 12_345;
    let mut tree = Tree::new();
    let mut huge = Content::hole(0);
    huge.put(7, *b"near").put(FAR, *b"far away");
    tree.file("/huge", huge);
    for layout in [FileLayout::ChunkIndexes, FileLayout::ChunkMap] {
        let options =
            Options { layout, holes: Holes::Sparse, chunk_bits: 20, ..Options::default() };
        let mount = mount::tree(&tree, &options);
        let file = mount.guest.root.open(b"/huge").unwrap();
        assert_eq!(file.size(), FAR + 8);
        let mut out = [0; 16];
        assert_eq!(file.read_at(FAR - 4, &mut out), Ok(12));
        assert_eq!(out[..12], *b"\0\0\0\0far away");
        // Where the same offset lies when its high half is lost.
        for near in [FAR & 0xffff_ffff, FAR % (1 << 31)] {
            assert_eq!(file.read_at(near, &mut out), Ok(16));
            assert_eq!(out, [0; 16]);
        }
        assert_eq!(file.read_at(7, &mut out[..4]), Ok(4));
        assert_eq!(&out[..4], b"near");
    }
}

#[test]
fn blobs_longer_than_16_tib_are_addressed_with_48_bits() {
    let mut tree = Tree::new();
    tree.file("/far", Content::seeded(3, 100_000));
    let lead_blocks = (1 << 32) + 5;
    let layout = FileLayout::ChunkIndexes48;
    let options = Options { layout, blobs: 1, lead_blocks, uniaddr: false, ..Options::default() };
    let mount = mount::tree(&tree, &options);
    let mut out = vec![0; 100_000];
    assert_eq!(mount.guest.root.open(b"/far").unwrap().read_at(0, &mut out), Ok(100_000));
    assert_eq!(out, tree.content("/far").unwrap().to_vec());
}

#[test]
fn one_read_over_many_chunks_and_devices_is_one_batch() {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(9, 64 << 12));
    let mount = mount::tree(&tree, &Options { blobs: 4, chunk_bits: 12, ..Options::default() });
    let file = mount.guest.root.open(b"/file").unwrap();
    let mut out = vec![0; 64 << 12];
    file.read_at(0, &mut out[..1]).unwrap();
    let before = mount.guest.root.stats().batches;
    assert_eq!(file.read_at(0, &mut out), Ok(out.len()));
    assert_eq!(out, tree.content("/file").unwrap().to_vec());
    assert_eq!(mount.guest.root.stats().batches - before, 1);
    for device in &mount.devices[1..] {
        assert_eq!(mount.world.counters(*device).in_flight_max, 16, "full depth on each");
    }
}
