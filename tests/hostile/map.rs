//! Maps of compressed files that lie: indexes that lead in circles or nowhere, extents that no
//! pcluster can have.

use rootlet::erofs::{Corrupt, MapFault, Nid, Part, Unsupported};

use crate::case::{Act, Case};
use crate::classes::Family;
use crate::craft::{self, COMPACT, Craft, FULL, behind, full, head, header, pack, records};

pub const CLASSES: Family = &[
    ("endless loop in a compact index with small blocks", small_blocks),
    ("endless loop in a compact index with big pclusters", big_pclusters),
    ("endless loop by stale lengths", stale),
    ("look-back distance out of range", look_back),
    ("overlapping extents", overlapping),
    ("illegal extents", illegal),
    ("unknown algorithm", algorithm),
    ("crafted interlaced", interlaced),
    ("u64 to u32 narrowing of a decoded length", narrowed),
    ("inline data crossing a block", inline_crossing),
    ("inline pcluster beyond the image", inline_beyond),
    ("sparse pclusters", sparse),
];

/// Pclusters of several blocks under both heads.
const BIG: u16 = 6;
const INTERLACED: u16 = 0x10;
/// Types of lclusters.
const PLAIN_HEAD: u16 = 0;
const HEAD: u16 = 1;
/// Of a head in a full index: zeros.
const HOLE: u16 = 1 << 14;

/// 512 bytes that no other number has.
fn block(number: u8) -> Vec<u8> {
    (0..512_u32).map(|at| (at * 7 + 3 * at / 256) as u8 ^ number).collect()
}

/// `/file` with blocks of 512 bytes, and a call on it.
fn mapped(
    name: &'static str,
    layout: u16,
    size: u64,
    header: [u8; 8],
    index: &[u8],
    offset: u64,
    fault: MapFault,
) -> Case {
    let mut craft = Craft::new(9);
    let nid = craft.file(layout, size, header, index);
    let fault = Corrupt::Map { nid, fault };
    Case::corrupt(name, craft.done(), Act::Read("/file", offset, 1), fault)
}

/// A compact index of 22 lclusters: three short packs and a long one.
fn packs(short: &[(u32, u32)], long: &[(u32, u32); 16]) -> Vec<u8> {
    let mut bytes: Vec<u8> = short.chunks(2).flat_map(|items| pack(items, 0)).collect();
    bytes.extend_from_slice(&pack(long, 6));
    bytes
}

fn small_blocks() -> Vec<Case> {
    let short = [(1, 0), (1, 0), (2, 0), (2, 1), (1, 0), (1, 0)];
    let mut long = [(1, 0); 16];
    (long[3], long[4], long[5]) = ((2, 0), (2, 1), (2, 2));
    let index = packs(&short, &long);
    let at = |name, lcluster: u64, finds| {
        let fault = MapFault::LookBack { lcluster: finds, distance: 0 };
        mapped(name, COMPACT, 22 * 512, header(0, 1, 0, 0), &index, lcluster * 512, fault)
    };
    vec![
        at("no way back from a short pack", 2, 2),
        at("back to where there is no way back", 3, 2),
        at("no way back from a long pack", 9, 9),
        at("back by one to where there is none", 10, 9),
        at("back by two to where there is none", 11, 9),
    ]
}

fn big_pclusters() -> Vec<Case> {
    let short = [(1, 0); 6];
    let mut long = [(1, 0); 16];
    long[3] = (2, 1);
    let distance = MapFault::PackDistance { lcluster: 9, distance: 1 };
    let one = packs(&short, &long);
    let mut zero = long;
    zero[3] = (2, 0);
    let none = MapFault::PackDistance { lcluster: 9, distance: 0 };
    let first = |name, index: &[u8], fault| {
        let header = header(0, BIG | 1, 0, 0);
        mapped(name, COMPACT, 22 * 512, header, index, 11 * 512, fault)
    };
    vec![
        first("a distance of one in place of a block count", &one, distance),
        first("a distance of nothing", &packs(&short, &zero), none),
        counted("block counts that add up to more than there is", 0x7ff),
    ]
}

