//! Inodes that lie: sizes, places that need more than 32 bits, symlinks, tails.

use rootlet::erofs::{Corrupt, Nid, Part};
use rootlet_sim::image::{Built, Content, FileLayout, Inodes, Options, Tree, XattrPlace, build};

use crate::case::{Act, Case};
use crate::classes::Family;
use crate::craft::{self, Craft};

pub const CLASSES: Family = &[
    ("i_size negative", negative),
    ("i_size huge", huge),
    ("i_size beyond the map", beyond_the_map),
    ("32-bit truncation of offsets", truncated),
    ("symlink size overflow", symlink),
    ("inline data crossing a block", crossing),
];

/// A file of each layout, a symlink and a directory, all in extended inodes.
fn sound() -> Built {
    let mut tree = Tree::new();
    let meta = tree.file("/chunked", Content::seeded(1, 300_000));
    meta.xattrs.push(("user.name".into(), b"value".to_vec()));
    tree.file("/inline", Content::seeded(2, 5_000));
    tree.file("/plain", Content::seeded(3, 10_000));
    tree.file("/dir/file", Content::hole(0));
    tree.symlink("/link", "inline");
    tree.file("/good", Content::bytes(*b"good"));
    let layouts =
        [(b"/chunked".to_vec(), FileLayout::ChunkIndexes), (b"/plain".to_vec(), FileLayout::Plain)];
    let options = Options {
        layout: FileLayout::Inline,
        layouts: layouts.into(),
        inodes: Inodes::Extended,
        xattrs: XattrPlace::Shared,
        ..Options::default()
    };
    build(&tree, &options).unwrap()
}

/// The image with another size of `path`.
fn sized(path: &str, size: u64) -> Built {
    let mut built = sound();
    let at = built.image.inode_at(path) + 8;
    built.image.patch(at, &size.to_le_bytes());
    built
}

fn nid(path: &str) -> Nid {
    Nid(sound().image.nid(path))
}

fn image_bytes() -> u64 {
    sound().image.bytes().len() as u64
}

/// Where the blocks of a flat file begin.
fn start(path: &str) -> u64 {
    sound().image.locate(path).data_at.unwrap() / 4096
}

fn negative() -> Vec<Case> {
    ["/plain", "/inline", "/chunked", "/dir", "/link"]
        .into_iter()
        .flat_map(|path| [1 << 63, u64::MAX].map(|size| (path, size)))
        .map(|(path, size)| {
            let fault = Corrupt::Size { nid: nid(path), size };
            Case::corrupt(path, sized(path, size), Act::Find(path), fault)
        })
        .collect()
}

fn huge() -> Vec<Case> {
    let size = (1 << 63) - 1;
    let image_blocks = image_bytes() / 4096;
    let flat = |path, start, blocks| {
        let fault = Corrupt::DataBeyondImage { nid: nid(path), start, blocks, image_blocks };
        Case::corrupt(path, sized(path, size), Act::Find(path), fault)
    };
    let dir_at = sound().image.inode_at("/dir") as usize + 16;
    let dir_start =
        u32::from_le_bytes(sound().image.bytes()[dir_at..dir_at + 4].try_into().unwrap());
    // A file that is one hole may be of any size: its zeros cost nothing.
    let mut hole = sized("/plain", size);
    let at = hole.image.inode_at("/plain");
    hole.image.patch(at + 16, &[0xff; 4]).patch(at + 6, &[0xff; 2]);
    let read = Act::Read("/plain", size - 70_000, 100_000);
    vec![
        flat("/plain", start("/plain"), 1 << 51),
        flat("/inline", start("/inline"), (1 << 51) - 1),
        flat("/dir", dir_start.into(), (1 << 51) - 1),
        Case::new("one hole", hole, read, Ok(vec![0; 70_000])),
    ]
}

fn beyond_the_map() -> Vec<Case> {
    let map_at = sound().image.chunk_entry_at("/chunked", 0);
    let part = Part::ChunkMap(nid("/chunked"));
    let chunked = |name, size, len| {
        let fault = Corrupt::BeyondImage { part, at: map_at, len, image: image_bytes() };
        Case::corrupt(name, sized("/chunked", size), Act::Find("/chunked"), fault)
    };
    let compressed = |name, layout, skip, len| {
        let mut craft = Craft::new(12);
        let size = (1 << 63) - 1;
        let nid = craft.file(layout, size, craft::header(0, 0, 0, 0), &[]);
        let built = craft.done();
        let image = built.image.bytes().len() as u64;
        let (part, at) = (Part::CompressedMap(nid), nid.0 * 32 + 64 + skip);
        let fault = Corrupt::BeyondImage { part, at, len, image };
        Case::corrupt(name, built, Act::Read("/file", 0, 1), fault)
    };
    vec![
        chunked("chunks, a few too many", 1 << 40, 8 << 24),
        chunked("chunks, as many as there can be", (1 << 63) - 1, 8 << 47),
        compressed("full index", craft::FULL, 16, 8 << 51),
        compressed("compact index", craft::COMPACT, 8, 4 << 51),
    ]
}

