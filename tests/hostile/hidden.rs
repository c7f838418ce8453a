//! The inodes that hold parts of others and stand in no directory: the packed inode and the
//! metabox.

use rootlet::erofs::{Corrupt, MapFault, Nid};

use crate::case::{Act, Case};
use crate::classes::Family;
use crate::craft::{self, Craft, FRAGMENTS, FULL, METABOX, PLAIN, full, head, header, inode};

pub const CLASSES: Family = &[
    ("fragment offset beyond the packed inode", beyond),
    ("fragment inside the packed inode", inside),
    ("packed inode in the metabox", packed_in_metabox),
    ("metabox within itself", within_itself),
];

/// The bit of a nid in the metabox, and of a map header of a file that is one fragment.
const HIGH: u64 = 1 << 63;
const FRAGMENT_TAIL: u16 = 0x20;
const READ: Act = Act::Read("/file", 0, 100);

/// A plain inode with these bytes.
fn plain(craft: &mut Craft, bytes: &[u8]) -> Nid {
    let block = craft.blocks(bytes);
    craft.inode(PLAIN, bytes.len() as u64, block, &[])
}

/// The map header of a file that is one fragment.
fn whole(at: u64) -> [u8; 8] {
    (HIGH | at).to_le_bytes()
}

/// A packed inode of 300 bytes, and `/file` as one fragment of it.
fn fragment(name: &'static str, size: u64, at: u64, want: Option<Vec<u8>>) -> Case {
    let mut craft = Craft::new(9);
    let bytes: Vec<u8> = (0..300_u32).map(|at| at as u8).collect();
    let packed = plain(&mut craft, &bytes);
    craft.packed(packed);
    let nid = craft.file(FULL, size, whole(at), &[]);
    let fault = Corrupt::FragmentBeyondPacked { nid, at, len: size.min(100), packed: 300 };
    Case::new(name, craft.done(), READ, want.ok_or(fault.into()))
}

fn beyond() -> Vec<Case> {
    let bytes: Vec<u8> = (0..300_u32).map(|at| at as u8).collect();
    let mut tail = Craft::new(9);
    let packed = plain(&mut tail, &bytes);
    tail.packed(packed);
    let map = header(290, FRAGMENT_TAIL, 0, 0);
    let nid = tail.file(FULL, 20, map, &full(&[head(1, 0, 0)]));
    let of_tail = Corrupt::FragmentBeyondPacked { nid, at: 290, len: 20, packed: 300 };
    let mut none = Craft::new(9);
    none.features(FRAGMENTS);
    none.file(FULL, 20, whole(0), &[]);
    let mut far = Craft::new(9);
    let packed = plain(&mut far, &bytes);
    far.packed(packed);
    let nid = far.file(FULL, 20, whole(HIGH - 1), &[]);
    let fault = MapFault::Fragment { offset: 0, at: HIGH - 1, len: 20 };
    vec![
        fragment("its last bytes", 20, 280, Some(bytes[280..].to_vec())),
        fragment("a byte too many", 20, 281, None),
        fragment("beyond by far", 20, 1 << 40, None),
        fragment("of a file of more than 4 GiB", (1 << 32) + 20, 280, None),
        Case::corrupt("the tail of a file", tail.done(), READ, of_tail),
        Case::corrupt("no packed inode", none.done(), READ, Corrupt::NoPackedInode),
        Case::corrupt("beyond any file", far.done(), READ, Corrupt::Map { nid, fault }),
    ]
}

fn inside() -> Vec<Case> {
    let packed = |name, header: [u8; 8], index: &[u8]| {
        let mut craft = Craft::new(9);
        let packed = craft.inode(FULL, 100, 0, &[&header, index].concat());
        craft.packed(packed);
        craft.file(FULL, 50, whole(0), &[]);
        let fault = Corrupt::FragmentInPacked { nid: packed };
        Case::corrupt(name, craft.done(), READ, fault)
    };
    let mut itself = Craft::new(9);
    let nid = itself.file(FULL, 50, whole(0), &[]);
    itself.packed(nid);
    vec![
        packed("the whole of it", whole(0), &[]),
        packed("its tail", header(0, FRAGMENT_TAIL, 0, 0), &full(&[head(1, 0, 0)])),
        Case::corrupt(
            "the file is the packed inode",
            itself.done(),
            READ,
            Corrupt::FragmentInPacked { nid },
        ),
    ]
}

