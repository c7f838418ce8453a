//! Xattrs that lie: counts, lengths, prefixes.

use rootlet::erofs::{Corrupt, Nid, Part};
use rootlet_sim::image::{Built, Content, FileLayout, Options, Tree, XattrPlace, build};

use crate::case::{Act, Case};
use crate::classes::Family;
use crate::craft::{Craft, XATTR_PREFIXES};

pub const CLASSES: Family = &[
    ("shared xattr count beyond the body", count),
    ("xattr entry list overrun", overrun),
    ("xattr prefix id beyond the table", prefix),
];

/// A body of 28 bytes: 12 and one entry of 16, or one id.
fn sound(xattrs: XattrPlace) -> Built {
    let mut tree = Tree::new();
    let meta = tree.file("/file", Content::bytes(*b"file"));
    meta.xattrs.push(("user.name".into(), b"value".to_vec()));
    tree.file("/good", Content::bytes(*b"good"));
    let options = Options { layout: FileLayout::Inline, xattrs, ..Options::default() };
    build(&tree, &options).unwrap()
}

/// Bytes of the xattrs of `/file` overwritten.
fn patched(place: XattrPlace, at: u64, bytes: &[u8]) -> (Built, Nid) {
    let mut built = sound(place);
    let body = built.image.locate("/file").xattr_at.unwrap();
    built.image.patch(body + at, bytes);
    let nid = Nid(built.image.nid("/file"));
    (built, nid)
}

const LIST: Act = Act::Xattrs("/file");
const ONE: Act = Act::Xattr("/file", "user.other");

fn count() -> Vec<Case> {
    [("listed", LIST), ("asked for by name", ONE)]
        .into_iter()
        .flat_map(|(name, act)| [5, 200, 255].map(|count| (name, act, count)))
        .map(|(name, act, count)| {
            let (built, nid) = patched(XattrPlace::Inline, 4, &[count]);
            Case::corrupt(name, built, act, Corrupt::SharedCount { nid, count, body: 28 })
        })
        .collect()
}

fn overrun() -> Vec<Case> {
    let entry = |name, act, at: u64, bytes: &[u8], need, from| {
        let (built, nid) = patched(XattrPlace::Inline, 12 + at, bytes);
        let part = Part::Xattrs(nid);
        let fault = Corrupt::XattrOverrun { part, at: from, need, left: 16 };
        Case::corrupt(name, built, act, fault)
    };
    // The id of a shared one near the end of the image: the header is there, the rest is not.
    let mut shared = sound(XattrPlace::Shared);
    let image = shared.image.bytes().len() as u64;
    let id = u32::try_from((image - 4096 - 4) / 4).unwrap();
    let at = shared.image.locate("/file").xattr_at.unwrap();
    shared.image.patch(at + 12, &id.to_le_bytes()).patch(image - 4, &[255, 1, 0xff, 0xff]);
    let part = Part::SharedXattr(id);
    let beyond = Corrupt::BeyondImage { part, at: image - 4, len: 4 + 255 + 65_535, image };
    let mut far = sound(XattrPlace::Shared);
    far.image.patch(at + 12, &[0xff, 0xff, 0xff, 0]);
    let part = Part::SharedXattr(0xff_ffff);
    let no_such = Corrupt::BeyondImage { part, at: 4096 + 4 * 0xff_ffff, len: 4, image };
    vec![
        entry("name too long", LIST, 0, &[200], 209, 12),
        entry("value too long", LIST, 2, &[0xff, 0xff], 65_543, 12),
        entry("by name, name too long", ONE, 0, &[200], 209, 12),
        entry("by name, value too long", ONE, 2, &[0xff, 0xff], 65_543, 12),
        Case::corrupt("shared, beyond the image", far, LIST, no_such),
        Case::corrupt("shared, half beyond the image", shared.clone(), LIST, beyond),
        Case::corrupt("shared and by name, half beyond the image", shared, ONE, beyond),
    ]
}

fn prefix() -> Vec<Case> {
    // Linux passes over what has no name, and so do we: padding, and what other tools wrote.
    let named = |name, act, prefixes, index| {
        let mut tree = Tree::new();
        let meta = tree.file("/file", Content::bytes(*b"file"));
        meta.xattrs.push(("user.name".into(), b"value".to_vec()));
        tree.file("/area", Content::bytes(vec![0; 196_608]));
        tree.file("/good", Content::bytes(*b"good"));
        let mut craft = Craft::of(&tree, 12);
        // One prefix: `user.` and `x.`.
        let table = craft.put(4, &[3, 0, 1, b'x', b'.', 0, 0, 0]);
        if prefixes > 0 {
            craft.features(XATTR_PREFIXES).superblock(8, &[0x11]);
            craft.superblock(91, &[prefixes]).superblock(92, &(table as u32 / 4).to_le_bytes());
        }
        let body = craft.built.image.locate("/file").xattr_at.unwrap();
        craft.patch(body + 13, &[index]);
        let known = index == 0x80 && prefixes == 1;
        let want = if known { b"user.x.name=value\n".to_vec() } else { Vec::new() };
        Case::new(name, craft.done(), act, Ok(want))
    };
    vec![
        named("the right one", LIST, 1, 0x80),
        named("one beyond", LIST, 1, 0x81),
        named("the last that can be named", LIST, 1, 0xff),
        named("without a table", LIST, 0, 0x83),
        named("one beyond, by name", ONE, 1, 0x81),
        named("an index without a meaning", LIST, 1, 5),
        named("an index without a meaning, by name", ONE, 1, 5),
        named("padding", LIST, 1, 0),
        named("padding, by name", ONE, 1, 0),
    ]
}