fn truncated() -> Vec<Case> {
    let image = image_bytes();
    // Block 2^20 of 4 KiB is byte 2^32, whose low half is byte 0.
    let mut chunk = sound();
    let at = chunk.image.chunk_entry_at("/chunked", 0);
    chunk.image.patch(at + 4, &(1_u32 << 20).to_le_bytes());
    let no_block =
        Corrupt::BlockBeyondSlot { slot: 0, block: 1 << 20, blocks: image_bytes() / 4096 };
    // Slot 2^27 of 32 bytes is byte 2^32.
    let far = Nid((1 << 27) + nid("/good").0);
    let mut entry = sound();
    let at = entry.image.dirent_at("/inline");
    entry.image.patch(at, &far.0.to_le_bytes());
    let part = Part::Inode(far);
    let no_inode = Corrupt::BeyondImage { part, at: far.0 * 32, len: 32, image };
    // Shared xattr 2^30 of 4 bytes, 2^32 bytes after the block of xattrs.
    let mut shared = sound();
    let at = shared.image.locate("/chunked").xattr_at.unwrap() + 12;
    shared.image.patch(at, &(1_u32 << 30).to_le_bytes());
    let (part, at) = (Part::SharedXattr(1 << 30), (1 << 32) + 4096);
    let no_xattr = Corrupt::BeyondImage { part, at, len: 4, image };
    let inline = nid("/inline");
    let blocks = (1 << 20) + 1;
    let (start, image_blocks) = (start("/inline"), image / 4096);
    let no_data = Corrupt::DataBeyondImage { nid: inline, start, blocks, image_blocks };
    vec![
        Case::corrupt("block of a chunk", chunk, Act::Read("/chunked", 0, 9), no_block),
        Case::corrupt("inode", entry, Act::Find("/inline"), no_inode),
        Case::corrupt("shared xattr", shared, Act::Xattrs("/chunked"), no_xattr),
        Case::corrupt("size", sized("/inline", (1 << 32) + 5000), Act::Find("/inline"), no_data),
        beyond_4_gib("bytes beyond 4 GiB of a blob", 1 << 20, 0),
        beyond_4_gib("bytes across 4 GiB of a blob", (1 << 20) - 1, 0),
        beyond_4_gib("bytes beyond 4 GiB of a file", 1, 1 << 32),
    ]
}

/// A file whose bytes from `from` on lie some blocks into a blob.
fn beyond_4_gib(name: &'static str, lead_blocks: u64, from: u64) -> Case {
    let mut content = Content::hole(from);
    content.put(from, vec![7; 9_000]);
    let mut tree = Tree::new();
    tree.file("/file", content);
    tree.file("/good", Content::bytes(*b"good"));
    let layouts = [(b"/good".to_vec(), FileLayout::Inline)];
    let options = Options { blobs: 1, lead_blocks, layouts: layouts.into(), ..Options::default() };
    let built = build(&tree, &options).unwrap();
    Case::new(name, built, Act::Read("/file", from, 10_000), Ok(vec![7; 9_000]))
}

fn symlink() -> Vec<Case> {
    [4097, 5000, 0xffff, (1 << 32) + 6, (1 << 63) - 1]
        .into_iter()
        .map(|size| {
            let fault = Corrupt::SymlinkSize { nid: nid("/link"), size };
            Case::corrupt("longer than a path", sized("/link", size), Act::Link("/link"), fault)
        })
        .collect()
}

fn crossing() -> Vec<Case> {
    let crossing = |path, size| {
        let (at, len) = (sound().image.locate(path).body_at.unwrap(), size % 4096);
        let fault = Corrupt::TailCrossesBlock { nid: nid(path), at, len, block: 4096 };
        Case::corrupt(path, sized(path, size), Act::Find(path), fault)
    };
    // The last byte of the block is still in it.
    let at = sound().image.locate("/inline").body_at.unwrap();
    let most = 4096 - at % 4096;
    let tail = sound().image.bytes()[at as usize..][..most as usize].to_vec();
    let whole = sized("/inline", 4096 + most);
    vec![
        crossing("/inline", 8191),
        crossing("/inline", 4096 + most + 1),
        crossing("/link", 4095),
        crossing("/dir", 4095),
        Case::new("to the last byte", whole, Act::Read("/inline", 4096, 5000), Ok(tail)),
    ]
}