/// `/file` with bytes 2 to 6 of the packed inode, which lies in the metabox at slot 2, and how the
/// metabox is made of its bytes.
fn boxed(metabox: impl FnOnce(&mut Craft, &[u8]) -> Nid) -> (Craft, Nid) {
    let mut craft = Craft::new(9);
    let block = craft.blocks(b"fragments");
    let inodes = [vec![0; 64], inode(PLAIN, 0o100_644, 9, block, &[])].concat();
    let nid = metabox(&mut craft, &inodes);
    craft.metabox(nid).packed(Nid(HIGH | 2));
    craft.file(FULL, 4, whole(2), &[]);
    (craft, nid)
}

fn packed_in_metabox() -> Vec<Case> {
    let (right, _) = boxed(plain);
    // The metabox is itself a fragment of the packed inode, which lies in the metabox.
    let (round, nid) = boxed(|craft, inodes| craft.inode(FULL, inodes.len() as u64, 0, &whole(0)));
    let mut short = Craft::new(9);
    let metabox = plain(&mut short, &[0; 96]);
    short.metabox(metabox).packed(Nid(HIGH | 3));
    short.file(FULL, 4, whole(0), &[]);
    let beyond = Corrupt::BeyondMetabox { at: 96, len: 32, metabox: 96 };
    vec![
        Case::new("a plain metabox", right.done(), READ, Ok(b"agme".to_vec())),
        Case::corrupt(
            "each lies in the other",
            round.done(),
            READ,
            Corrupt::MetaboxInItself { nid },
        ),
        Case::corrupt("behind the metabox", short.done(), READ, beyond),
    ]
}

fn within_itself() -> Vec<Case> {
    let mut named = Craft::new(9);
    let nid = Nid(HIGH | 5);
    named.metabox(nid);
    let none = {
        let mut craft = Craft::new(9);
        craft.features(METABOX).superblock(13, &[0]);
        craft.done()
    };
    let mut absent = Craft::new(9);
    let far = Nid(HIGH | 7);
    absent.link("/file", far);
    let mut beyond = Craft::new(9);
    let metabox = plain(&mut beyond, &[0; 100]);
    beyond.metabox(metabox).link("/file", Nid(HIGH | 3));
    let mut overflow = Craft::new(9);
    let metabox = plain(&mut overflow, &[0; 100]);
    overflow.metabox(metabox).link("/file", Nid(u64::MAX));
    let part = rootlet::erofs::Part::Inode(Nid(u64::MAX));
    // An inline tail of an inode of the metabox that ends with the metabox.
    let mut right = Craft::new(9);
    let bytes = [vec![0; 32], inode(craft::INLINE, 0o100_644, 5, 0, b"right")].concat();
    let metabox = plain(&mut right, &bytes);
    right.metabox(metabox).link("/file", Nid(HIGH | 1));
    let mut tail = Craft::new(9);
    let bytes = [vec![0; 32], inode(craft::INLINE, 0o100_644, 6, 0, b"right")].concat();
    let metabox = plain(&mut tail, &bytes);
    tail.metabox(metabox).link("/file", Nid(HIGH | 1));
    vec![
        Case::corrupt(
            "by its own number",
            named.done(),
            Act::Mount,
            Corrupt::MetaboxInItself { nid },
        ),
        Case::corrupt("without a number", none, Act::Mount, Corrupt::NoMetabox),
        Case::corrupt(
            "of an image without one",
            absent.done(),
            READ,
            Corrupt::NotInMetabox { nid: far },
        ),
        Case::corrupt(
            "an inode behind its end",
            beyond.done(),
            READ,
            Corrupt::BeyondMetabox { at: 96, len: 32, metabox: 100 },
        ),
        Case::corrupt(
            "an inode beyond any address",
            overflow.done(),
            READ,
            Corrupt::Overflow(part),
        ),
        Case::new("a tail to its end", right.done(), READ, Ok(b"right".to_vec())),
        Case::corrupt(
            "a tail beyond its end",
            tail.done(),
            READ,
            Corrupt::BeyondMetabox { at: 96, len: 6, metabox: 101 },
        ),
    ]
}
