//! The image builder against its own description of the format, and against the real fsck.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rootlet_sim::image::{
    Blob, BuildError, Built, Content, FileLayout, Holes, Image, Inodes, Kind, Options, Spread,
    Tree, XattrPlace, build,
};

fn sample() -> Tree {
    let mut tree = Tree::new();
    tree.dir("/").mtime_s = 7;
    tree.file("/empty", Content::bytes(*b""));
    tree.file("/one", Content::bytes(*b"1")).uid = 70_000;
    for (number, len) in [511, 512, 4095, 4096, 4097, 65_536, 65_537, 300_000].iter().enumerate() {
        let meta = tree.file(format!("/size/{len}"), Content::seeded(number as u64, *len));
        meta.mtime_s = 1_700_000_000 + number as i64;
        meta.mtime_ns = 5;
    }
    tree.file("/twin", Content::seeded(7, 300_000));
    let mut sparse = Content::hole(1 << 20);
    sparse.put(200_000, vec![9; 5000]).put(900_000, vec![8; 100]);
    tree.file("/sparse", sparse);
    tree.file("/zeros", Content::bytes(vec![0; 200_000]));
    tree.file("/nothing", Content::hole(100_000));
    for number in 0..700 {
        tree.file(format!("/many/file-{number:04}"), Content::bytes(number.to_string()));
    }
    tree.file("/many/!before-dot", Content::bytes(*b"!"));
    tree.file([b"/".as_slice(), &[b'n'; 255]].concat(), Content::bytes(*b"long"));
    tree.symlink("/link", "size/4096");
    tree.symlink("/long-link", vec![b't'; 3000]);
    tree.add("/dev/null", Kind::CharDevice(1, 3), 0o666);
    tree.add("/dev/far", Kind::BlockDevice(259, 300), 0o600);
    tree.add("/dev/pipe", Kind::Fifo, 0o600);
    tree.hard_link("/size/again", "/size/4097");
    for path in ["/one", "/twin", "/many", "/link"] {
        let meta = tree.meta_mut(path).unwrap();
        meta.xattrs.push(("user.shared".into(), b"the same everywhere".to_vec()));
        meta.xattrs.push(("user.own".into(), path.as_bytes().to_vec()));
    }
    let meta = tree.meta_mut("/twin").unwrap();
    meta.xattrs.push(("security.capability".into(), vec![3; 1800]));
    tree
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("rootlet-sim-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs fsck.erofs 1.5; `None` (with a loud word) where it is not installed.
fn fsck(built: &Built, dir: &Path, extract: bool) -> Option<()> {
    if Command::new("fsck.erofs").arg("-V").output().is_err() {
        eprintln!("SKIPPED: fsck.erofs is not installed; install erofs-utils to run this check");
        return None;
    }
    let image = dir.join("image");
    built.image.write_to(&image).unwrap();
    let mut command = Command::new("fsck.erofs");
    for (number, blob) in built.blobs.iter().enumerate() {
        let path = dir.join(format!("blob{number}"));
        blob.write_to(&path).unwrap();
        command.arg(format!("--device={}", path.display()));
    }
    if extract {
        command.arg(format!("--extract={}", dir.join("out").display()));
        command.arg("--overwrite");
    }
    let output = command.arg(&image).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("<E>"), "fsck: {said}");
    Some(())
}

fn variants() -> Vec<(String, Options)> {
    let layouts = [
        FileLayout::Plain,
        FileLayout::Inline,
        FileLayout::ChunkMap,
        FileLayout::ChunkIndexes,
        FileLayout::ChunkIndexes48,
    ];
    let mut variants = Vec::new();
    for layout in layouts {
        for inodes in [Inodes::Compact, Inodes::Extended, Inodes::Lossless] {
            for blobs in [0, 1, 3] {
                for block_bits in [9, 10, 12, 16] {
                    let options = Options {
                        layout,
                        inodes,
                        blobs,
                        block_bits,
                        holes: Holes::Stored,
                        ..Options::default()
                    };
                    let name = format!("{layout:?} {inodes:?} {blobs} blobs 2^{block_bits}");
                    variants.push((name, options));
                }
            }
        }
    }
    variants
}

/// A second opinion on the layout: a reader of chunk maps and flat files that knows only the
/// format, the bytes, and where an inode is.
fn read_back(image: &Image, blobs: &[Blob], path: &[u8], block: u64) -> Vec<u8> {
    let bytes = image.bytes();
    let at = image.inode_at(path) as usize;
    let format = u16_at(bytes, at);
    let extended = format & 1 != 0;
    let size = if extended { u64_at(bytes, at + 8) } else { u32_at(bytes, at + 8).into() };
    let union = u32_at(bytes, at + 16);
    let icount = usize::from(u16_at(bytes, at + 2));
    let xattrs = if icount == 0 { 0 } else { 12 + 4 * (icount - 1) };
    let body = at + if extended { 64 } else { 32 } + xattrs;
    let slots: Vec<u64> = (0..blobs.len())
        .map(|n| u32_at(bytes, image.device_slot_at(n as u16 + 1) as usize + 68).into())
        .collect();
    let fetch = |device: usize, at: u64, len: u64| -> Vec<u8> {
        let in_blob = |n: usize, at: u64| {
            let start = (at - blobs[n].lead_bytes) as usize;
            blobs[n].data[start..start + len as usize].to_vec()
        };
        if device > 0 {
            return in_blob(device - 1, at);
        }
        match slots.iter().rposition(|start| *start > 0 && at >= start * block) {
            Some(n) => in_blob(n, at - slots[n] * block),
            None => bytes[at as usize..(at + len) as usize].to_vec(),
        }
    };
    let mut out = Vec::new();
    let layout = (format >> 1) & 7;
    if layout != 4 {
        let whole = if layout == 2 { size - size % block } else { size };
        if whole > 0 {
            out = fetch(0, u64::from(union) * block, whole);
        }
        out.extend_from_slice(&bytes[body..body + (size - whole) as usize]);
        return out;
    }
    let chunk = block << (union & 0x1f);
    let entry = if union & 0x20 != 0 { 8 } else { 4 };
    let map = body.next_multiple_of(entry);
    for number in 0..size.div_ceil(chunk) {
        let at = map + number as usize * entry;
        let len = chunk.min(size - number * chunk);
        let low = u32_at(bytes, if entry == 8 { at + 4 } else { at });
        let device = if entry == 8 { usize::from(u16_at(bytes, at + 2)) } else { 0 };
        let high = if union & 0x40 != 0 { u16_at(bytes, at) } else { 0 };
        if low == u32::MAX {
            out.resize(out.len() + len as usize, 0);
        } else {
            let address = (u64::from(high) << 32 | u64::from(low)) * block;
            out.extend_from_slice(&fetch(device, address, len));
        }
    }
    out
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn every_layout_reads_back_from_raw_fields() {
    let tree = sample();
    for (number, (name, options)) in variants().into_iter().enumerate() {
        let holes = [Holes::Stored, Holes::Sparse, Holes::Zero][number % 3];
        let options = Options { holes, ..options };
        let built = build(&tree, &options).unwrap();
        for (path, node) in tree.walk() {
            let Kind::File(content) = &tree.nodes()[node].kind else { continue };
            let got = read_back(&built.image, &built.blobs, &path, 1 << options.block_bits);
            assert!(got == content.to_vec(), "{name} {holes:?}: {}", path.escape_ascii());
        }
    }
}

#[test]
fn fsck_accepts_every_layout_with_4k_blocks() {
    let tree = sample();
    let scratch = Scratch::new("fsck");
    for (name, options) in variants() {
        if options.block_bits != 12 || options.layout == FileLayout::ChunkIndexes48 {
            continue; // newer than fsck 1.5
        }
        println!("{name}");
        let built = build(&tree, &options).unwrap();
        if fsck(&built, &scratch.0, false).is_none() {
            return;
        }
    }
}

#[test]
fn fsck_extracts_the_same_tree() {
    let tree = sample();
    for (number, layout) in [FileLayout::ChunkIndexes, FileLayout::Inline].into_iter().enumerate() {
        let scratch = Scratch::new(&format!("extract{number}"));
        let options = Options {
            layout,
            blobs: 3,
            holes: Holes::Stored,
            xattrs: XattrPlace::Inline,
            ..Options::default()
        };
        let built = build(&tree, &options).unwrap();
        if fsck(&built, &scratch.0, true).is_none() {
            return;
        }
        for (path, node) in tree.walk() {
            let path = String::from_utf8(path).unwrap();
            let host = scratch.0.join("out").join(&path[1..]);
            match &tree.nodes()[node].kind {
                Kind::File(content) => {
                    assert!(fs::read(&host).unwrap() == content.to_vec(), "{path}")
                }
                Kind::Symlink(target) => {
                    let got = fs::read_link(&host).unwrap().into_os_string().into_encoded_bytes();
                    assert_eq!(&got, target, "{path}");
                }
                Kind::Dir(_) => assert!(host.is_dir(), "{path}"),
                _ => {}
            }
        }
    }
}

#[test]
fn dump_reports_a_files_facts() {
    let tree = sample();
    let scratch = Scratch::new("dump");
    let built = build(&tree, &Options::default()).unwrap();
    let image = scratch.0.join("image");
    built.image.write_to(&image).unwrap();
    let run = Command::new("dump.erofs").arg("--path=/size/4097").arg(&image).output();
    let Ok(output) = run else {
        eprintln!("SKIPPED: dump.erofs is not installed; install erofs-utils to run this check");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let nid = built.image.nid("/size/4097");
    assert!(said.contains(&format!("NID: {nid}")) && said.contains("Links: 2"), "{said}");
    assert!(said.contains("Size: 4097"), "{said}");
}

#[test]
fn same_options_give_the_same_bytes() {
    for spread in [Spread::RoundRobin, Spread::Hash, Spread::Seeded(4)] {
        let options = Options { blobs: 5, spread, ..Options::default() };
        let first = build(&sample(), &options).unwrap();
        let second = build(&sample(), &options).unwrap();
        assert_eq!(first.image.bytes(), second.image.bytes());
        assert_eq!(first.blobs, second.blobs);
        assert!(first.blobs.iter().all(|blob| !blob.data.is_empty()), "{spread:?} spreads");
    }
}

#[test]
fn equal_chunks_are_stored_once_with_dedupe_only() {
    let mut tree = Tree::new();
    tree.file("/a", Content::seeded(1, 200_000));
    tree.file("/b", Content::seeded(1, 200_000));
    let total = |dedupe| -> usize {
        let options = Options { blobs: 2, dedupe, ..Options::default() };
        build(&tree, &options).unwrap().blobs.iter().map(|blob| blob.data.len()).sum()
    };
    assert_eq!(total(true) * 2, total(false));
}

#[test]
fn located_places_hold_what_they_say() {
    let tree = sample();
    for dot_omitted in [false, true] {
        let options = Options { blobs: 2, dot_omitted, ..Options::default() };
        let image = build(&tree, &options).unwrap().image;
        for (path, node) in tree.walk().into_iter().skip(1) {
            let at = image.dirent_at(&path) as usize;
            assert_eq!(u64_at(image.bytes(), at), image.nid(&path), "{}", path.escape_ascii());
            assert_eq!(image.bytes()[at + 10], tree.nodes()[node].file_type());
            let mode = u16_at(image.bytes(), image.inode_at(&path) as usize + 4);
            assert_eq!(mode, tree.nodes()[node].st_mode());
        }
        let up = image.dirent_at("/many/..") as usize;
        assert_eq!(u64_at(image.bytes(), up), image.nid("/"));
    }
}

#[test]
fn inline_tails_stay_inside_a_block() {
    let mut tree = sample();
    for len in 0..600 {
        tree.file(format!("/tails/{len:03}"), Content::seeded(len, len as usize * 7));
    }
    for block_bits in [9, 12] {
        let block = 1 << block_bits;
        let options = Options { layout: FileLayout::Inline, block_bits, ..Options::default() };
        let image = build(&tree, &options).unwrap().image;
        let mut touching = 0;
        for (path, _) in tree.walk() {
            let found = image.locate(&path);
            let Some(at) = found.body_at else { continue };
            assert!(at % block + found.body_bytes <= block, "{}", path.escape_ascii());
            touching += u32::from(at % block + found.body_bytes + 64 > block);
        }
        assert!(touching > 5, "some tails end near the end of a block");
    }
}

#[test]
fn tail_that_fits_beside_no_inode_gets_a_block_of_its_own() {
    let mut tree = Tree::new();
    // 32 bytes of inode and 24 of xattrs leave the tail at 56 modulo 32 or later in any block.
    let meta = tree.file("/full", Content::seeded(1, 511));
    meta.xattrs.push(("user.abc".into(), vec![1; 5]));
    let options = Options { layout: FileLayout::Inline, block_bits: 9, ..Options::default() };
    let options = Options { xattrs: XattrPlace::Inline, ..options };
    let built = build(&tree, &options).unwrap();
    assert_eq!(built.image.locate("/full").body_at, None);
    let got = read_back(&built.image, &[], b"/full", 512);
    assert_eq!(got, tree.content("/full").unwrap().to_vec());
}

#[test]
fn slots_carry_tag_length_and_place_or_nothing() {
    let tree = sample();
    let tags = vec![b"first".to_vec(), vec![b'x'; 64]];
    let options = Options { blobs: 2, tags, ..Options::default() };
    let built = build(&tree, &options).unwrap();
    let bytes = built.image.bytes();
    let slot = built.image.device_slot_at(2) as usize;
    assert_eq!(&bytes[slot..slot + 64], &[b'x'; 64]);
    let first = built.image.device_slot_at(1) as usize;
    let blocks = |n: usize| built.blobs[n].bytes() as u32 / 4096;
    assert_eq!(u32_at(bytes, first + 64), blocks(0));
    assert_eq!(u32_at(bytes, first + 68), bytes.len() as u32 / 4096);
    assert_eq!(u32_at(bytes, slot + 68), u32_at(bytes, first + 68) + blocks(0));

    let bare = Options { blobs: 2, slot_blocks: false, uniaddr: false, ..Options::default() };
    let image = build(&tree, &bare).unwrap().image;
    assert_eq!(image.bytes()[image.device_slot_at(1) as usize..][..256], [0; 256]);
}

#[test]
fn flattened_image_holds_its_blobs_at_their_uniaddr() {
    let tree = sample();
    let split = Options { blobs: 3, ..Options::default() };
    let flat = Options { flattened: true, ..split.clone() };
    let split = build(&tree, &split).unwrap();
    let flat = build(&tree, &flat).unwrap();
    assert!(flat.blobs.is_empty());
    for (n, blob) in split.blobs.iter().enumerate() {
        let slot = flat.image.device_slot_at(n as u16 + 1) as usize;
        let start = u32_at(flat.image.bytes(), slot + 68) as usize * 4096;
        assert_eq!(&flat.image.bytes()[start..start + blob.data.len()], blob.data.as_slice());
    }
}

#[test]
fn high_block_numbers_use_the_high_word() {
    let mut tree = Tree::new();
    tree.file("/far", Content::seeded(3, 100_000));
    let lead_blocks = (1 << 32) + 5;
    let far =
        Options { layout: FileLayout::ChunkIndexes48, blobs: 1, lead_blocks, ..Options::default() };
    let image = build(&tree, &far).unwrap().image;
    let entry = image.chunk_entry_at("/far", 1) as usize;
    assert_eq!(u16_at(image.bytes(), entry), 1, "high");
    assert_eq!(u16_at(image.bytes(), entry + 2), 1, "device");
    assert_eq!(u32_at(image.bytes(), entry + 4), 5 + 16, "low");

    let near = Options { layout: FileLayout::ChunkIndexes, ..far };
    assert!(matches!(build(&tree, &near), Err(BuildError::Node(..))));
}

#[test]
fn flat_hole_has_a_null_start_block() {
    let mut tree = Tree::new();
    tree.file("/hole", Content::hole(10_000));
    for inodes in [Inodes::Compact, Inodes::Extended] {
        let options =
            Options { layout: FileLayout::Plain, flat_holes: true, inodes, ..Options::default() };
        let image = build(&tree, &options).unwrap().image;
        let at = image.inode_at("/hole") as usize;
        assert_eq!(u32_at(image.bytes(), at + 16), u32::MAX);
        let nb = if inodes == Inodes::Compact { 1 } else { 0xffff };
        assert_eq!(u16_at(image.bytes(), at + 6), nb);
    }
}

#[test]
fn patch_breaks_the_checksum_until_it_is_fixed() {
    let scratch = Scratch::new("crc");
    let mut built = build(&sample(), &Options::default()).unwrap();
    let before = u32_at(built.image.bytes(), 1028);
    built.image.patch(1024 + 64, b"renamed");
    assert_eq!(u32_at(built.image.bytes(), 1028), before);
    built.image.fix_checksum();
    assert_ne!(u32_at(built.image.bytes(), 1028), before);
    fsck(&built, &scratch.0, false);
}

#[test]
fn contradictions_are_refused() {
    let tree = sample();
    let no_way = [
        Options { block_bits: 8, ..Options::default() },
        Options { chunk_bits: 11, ..Options::default() },
        Options { tags: vec![vec![0; 65]], blobs: 1, ..Options::default() },
        Options { uniaddr: false, flattened: true, ..Options::default() },
        Options { uniaddr: false, blobs: 1, layout: FileLayout::ChunkMap, ..Options::default() },
        Options { slot_blocks: false, blobs: 1, layout: FileLayout::Plain, ..Options::default() },
    ];
    for options in no_way {
        assert!(matches!(build(&tree, &options), Err(BuildError::Options(_))), "{options:?}");
    }
}

#[test]
fn single_paths_can_have_other_layouts() {
    let tree = sample();
    let layouts = BTreeMap::from([
        (b"/one".to_vec(), FileLayout::Inline),
        (b"/twin".to_vec(), FileLayout::ChunkMap),
    ]);
    let image = build(&tree, &Options { layouts, ..Options::default() }).unwrap().image;
    let layout = |path| (image.bytes()[image.inode_at(path) as usize] >> 1) & 7;
    assert_eq!((layout("/one"), layout("/twin"), layout("/sparse")), (2, 4, 4));
    assert_eq!(image.locate("/twin").entry_bytes, 4);
    assert_eq!(image.locate("/sparse").entry_bytes, 8);
}

#[test]
fn host_tree_keeps_modes_links_times_and_holes() {
    let scratch = Scratch::new("host");
    let dir = scratch.0.join("tree");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/a"), b"hello").unwrap();
    fs::hard_link(dir.join("sub/a"), dir.join("b")).unwrap();
    std::os::unix::fs::symlink("sub/a", dir.join("l")).unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[7; 5000], 500_000).unwrap();
    drop(sparse);
    let tree = Tree::from_host(&dir).unwrap();
    assert_eq!(tree.find("/b"), tree.find("/sub/a"));
    assert_eq!(tree.get("/l").unwrap().kind, Kind::Symlink(b"sub/a".to_vec()));
    let content = tree.content("/sparse").unwrap();
    assert_eq!(content.to_vec(), fs::read(dir.join("sparse")).unwrap());
    assert!(content.is_hole(0..490_000) && !content.is_hole(0..500_001));
    let stat = fs::metadata(dir.join("b")).unwrap();
    let meta = &tree.get("/b").unwrap().meta;
    assert_eq!(meta.mtime_s, std::os::unix::fs::MetadataExt::mtime(&stat));
    assert_eq!(u32::from(meta.mode), std::os::unix::fs::MetadataExt::mode(&stat) & 0o7777);
    build(&tree, &Options { blobs: 2, ..Options::default() }).unwrap();
}
