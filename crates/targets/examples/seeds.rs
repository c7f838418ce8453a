//! Writes the first seeds of every target into `tests/data/seeds`; what fuzzing found lies beside
//! them.
//!
//! Always: the same bytes every time.

use std::fs;
use std::path::Path;

use rootlet_sim::Rng;
use rootlet_sim::image::{Content, FileLayout, Options, Tree, XattrPlace, build};

fn put(target: &str, name: &str, bytes: &[u8]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/seeds").join(target);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(name), bytes).unwrap();
}

fn main() {
    images();
    golden();
    maps();
    streams();
    replies();
    regions();
}

/// Small images of every layout, in blocks of 512 bytes.
fn images() {
    let mut tree = Tree::new();
    tree.file("/a", Content::bytes(*b"hello")).xattrs.push(("user.a".into(), b"1".to_vec()));
    tree.file("/dir/b", Content::seeded(1, 1500)).xattrs.push(("user.a".into(), b"1".to_vec()));
    tree.file("/dir/hole", Content::hole(3000));
    tree.symlink("/dir/up", "../a");
    let layouts = [
        ("plain", FileLayout::Plain),
        ("inline", FileLayout::Inline),
        ("chunk-map", FileLayout::ChunkMap),
        ("chunk-index", FileLayout::ChunkIndexes),
        ("chunk-48", FileLayout::ChunkIndexes48),
    ];
    for (name, layout) in layouts {
        let options = Options {
            block_bits: 9,
            chunk_bits: 10,
            layout,
            dot_omitted: layout == FileLayout::ChunkIndexes48,
            xattrs: XattrPlace::SharedIfRepeated,
            ..Options::default()
        };
        put("image", name, build(&tree, &options).unwrap().image.bytes());
    }
    put("image", "mkfs", include_bytes!("../../../tests/data/tiny.erofs"));
}

/// One change of each kind of place in each image.
fn golden() {
    for base in 0..24_u8 {
        let mut rng = Rng::new(base.into());
        let mut bytes = vec![base];
        bytes.extend((rng.next_u64() as u16).to_le_bytes());
        for kind in 0..8 {
            let mut record = [0; 10];
            rng.fill(&mut record);
            record[0] = kind;
            bytes.extend(record);
        }
        put("golden", &format!("base-{base:02}"), &bytes);
    }
}

/// Maps by their forms: [how, block bits, algorithms, size, first byte], then the bytes after the
/// inode: 8 bytes of header and the index.
fn maps() {
    let map = |name: &str, how: u8, size: u64, behind: &[&[u8]]| {
        let mut bytes = vec![how, 0, 15];
        bytes.extend(&size.to_le_bytes()[..6]);
        bytes.extend([0; 6]);
        behind.iter().for_each(|part| bytes.extend(*part));
        put("map", name, &bytes);
    };
    let (head, behind) = ([1, 0, 0, 0, 5, 0, 0, 0], [2, 0, 0, 0, 1, 0, 1, 0]);
    map("full", 3, 1500, &[&[0; 8], &[0; 8], &head, &behind, &head]);
    // Pclusters of several blocks: the block count after the head.
    let counted = [2, 0, 0, 0, 2, 8, 1, 0];
    map("big", 3, 2000, &[&[0, 0, 0, 0, 2, 0, 0x10, 0], &[0; 8], &head, &counted, &behind, &head]);
    map("compact", 1, 9000, &[&[0, 0, 0, 0, 1, 0, 0, 0], &[0x11; 120]]);
    map("compact-big", 1, 9000, &[&[0, 0, 0, 0, 7, 0, 0, 0], &[0x2d; 120]]);
    map("inline", 3, 1500, &[&[0, 0, 100, 0, 8, 0, 0, 0], &[0; 8], &head, &behind, &head]);
    map("fragment", 3, 1500, &[&[9, 0, 0, 0, 0x20, 0, 0, 0], &[0; 8], &head, &behind, &head]);
    map("whole", 3, 1500, &[&[9, 0, 0, 0, 0, 0, 0, 0x80]]);
    for (name, size) in
        [("records-4", 0_u8), ("records-8", 2), ("records-16", 4), ("records-32", 6)]
    {
        let advise = [3, 0, 0, 0, 1 | size << 1, 0, 0, 0];
        map(name, 3, 1500, &[&advise, &[1; 8], &[9; 32], &[3; 32], &[8; 32], &[2; 32]]);
    }
}