/// A long pack in which the block of a head lies after this many blocks of another.
fn counted(name: &'static str, blocks: u32) -> Case {
    let mut long = [(1, 0); 16];
    long[1] = (2, 0x800 | blocks);
    let index = packs(&[(1, 0); 6], &long);
    let mut craft = Craft::new(9);
    let nid = craft.file(COMPACT, 22 * 512, header(0, BIG | 1, 0, 0), &index);
    let built = craft.done();
    let (at, limit) = ((6 + u64::from(blocks)) * 512, built.image.bytes().len() as u64 / 512);
    let fault = MapFault::BeyondBlocks { offset: 8 * 512, at, len: 512, blocks: limit };
    Case::corrupt(name, built, Act::Read("/file", 8 * 512, 1), Corrupt::Map { nid, fault })
}

/// A file of two plain blocks and what the index says of them.
fn two_blocks(name: &'static str, size: u64, index: [[u8; 8]; 2], want: Vec<u8>) -> Case {
    let mut craft = Craft::new(9);
    let first = craft.blocks(&[block(1), block(2)].concat());
    let index = index.map(|mut entry| {
        if entry[0] & 3 != 2 {
            let block = u32::from_le_bytes(entry[4..].try_into().unwrap()) + first;
            entry[4..].copy_from_slice(&block.to_le_bytes());
        }
        entry
    });
    craft.file(FULL, size, header(0, 0, 0, 0), &full(&index));
    Case::new(name, craft.done(), Act::Read("/file", 0, 2000), Ok(want))
}

fn stale() -> Vec<Case> {
    let mut zeros = lz4_flex::block::compress(&[0; 1500]);
    zeros.truncate(512);
    let coded = |name, entries: &[[u8; 8]], size: u64, want: Result<usize, MapFault>| {
        let mut craft = Craft::new(9);
        let first = craft.stream(&zeros);
        let mut entries = entries.to_vec();
        entries[0] = head(HEAD, 0, first);
        let nid = craft.file(FULL, size, header(0, 0, 0, 0), &full(&entries));
        let want = match want {
            Ok(len) => Ok(vec![0; len]),
            Err(fault) => Err(Corrupt::Map { nid, fault }.into()),
        };
        Case::new(name, craft.done(), Act::Read("/file", 0, 3000), want)
    };
    let first = head(HEAD, 0, 0);
    vec![
        // Each step ahead is an lcluster at least.
        coded("no way ahead", &[first, behind(1, 0), behind(2, 0)], 1500, Ok(1500)),
        coded(
            "ahead beyond the end",
            &[first, behind(1, 0xffff), behind(2, 0xffff)],
            1500,
            Ok(1500),
        ),
        coded(
            "a head beyond the end of the file",
            &[first, behind(1, 1), head(HEAD, 500, 0)],
            1500,
            Ok(1500),
        ),
        coded(
            "ahead over the next head",
            &[first, behind(1, 3), behind(2, 2), head(HEAD, 0, 0)],
            2048,
            Err(MapFault::OtherHead { lcluster: 3, head: 0 }),
        ),
        two_blocks(
            "an extent that ends before it goes on",
            1024,
            [head(PLAIN_HEAD, 0, 0), head(PLAIN_HEAD, 0, 1)],
            [block(1), block(2)].concat(),
        ),
    ]
}

