//! Directories that lie: loops, trees without an end, offsets of names, order, names.

use rootlet::erofs::{Corrupt, NameFault, Nid};
use rootlet::{Error, PathError};
use rootlet_sim::image::{Built, Content, FileLayout, Image, Options, Tree, build};

use crate::case::{Act, Case};
use crate::classes::Family;

pub const CLASSES: Family = &[
    ("directories that loop", looping),
    ("directories that recurse without end", endless),
    ("nameoff beyond the block", nameoff_beyond),
    ("nameoff not a multiple of 12", nameoff_odd),
    ("nameoff not monotonic", nameoff_order),
    ("names unsorted", unsorted),
    ("name with a slash", slash),
    ("name with a NUL", nul),
];

/// Six entries in `/dir`: `.`, `..`, `alpha`, `beta`, `gamma`, `sub`.
fn sound() -> Built {
    let mut tree = Tree::new();
    for name in ["alpha", "beta", "gamma", "sub/x"] {
        tree.file(format!("/dir/{name}"), Content::bytes(*b"content"));
    }
    tree.file("/good", Content::bytes(*b"good"));
    build(&tree, &options()).unwrap()
}

fn options() -> Options {
    Options { layout: FileLayout::Inline, ..Options::default() }
}

/// Directories that hold each other.
const LEVELS: usize = 40;
/// Directories in the last of them, more than a walk remembers.
const WIDE: usize = 9000;
/// Where the names of `/dir` begin.
const NAMES: u16 = 6 * 12;

/// The nid of `/dir`, and its size.
fn dir(image: &Image) -> (Nid, usize) {
    let found = image.locate("/dir");
    (Nid(found.nid), found.body_bytes as usize)
}

/// `/dir` with a field of one of its entries overwritten, and listed.
fn listed(name: &'static str, entry: u64, field: u64, bytes: &[u8], fault: Corrupt) -> Case {
    let mut built = sound();
    let at = built.image.dirent_at("/dir/.") + entry * 12 + field;
    built.image.patch(at, bytes);
    Case::corrupt(name, built, Act::List("/dir"), fault)
}

/// `/dir` with a byte of one of its names overwritten.
fn named(name: &'static str, act: Act, at: u64, byte: u8, entry: u16, fault: NameFault) -> Case {
    let mut built = sound();
    let names = built.image.dirent_at("/dir/.") + u64::from(NAMES);
    built.image.patch(names + at, &[byte]);
    let (nid, _) = dir(&built.image);
    Case::corrupt(name, built, act, Corrupt::Name { nid, block: 0, entry, fault })
}

fn looping() -> Vec<Case> {
    let looped = |name, entry: &str, to: &str| {
        let mut built = sound();
        let (at, nid) = (built.image.dirent_at(entry), built.image.nid(to));
        built.image.patch(at, &nid.to_le_bytes());
        Case::corrupt(name, built, Act::Walk, Corrupt::DirectoryInItself { nid: Nid(nid) })
    };
    let mut cases = vec![
        looped("into its parent", "/dir/sub", "/dir"),
        looped("into the root", "/dir/sub", "/"),
        looped("two levels up", "/dir/sub/x", "/dir"),
        looped("into itself", "/dir/sub/x", "/dir/sub"),
    ];
    // A path through it is a path like any other, up to its length.
    let mut built = sound();
    let (at, nid) = (built.image.dirent_at("/dir/sub/x"), built.image.nid("/dir"));
    built.image.patch(at, &nid.to_le_bytes());
    let path = "/dir/sub/x/sub/x/sub/x/alpha";
    let round = Act::Read(path, 0, 100);
    cases.push(Case::new("a path three times round", built, round, Ok(b"content".to_vec())));
    cases
}

fn endless() -> Vec<Case> {
    let mut deep = Tree::new();
    deep.dir("/d".repeat(2100));
    deep.file("/good", Content::bytes(*b"good"));
    let deep = build(&deep, &options()).unwrap();
    let too_long = Err(Error::Path(PathError::TooLong));
    let (doubling, last) = doubling(0);
    let (wide, _) = self::doubling(WIDE);
    let beyond = beyond_room(&wide);
    vec![
        Case::new("deeper than a path is long", deep, Act::Walk, too_long).costs(200, 1 << 20),
        Case::corrupt(
            "each holds the next one twice",
            doubling,
            Act::Walk,
            Corrupt::DirectoryTwice { nid: last },
        ),
        Case::corrupt("too many in between to remember", wide, Act::Walk, beyond)
            .costs(4000, 16 << 20),
    ]
}

/// Where a walk ends that goes through the last directory and those in it a second time.
fn beyond_room(built: &Built) -> Corrupt {
    let image = &built.image;
    let size = |path: &str| {
        let at = image.inode_at(path) as usize;
        let bytes: [u8; 4] = image.bytes()[at + 8..at + 12].try_into().unwrap();
        u64::from(u32::from_le_bytes(bytes))
    };
    let before = (0..LEVELS - 1).map(|level| format!("/n{level:02}"));
    let last = std::iter::once("/wide".to_owned())
        .chain((0..WIDE).map(|number| format!("/wide/{number:04}")));
    let room = image.bytes().len() as u64;
    let mut bytes = size("/");
    for path in before.chain(last.clone()).chain(last) {
        bytes += size(&path);
        if bytes > room {
            return Corrupt::DirectoriesTooLong { nid: Nid(image.nid(path)), bytes, room };
        }
    }
    panic!("there is room for all of them");
}

