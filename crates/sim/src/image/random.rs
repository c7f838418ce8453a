//! Random trees, and images of random layouts and devices made of them.
//!
//! Always: the same numbers give the same tree and the same image.

use super::{
    Built, Content, FileLayout, Holes, Inodes, Kind, Options, Spread, Tree, XattrPlace, build,
};
use crate::Rng;

/// One of these.
pub fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.index(from.len())]
}

/// A tree of a few dozen entries with odd names, times, owners and xattrs.
pub fn tree(rng: &mut Rng) -> Tree {
    let mut tree = Tree::new();
    let mut dirs = vec![Vec::new()];
    for number in 0..5 + rng.below(40) {
        let mut path = dirs[rng.index(dirs.len())].clone();
        path.push(b'/');
        path.extend(name(rng, number));
        match rng.below(10) {
            0 | 1 => {
                tree.dir(&path);
                dirs.push(path.clone());
            }
            2 => {
                tree.symlink(&path, pick(rng, &["a", "../b", "/", "/a/b", "long/../name"]));
            }
            3 => {
                tree.add(&path, Kind::CharDevice(rng.below(4096) as u32, 7), 0o600);
            }
            4 => {
                tree.add(&path, pick(rng, &[Kind::Fifo, Kind::Socket].each_ref()).clone(), 0);
            }
            _ => {
                tree.file(&path, content(rng));
            }
        }
        let node = &tree.get(&path).unwrap().kind;
        let (is_dir, is_file) = (matches!(node, Kind::Dir(_)), matches!(node, Kind::File(_)));
        let meta = tree.meta_mut(&path).unwrap();
        meta.uid = pick(rng, &[0, 1000, 65_535, 65_536, u32::MAX]);
        meta.gid = pick(rng, &[0, 5, 70_000]);
        meta.mtime_s = pick(rng, &[0, 1_700_000_000, 1 << 33, -1, -1_700_000_000]);
        // Some tools write a second and more of them.
        meta.mtime_ns = pick(rng, &[0, 1, 999_999_999, 1_000_000_000, u32::MAX]);
        if rng.chance(300_000) {
            // Linux has those of users and lists of files and directories only.
            let may = |name: &str| match name.split('.').next() {
                Some("system") => is_dir || is_file && name.ends_with("access"),
                Some("user") => is_dir || is_file,
                _ => true,
            };
            meta.xattrs = xattrs(rng);
            meta.xattrs.retain(|(name, _)| may(name));
        }
    }
    tree
}

/// An xattr or more, of each prefix that there is.
fn xattrs(rng: &mut Rng) -> Vec<(String, Vec<u8>)> {
    let mut xattrs = vec![
        ("user.a".to_owned(), vec![7; rng.index(300)]),
        ("security.b".to_owned(), b"shared".to_vec()),
        ("trusted.c".to_owned(), vec![rng.below(3) as u8; 20]),
        (format!("user.{}", "n".repeat(1 + rng.index(250))), Vec::new()),
        ("system.posix_acl_access".to_owned(), acl(rng)),
        ("system.posix_acl_default".to_owned(), acl(rng)),
    ];
    xattrs.retain(|_| rng.chance(500_000));
    xattrs
}

/// A list that Linux takes and shows as it is: the owner, a user, the group, a mask, all others.
fn acl(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    let user = 1 + rng.below(1000) as u32;
    for (tag, id) in [(1, u32::MAX), (2, user), (4, u32::MAX), (0x10, u32::MAX), (0x20, u32::MAX)] {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend((rng.below(8) as u16).to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// A name that no other number has.
fn name(rng: &mut Rng, number: u64) -> Vec<u8> {
    let mut name = format!("{number}-").into_bytes();
    let len = pick(rng, &[2, 3, 5, 9, 30, 100, 255]);
    while name.len() < len {
        name.push(pick(rng, b"abcxyz .-_\t\x01\x7f\xc3\xff"));
    }
    name
}

fn content(rng: &mut Rng) -> Content {
    let edge = pick(rng, &[0, 1, 512, 4096, 8192, 16_384, 65_536, 131_072, 200_000]);
    let size = (edge + rng.below(3)).saturating_sub(1);
    match rng.below(4) {
        0 => Content::hole(size),
        1 => {
            let mut content = Content::hole(size);
            let mut at = rng.below(20_000);
            while at + 5000 < size {
                let mut data = vec![0; 1 + rng.index(5000)];
                rng.fill(&mut data);
                content.put(at, data);
                at += 5000 + rng.below(100_000);
            }
            content
        }
        2 => Content::bytes(vec![b'x'; size as usize]),
        _ => Content::seeded(rng.next_u64(), size as usize),
    }
}

fn options(rng: &mut Rng, tree: &Tree) -> Options {
    let layouts = [
        FileLayout::Plain,
        FileLayout::Inline,
        FileLayout::ChunkMap,
        FileLayout::ChunkIndexes,
        FileLayout::ChunkIndexes48,
    ];
    let block_bits = pick(rng, &[9, 10, 12, 12, 12, 13, 16]);
    let mut options = Options {
        block_bits,
        inodes: pick(rng, &[Inodes::Compact, Inodes::Extended, Inodes::Lossless]),
        layout: pick(rng, &layouts),
        inline_dirs: rng.chance(500_000),
        chunk_bits: block_bits + rng.below(5) as u8,
        blobs: pick(rng, &[0, 0, 1, 2, 3, 5]),
        spread: pick(rng, &[Spread::RoundRobin, Spread::Hash, Spread::Seeded(3)]),
        primary_too: rng.chance(300_000),
        slot_blocks: rng.chance(700_000),
        uniaddr: rng.chance(800_000),
        dedupe: rng.chance(500_000),
        holes: pick(rng, &[Holes::Stored, Holes::Sparse, Holes::Zero]),
        flat_holes: rng.chance(500_000),
        lead_blocks: pick(rng, &[0, 0, 1, 100]),
        bits48: rng.chance(300_000),
        dot_omitted: rng.chance(200_000),
        xattrs: pick(rng, &[XattrPlace::Inline, XattrPlace::Shared, XattrPlace::SharedIfRepeated]),
        meta_at_zero: rng.chance(700_000),
        checksum: rng.chance(800_000),
        ..Options::default()
    };
    // Where a blob begins and ends in the image can only be told from both.
    options.flattened = options.slot_blocks && options.uniaddr && rng.chance(300_000);
    for (path, number) in tree.walk() {
        if matches!(tree.nodes()[number].kind, Kind::File(_)) && rng.chance(300_000) {
            options.layouts.insert(path, pick(rng, &layouts));
        }
    }
    options.tags = (0..options.blobs).map(|n| format!("tag-of-blob-{n}-and-more").into()).collect();
    options
}

/// Some options under which the tree has an image.
pub fn some_image(rng: &mut Rng, tree: &Tree) -> (Options, Built) {
    // A slot of no blocks in the image itself is one of unknown length: nothing leads to it.
    let has_empty_slot = |options: &Options, built: &Built| {
        (1..=options.blobs).any(|slot| {
            let at = built.image.device_slot_at(slot) as usize + 64;
            built.image.bytes()[at..at + 4] == [0; 4]
        })
    };
    let mut tries = (0..200).map(|_| options(rng, tree));
    let found = tries.find_map(|options| {
        let built = build(tree, &options).ok()?;
        let suits = !options.flattened || !has_empty_slot(&options, &built);
        suits.then_some((options, built))
    });
    found.unwrap_or_else(|| panic!("most options suit most trees"))
}