fn look_back() -> Vec<Case> {
    let map = header(0, 0, 0, 0);
    let entry = |name, entries: &[[u8; 8]], offset, lcluster, distance| {
        let size = entries.len() as u64 * 512;
        let fault = MapFault::LookBack { lcluster, distance };
        mapped(name, FULL, size, map, &full(entries), offset, fault)
    };
    let first = head(HEAD, 0, 1);
    let mut chain = vec![first];
    chain.resize(66, behind(1, 1));
    let hops = MapFault::Hops { lcluster: 65, hops: 64 };
    let compact = packs(&[(1, 0), (1, 0), (2, 2047), (2, 1), (1, 0), (1, 0)], &[(1, 0); 16]);
    let far = MapFault::LookBack { lcluster: 2, distance: 2047 };
    vec![
        entry("nowhere", &[first, behind(0, 1)], 600, 1, 0),
        entry("before the file", &[first, behind(2, 1)], 600, 1, 2),
        entry("before the file by far", &[first, behind(0x7ff, 1)], 600, 1, 0x7ff),
        entry("from the first lcluster", &[behind(1, 1), first], 0, 0, 1),
        entry("from before the first head", &[head(HEAD, 9, 1)], 8, 0, 1),
        mapped("in a pack", COMPACT, 22 * 512, header(0, 1, 0, 0), &compact, 1024, far),
        mapped("by too many hops", FULL, 66 * 512, map, &full(&chain), 65 * 512, hops),
    ]
}

/// `/file` with records of 16 bytes.
fn recorded(
    name: &'static str,
    size: u64,
    list: &[(u32, u64, u32)],
    offset: u64,
    want: impl FnOnce(&Craft, Nid) -> Result<Vec<u8>, rootlet::Error>,
) -> Case {
    let mut craft = Craft::new(9);
    let at = u64::from(craft.blocks(&[block(1), block(2)].concat())) * 512;
    let list: Vec<_> = list.iter().map(|(word, skip, from)| (*word, at + skip, *from)).collect();
    let advise = 1 | (4 - 2) << 1;
    let header = header(list.len() as u32, advise, 0, 0);
    let nid = craft.file(FULL, size, header, &[&[0; 8], &records(&list)[..]].concat());
    let want = want(&craft, nid);
    Case::new(name, craft.done(), Act::Read("/file", offset, 4000), want)
}

fn overlapping() -> Vec<Case> {
    let fault = |fault| move |_: &Craft, nid| Err(Corrupt::Map { nid, fault }.into());
    let order = |extent, offset, low, high| MapFault::Order { extent, offset, low, high };
    vec![
        recorded(
            "a later one begins earlier",
            3000,
            &[(512, 0, 500), (512, 512, 400)],
            600,
            fault(order(1, 400, 500, 3000)),
        ),
        recorded(
            "one begins behind the file",
            3000,
            &[(512, 0, 0), (512, 512, 4000)],
            5,
            fault(order(1, 4000, 0, 3000)),
        ),
        // As deduplication does.
        recorded("the same bytes twice", 1024, &[(512, 0, 0), (512, 0, 512)], 0, |_, _| {
            Ok([block(1), block(1)].concat())
        }),
        recorded("bytes that overlap", 1024, &[(512, 0, 0), (512, 256, 512)], 0, |_, _| {
            Ok([block(1), [block(1), block(2)].concat()[256..768].to_vec()].concat())
        }),
        two_blocks(
            "two lclusters of one block",
            1024,
            [head(PLAIN_HEAD, 0, 1), head(PLAIN_HEAD, 0, 1)],
            [block(2), block(2)].concat(),
        ),
    ]
}