/// Directories each of which holds the next one under two names, so that as many paths as 2 to
/// the power of [`LEVELS`] lead to the last; with `wide` more directories in that one.
fn doubling(wide: usize) -> (Built, Nid) {
    let mut tree = Tree::new();
    let name = |level: usize| {
        if level + 1 == LEVELS { "/wide".to_owned() } else { format!("/n{level:02}") }
    };
    for level in 0..LEVELS {
        for name in [format!("{}/a", name(level)), format!("{}/b", name(level))] {
            tree.file(name, Content::hole(0));
        }
    }
    for number in 0..wide {
        tree.dir(format!("/wide/{number:04}"));
    }
    tree.file("/good", Content::bytes(*b"good"));
    let mut built = build(&tree, &options()).unwrap();
    for level in 1..LEVELS {
        let nid = built.image.nid(name(level));
        for entry in ["a", "b"] {
            let at = built.image.dirent_at(format!("{}/{entry}", name(level - 1)));
            built.image.patch(at, &nid.to_le_bytes());
        }
    }
    let last = Nid(built.image.nid("/wide"));
    (built, last)
}

fn nameoff_beyond() -> Vec<Case> {
    let (nid, high) = dir(&sound().image);
    let first = |nameoff| Corrupt::FirstNameoff { nid, block: 0, nameoff, len: high };
    let (low, nameoff) = (NAMES + 1, 0xffff);
    vec![
        listed("the first", 0, 8, &[0xf0, 0x0f], first(4080)),
        listed("the first, as far as there are bytes", 0, 8, &[0x9c, 0], first(156)),
        listed(
            "another",
            2,
            8,
            &[0xff, 0xff],
            Corrupt::Nameoff { nid, block: 0, entry: 2, nameoff, low, high },
        ),
    ]
}

fn nameoff_odd() -> Vec<Case> {
    let (nid, len) = dir(&sound().image);
    let first = |nameoff| Corrupt::FirstNameoff { nid, block: 0, nameoff, len };
    vec![
        listed("one more than a multiple", 0, 8, &[73, 0], first(73)),
        listed("one less", 0, 8, &[71, 0], first(71)),
        listed("none at all", 0, 8, &[0, 0], first(0)),
    ]
}

fn nameoff_order() -> Vec<Case> {
    let (nid, high) = dir(&sound().image);
    let fault = |nameoff, low| Corrupt::Nameoff { nid, block: 0, entry: 2, nameoff, low, high };
    vec![
        listed("before the one before it", 2, 8, &[72, 0], fault(72, 73)),
        listed("among the entries", 2, 8, &[12, 0], fault(12, 73)),
        listed(
            "where the one before it is",
            3,
            8,
            &[75, 0],
            Corrupt::Name { nid, block: 0, entry: 2, fault: NameFault::Empty },
        ),
    ]
}

fn unsorted() -> Vec<Case> {
    let mut two_blocks = Tree::new();
    for number in 0..60 {
        two_blocks.file(format!("/dir/{number:02}"), Content::hole(0));
    }
    two_blocks.file("/good", Content::bytes(*b"good"));
    let mut built = build(&two_blocks, &Options { block_bits: 9, ..options() }).unwrap();
    let nid = Nid(built.image.nid("/dir"));
    // The first block has 36 entries: 72 bytes of names, with `.` and `..` one more than 36 pairs.
    let data = built.image.locate("/dir").body_at.unwrap();
    let names = u16::from_le_bytes(
        built.image.bytes()[data as usize + 8..data as usize + 10].try_into().unwrap(),
    );
    built.image.patch(data + u64::from(names), b"!");
    let fault = Corrupt::Name { nid, block: 1, entry: 0, fault: NameFault::Order };
    vec![
        named("in a list", Act::List("/dir"), 3, b'z', 3, NameFault::Order),
        // The search sees `beta` in the middle, then `zlpha` before it.
        named("on the way of a search", Act::Find("/dir/a"), 3, b'z', 2, NameFault::Order),
        Case::corrupt("across blocks", built, Act::List("/dir"), fault),
    ]
}

fn slash() -> Vec<Case> {
    vec![
        named("in a list", Act::List("/dir"), 4, b'/', 2, NameFault::Slash),
        named("on the way of a search", Act::Find("/dir/a"), 4, b'/', 2, NameFault::Slash),
        named("in a walk", Act::Walk, 4, b'/', 2, NameFault::Slash),
    ]
}

fn nul() -> Vec<Case> {
    vec![
        named("in a list", Act::List("/dir"), 5, 0, 2, NameFault::Nul),
        named("on the way of a search", Act::Find("/dir/a"), 5, 0, 2, NameFault::Nul),
        named("a name that begins with it", Act::List("/dir"), 3, 0, 2, NameFault::Nul),
    ]
}