/// Data to be encoded, and some bytes to be decoded as they are.
fn streams() {
    let mut text = Vec::new();
    for number in 0..300_u32 {
        text.extend(format!("line {} of {number}\n", number % 7).bytes());
    }
    let mut noise = vec![0; 700];
    Rng::new(1).fill(&mut noise);
    let head = |how: u8, skip: u32, len: u32| {
        let mut head = vec![how, 0];
        head.extend(&skip.to_le_bytes()[..3]);
        head.extend(&len.to_le_bytes()[..3]);
        head
    };
    let streams: [(&str, &[u8]); 4] = [
        ("lz4", &[0x4f, b'a', b'b', b'c', b'd', 4, 0, 50, 0x10, b'z']),
        ("micro_lzma", &[0xa2, 0x20, 0x90, 0x80, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("deflate", &[0x4b, 0x4c, 0x4a, 0x4e, 0x49, 0x44, 0x22, 0x00]),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x29, 0, 0, 1, 2, 3, 4, 5]),
    ];
    for (target, stream) in streams {
        put(target, "stream", &[head(0, 3, 20), stream.to_vec()].concat());
        put(target, "stream-exact", &[head(1, 1, 5), stream.to_vec()].concat());
        put(target, "text", &[head(2, 1000, 0), text.clone()].concat());
        put(target, "noise", &[head(2, 100, 0), noise.clone()].concat());
        put(target, "zeros", &[head(2, 9, 0), vec![0; 5000]].concat());
    }
}

/// Replies of a daemon that opens `file`: [how, length of the body, body].
fn replies() {
    let node = |mode: u32| {
        let mut attr = vec![0; 88];
        attr[8..16].copy_from_slice(&77_u64.to_le_bytes());
        attr[60..64].copy_from_slice(&mode.to_le_bytes());
        attr
    };
    let mut init = vec![0; 64];
    init[..8].copy_from_slice(&[7, 0, 0, 0, 38, 0, 0, 0]);
    let found = |mode| [vec![2, 0, 0, 0, 0, 0, 0, 0], vec![0; 32], node(mode)].concat();
    let (lookup, dir) = (found(0o100_644), found(0o040_755));
    let attr = [vec![0; 16], node(0o100_644)].concat();
    let open = vec![9; 16];
    let reply = |body: &[u8]| [&[0, body.len() as u8], body].concat();
    let mut bytes = vec![0];
    for body in [&init, &lookup, &attr, &open] {
        bytes.extend(reply(body));
    }
    put("fuse", "opens", &bytes);
    put("fuse", "refuses", &[0, 2, 0]);
    let mut deep = [vec![1], reply(&init), reply(&dir)].concat();
    // Once the next name is known, the directory is given back: a byte for how that goes.
    for body in [&dir, &dir, &dir, &dir, &lookup] {
        deep.extend([reply(body), vec![0]].concat());
    }
    deep.extend([reply(&attr), reply(&open)].concat());
    put("fuse", "deep", &deep);
}

/// Changes of a region: [kind, offset, value].
fn regions() {
    for kind in [0, 1, 2, 3, 4, 5, 6, 0x38, 0x3a, 0x44, 0x80] {
        let bytes = [kind, 72, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        put("region", &format!("one-{kind:02x}"), &bytes);
    }
    put("region", "none", &[]);
}