fn illegal() -> Vec<Case> {
    let map = |advise| header(0, advise, 0, 0);
    let entries = |name, advise, entries: &[[u8; 8]], fault| {
        let size = entries.len() as u64 * 512;
        mapped(name, FULL, size, map(advise), &full(entries), 0, fault)
    };
    let first = head(HEAD, 0, 1);
    let long = recorded(
        "encoded bytes beyond a mebibyte",
        3000,
        &[((1 << 28) | ((1 << 20) + 1), 0, 0)],
        0,
        |_, nid| {
            let fault = MapFault::EncodedLength { offset: 0, len: (1 << 20) + 1 };
            Err(Corrupt::Map { nid, fault }.into())
        },
    );
    let stored = MapFault::PlainLength { offset: 0, len: 1024, stored: 512 };
    let unequal = MapFault::UnequalHeads { advise: 2 };
    let mut cases = vec![
        long,
        entries("more bytes than are stored", 0, &[head(PLAIN_HEAD, 0, 1), behind(1, 1)], stored),
        entries(
            "a head beyond its lcluster",
            0,
            &[head(HEAD, 512, 1)],
            MapFault::HeadOffset { lcluster: 0, offset: 512, bytes: 512 },
        ),
        entries(
            "a block count where there are none",
            0,
            &[first, behind(0x802, 1)],
            MapFault::BlockCount { lcluster: 1 },
        ),
        entries(
            "no block count where there must be one",
            BIG,
            &[first, behind(1, 1)],
            MapFault::NoBlockCount { lcluster: 1 },
        ),
        mapped("two kinds of packs", COMPACT, 512, map(2), &pack(&[(1, 0), (1, 0)], 0), 0, unequal),
        beyond_blocks("the first block behind the image", 0),
        beyond_blocks("a block far behind it", 0x7000_0000),
        beyond_blocks("the last that can be named", u32::MAX),
    ];
    let mut plain = Craft::new(9);
    plain.superblock(80, &[1, 0, 0, 0]).superblock(84, &[0, 0]);
    let nid = plain.file(FULL, 512, map(BIG), &full(&[first]));
    let fault = Corrupt::Map { nid, fault: MapFault::BigPclusters { advise: BIG } };
    let act = Act::Read("/file", 0, 1);
    cases.push(Case::corrupt("big pclusters without their feature", plain.done(), act, fault));
    cases.push(too_many_blocks());
    cases
}

/// A pcluster of two blocks in an image whose LZ4 has one.
fn too_many_blocks() -> Case {
    let mut craft = Craft::new(9);
    craft.settings(1, &[&craft::lz4(65_535, 1)]);
    let first = craft.blocks(&[0; 1024]);
    let entries = [head(HEAD, 0, first), behind(0x802, 2), behind(2, 1)];
    let nid = craft.file(FULL, 1536, header(0, BIG, 0, 0), &full(&entries));
    let fault = MapFault::PclusterLimit { offset: 0, len: 1024, max: 512 };
    let act = Act::Read("/file", 0, 1);
    Case::corrupt("more blocks than LZ4 has", craft.done(), act, Corrupt::Map { nid, fault })
}

/// A head of this block, or of the one after the last for 0.
fn beyond_blocks(name: &'static str, number: u32) -> Case {
    let mut craft = Craft::new(9);
    let blocks = craft.built.image.bytes().len() as u64 / 512;
    let number = if number == 0 { blocks as u32 } else { number };
    let nid = craft.file(FULL, 512, header(0, 0, 0, 0), &full(&[head(HEAD, 0, number)]));
    let at = u64::from(number) * 512;
    let fault = MapFault::BeyondBlocks { offset: 0, at, len: 512, blocks };
    Case::corrupt(name, craft.done(), Act::Read("/file", 0, 1), Corrupt::Map { nid, fault })
}

fn algorithm() -> Vec<Case> {
    let named = |name, heads, head_type, listed: u16, want: &dyn Fn(Nid) -> rootlet::Error| {
        let mut craft = Craft::new(9);
        craft.settings(listed, if listed == 1 { &[&[14, 0, 0xff, 0xff]] } else { &[] });
        let first = craft.blocks(&block(1));
        let nid =
            craft.file(FULL, 512, header(0, 0, heads, 0), &full(&[head(head_type, 0, first)]));
        Case::new(name, craft.done(), Act::Read("/file", 0, 1), Err(want(nid)))
    };
    let unknown =
        |algorithm| move |nid| rootlet::Error::from(Unsupported::Algorithm { nid, algorithm });
    let unlisted = |algorithm| {
        move |nid| {
            let fault = MapFault::Algorithm { offset: 0, algorithm, listed: 1 };
            Corrupt::Map { nid, fault }.into()
        }
    };
    let mut superblock = Craft::new(9);
    superblock.settings(0x11, &[]);
    vec![
        named("the first head", 4, HEAD, 15, &unknown(4)),
        named("the second head", 0xf0, 3, 15, &unknown(15)),
        named("one that the image does not list", 0x10, 3, 1, &unlisted(1)),
        named("another", 3, HEAD, 1, &unlisted(3)),
        recorded("of a record", 512, &[(15 << 28 | 512, 0, 0)], 0, |_, nid| {
            Err(Unsupported::Algorithm { nid, algorithm: 14 }.into())
        }),
        Case::new(
            "of the superblock",
            superblock.done(),
            Act::Mount,
            Err(Unsupported::Algorithms(0x11).into()),
        ),
    ]
}

/// An LZ4 extent of 612 zeros, then an interlaced one to the end of the file.
fn turned(name: &'static str, size: u64, want: Result<Vec<u8>, MapFault>) -> Case {
    let mut craft = Craft::new(9);
    let coded = craft.stream(&lz4_flex::block::compress(&[0; 612]));
    let plain = craft.blocks(&block(1));
    let entries = [head(HEAD, 0, coded), head(PLAIN_HEAD, 100, plain), behind(1, 1)];
    let nid = craft.file(FULL, size, header(0, INTERLACED, 0, 0), &full(&entries));
    let want = want.map_err(|fault| Corrupt::Map { nid, fault }.into());
    Case::new(name, craft.done(), Act::Read("/file", 612, 2000), want)
}

fn interlaced() -> Vec<Case> {
    let bytes = block(1);
    let round = [&bytes[100..], &bytes[..100]].concat();
    let long = MapFault::PlainLength { offset: 612, len: 513, stored: 512 };
    vec![
        turned("up to the end of the block", 1024, Ok(bytes[100..].to_vec())),
        turned("round the block", 1124, Ok(round)),
        turned("round the block by a byte too many", 1125, Err(long)),
        turned("of one byte", 613, Ok(bytes[100..101].to_vec())),
    ]
}

fn narrowed() -> Vec<Case> {
    let size = (1_u64 << 32) + 512;
    // Lclusters of 8 MiB.
    let mut entries = vec![head(HEAD, 0, 1), behind(1, 512)];
    entries.resize(513, behind(1, 1));
    let fault = MapFault::DecodedLength { offset: 0, len: size };
    let index = mapped("by an index", FULL, size, header(0, 0, 0, 14), &full(&entries), 0, fault);
    let record = recorded("by a record", size, &[(1 << 28 | 512, 0, 0)], 0, |_, nid| {
        let fault = MapFault::DecodedLength { offset: 0, len: size };
        Err(Corrupt::Map { nid, fault }.into())
    });
    let plain = recorded("by a plain record", size, &[(512, 0, 0)], 0, |_, nid| {
        let fault = MapFault::PlainLength { offset: 0, len: size, stored: 512 };
        Err(Corrupt::Map { nid, fault }.into())
    });
    let hole = recorded("of a hole", size, &[(0, 0, 0)], size - 100, |_, _| Ok(vec![0; 100]));
    vec![index, record, plain, hole]
}

const INLINE_PCLUSTER: u16 = 8;

fn inline_crossing() -> Vec<Case> {
    let inline = |name, len: u32, more: u64| {
        let mut craft = Craft::new(9);
        let map = header(len << 16, INLINE_PCLUSTER, 0, 0);
        let body = [&full(&[head(PLAIN_HEAD, 0, 0)])[..], &[7; 600]].concat();
        let nid = craft.file(FULL, 100, map, &body);
        let at = nid.0 * 32 + 64 + 8 + 16;
        let left = 512 - at % 512;
        let fault = MapFault::InlineCrossesBlock { at, len: u64::from(len), block: 512 };
        assert_eq!(more, u64::from(len).saturating_sub(left), "{name}");
        let want = match more {
            0 => Ok(vec![7; 100]),
            _ => Err(Corrupt::Map { nid, fault }.into()),
        };
        Case::new(name, craft.done(), Act::Read("/file", 0, 600), want)
    };
    vec![
        inline("a pcluster to the end of the block", 424, 0),
        inline("a pcluster a byte beyond it", 425, 1),
        inline("the longest that can be named", 0xffff, 0xffff - 424),
    ]
}

fn inline_beyond() -> Vec<Case> {
    // Inode, header, gap and two entries have 96 bytes.
    let mut craft = Craft::new(9);
    let end = craft.built.image.bytes().len() as u64;
    let map = header(100 << 16, INLINE_PCLUSTER, 0, 0);
    let index = full(&[head(PLAIN_HEAD, 0, 0), behind(1, 1)]);
    let inode = craft::inode(FULL, 0o100_644, 1000, 0, &[&map[..], &index].concat());
    let at = end - inode.len() as u64;
    let nid = Nid(at / 32);
    craft.patch(at, &inode).link("/file", nid);
    let part = Part::InlinePcluster(nid);
    let fault = Corrupt::BeyondImage { part, at: end, len: 100, image: end };
    vec![Case::corrupt("by all its bytes", craft.done(), Act::Read("/file", 0, 1), fault)]
}

/// A compact or full index of large pclusters with an extent of no blocks in the middle.
fn sparse() -> Vec<Case> {
    let build = |name, layout, advise, entries: &dyn Fn(u32) -> Vec<u8>, size, want: &[Vec<u8>]| {
        let mut craft = Craft::new(9);
        let first = craft.blocks(&[block(1), block(2)].concat());
        craft.file(layout, size, header(0, advise, 0, 0), &entries(first));
        let read = Act::Read("/file", 0, 4000);
        Case::new(name, craft.done(), read, Ok(want.concat()))
    };
    let zeros = |blocks: usize| vec![0; blocks * 512];
    let hole = |first: u32| {
        full(&[
            head(PLAIN_HEAD, 0, first),
            head(HEAD | HOLE, 0, 0),
            behind(1, 1),
            head(PLAIN_HEAD, 0, first + 1),
        ])
    };
    let count = |first: u32| {
        full(&[
            head(PLAIN_HEAD, 0, first),
            head(HEAD, 0, u32::MAX),
            behind(0x800, 2),
            behind(2, 1),
            head(PLAIN_HEAD, 0, first + 1),
        ])
    };
    let compact = |first: u32| {
        let short = [(0, 0), (1, 0), (2, 0x800), (2, 1), (0, 0), (0, 0)];
        let packs = [(&short[..2], first), (&short[2..4], first), (&short[4..], first)];
        packs.iter().flat_map(|(items, block)| pack(items, *block)).collect()
    };
    let all = |first: u32| full(&[head(PLAIN_HEAD | HOLE, 0, first), behind(1, 1)]);
    let end = |first: u32| full(&[head(PLAIN_HEAD, 0, first), head(HEAD | HOLE, 0, 0)]);
    vec![
        build("LI_HOLE", FULL, 0, &hole, 2048, &[block(1), zeros(2), block(2)]),
        build("a block count of 0", FULL, BIG, &count, 2560, &[block(1), zeros(3), block(2)]),
        build(
            "a block count of 0 in a pack",
            COMPACT,
            BIG,
            &compact,
            6 * 512,
            &[block(1), zeros(3), block(1), block(2)],
        ),
        build("the whole file", FULL, 0, &all, 1000, &[vec![0; 1000]]),
        build("the end of the file", FULL, 0, &end, 1000, &[block(1), vec![0; 488]]),
    ]
}
