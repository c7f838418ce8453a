//! Images and device tables that lie: lengths, slots, ids; and blocks that are neighbours by
//! their numbers only.

use rootlet::erofs::{Corrupt, Nid, Part};
use rootlet_sim::image::{Built, Content, FileLayout, Options, SUPERBLOCK_AT, Spread, Tree, build};

use crate::case::{Act, Case};
use crate::classes::Family;

pub const CLASSES: Family = &[
    ("image shorter than it says", short),
    ("device id beyond the count", device_id),
    ("slots that overlap", overlap),
    ("slots that repeat", repeat),
    ("device table outside the image", table),
    ("requests merged across devices", merged),
];

/// Chunks of a block each, by turns on two blobs.
fn sound(layout: FileLayout, blobs: u16) -> Built {
    let mut tree = Tree::new();
    tree.file("/file", Content::bytes(bytes(4 * 4096)));
    tree.file("/good", Content::bytes(*b"good"));
    let layouts = [(b"/good".to_vec(), FileLayout::Inline)];
    let options = Options {
        layout,
        layouts: layouts.into(),
        chunk_bits: 12,
        blobs,
        spread: Spread::RoundRobin,
        ..Options::default()
    };
    build(&tree, &options).unwrap()
}

/// Bytes of which no two blocks are alike.
fn bytes(len: u32) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 4096 * 7) as u8).collect()
}

fn short() -> Vec<Case> {
    let says = sound(FileLayout::ChunkIndexes, 0).image.bytes().len() as u64;
    let cut = |has| {
        let mut built = sound(FileLayout::ChunkIndexes, 0);
        built.image.resize(has);
        built
    };
    let beyond = |at, len, blob| Corrupt::BeyondBlob { slot: 0, at, len, blob };
    let last = Act::Read("/file", 3 * 4096, 4096);
    let last_of = |name, has| Case::corrupt(name, cut(has), last, beyond(says - 4096, 4096, has));
    let first_of = |name, has| {
        Case::new(
            name,
            cut(has),
            Act::Read("/file", 0, 3 * 4096),
            Ok(bytes(4 * 4096)[..3 * 4096].into()),
        )
    };
    let mut long = sound(FileLayout::ChunkIndexes, 0);
    long.image.patch(SUPERBLOCK_AT + 36, &u32::MAX.to_le_bytes()).fix_checksum();
    let mut tiny = sound(FileLayout::ChunkIndexes, 0);
    tiny.image.resize(1024);
    let part = Part::Superblock;
    let mut blob = sound(FileLayout::ChunkIndexes, 1);
    let need = blob.blobs[0].data.len() as u64;
    blob.blobs[0].data.truncate(512);
    let bind = rootlet::blob::BindError::Short { slot: 1, need, got: 512 };
    vec![
        last_of("by a sector", says - 512),
        last_of("by a block", says - 4096),
        first_of("by a block, before it", says - 4096),
        // The root directory is not there.
        Case::corrupt("to a block", cut(4096), Act::Mount, beyond(4096, 32, 4096)),
        Case::new("by 16 TiB", long, Act::Read("/file", 0, 4 * 4096), Ok(bytes(4 * 4096))),
        Case::corrupt(
            "to less than a superblock",
            tiny,
            Act::Mount,
            Corrupt::Short { part, need: 1536, got: 1024 },
        ),
        Case::new("a blob", blob, Act::Mount, Err(rootlet::Error::Bind(bind))),
    ]
}

fn device_id() -> Vec<Case> {
    let id = |name, id: u16, slot| {
        let mut built = sound(FileLayout::ChunkIndexes, 2);
        let at = built.image.chunk_entry_at("/file", 2);
        built.image.patch(at + 2, &id.to_le_bytes());
        let nid = Nid(built.image.nid("/file"));
        let fault = Corrupt::ChunkSlot { nid, chunk: 2, slot, slots: 2 };
        Case::corrupt(name, built, Act::Read("/file", 8192, 1), fault)
    };
    // Bits beyond those of the count do not count.
    let mut masked = sound(FileLayout::ChunkIndexes, 2);
    let at = masked.image.chunk_entry_at("/file", 2);
    masked.image.patch(at + 3, &[0xff]);
    let want = bytes(4 * 4096)[8192..8200].to_vec();
    let mut none = sound(FileLayout::ChunkIndexes, 0);
    let at = none.image.chunk_entry_at("/file", 2);
    none.image.patch(at + 2, &[0xff, 0xff]);
    let mut block = sound(FileLayout::ChunkIndexes, 2);
    let at = block.image.chunk_entry_at("/file", 0);
    block.image.patch(at + 4, &2_u32.to_le_bytes());
    let beyond = Corrupt::BlockBeyondSlot { slot: 1, block: 2, blocks: 2 };
    vec![
        id("one beyond", 3, 3),
        id("one beyond, with other bits", 0xfff3, 3),
        Case::new("only other bits", masked, Act::Read("/file", 8192, 8), Ok(want.clone())),
        Case::new("an image without slots", none, Act::Read("/file", 8192, 8), Ok(want)),
        Case::corrupt("a block beyond its device", block, Act::Read("/file", 0, 1), beyond),
    ]
}

/// Two slots whose places are put elsewhere.
fn slots(places: [Option<u64>; 2], block: &dyn Fn(u64) -> u64, low: u16, high: u16) -> Case {
    let mut built = sound(FileLayout::ChunkIndexes, 2);
    let primary = built.image.bytes().len() as u64 / 4096;
    for (slot, place) in (1..).zip(places) {
        let Some(place) = place else { continue };
        let at = built.image.device_slot_at(slot) + 68;
        built.image.patch(at, &(primary as u32 + place as u32).to_le_bytes());
    }
    built.image.fix_checksum();
    let fault = Corrupt::SlotsOverlap { low, high, block: block(primary) };
    Case::corrupt("each other, or the image", built, Act::Mount, fault)
}

fn overlap() -> Vec<Case> {
    let inside = |primary: u64| primary + 1;
    let mut in_image = sound(FileLayout::ChunkIndexes, 2);
    let at = in_image.image.device_slot_at(1) + 68;
    in_image.image.patch(at, &1_u32.to_le_bytes()).fix_checksum();
    let first = Corrupt::SlotsOverlap { low: 0, high: 1, block: 1 };
    let mut far = sound(FileLayout::ChunkIndexes48, 2);
    let at = far.image.device_slot_at(2) + 64;
    far.image.patch(at + 8, &[0xff, 0xff, 0, 0, 0xff, 0xff]).fix_checksum();
    let word = |at: u64| {
        u64::from(u32::from_le_bytes(
            far.image.bytes()[at as usize..at as usize + 4].try_into().unwrap(),
        ))
    };
    let (blocks, uniaddr) = (0xffff << 32 | word(at), 0xffff << 32 | word(at + 4));
    let range = Corrupt::SlotRange { slot: 2, uniaddr, blocks };
    vec![
        slots([Some(0), Some(1)], &inside, 1, 2),
        slots([Some(1), Some(0)], &inside, 1, 2),
        Case::corrupt("the image", in_image, Act::Mount, first),
        Case::corrupt("beyond 48 bits", far, Act::Mount, range),
    ]
}

fn repeat() -> Vec<Case> {
    let same = |primary: u64| primary;
    // Two slots of one name, without a place: each is that blob.
    let mut named = Tree::new();
    named.file("/file", Content::bytes(bytes(4096)));
    named.file("/good", Content::bytes(*b"good"));
    let layouts = [(b"/good".to_vec(), FileLayout::Inline)];
    let options = Options {
        layouts: layouts.into(),
        chunk_bits: 12,
        blobs: 2,
        uniaddr: false,
        tags: vec![b"blob1".to_vec(), b"blob1".to_vec()],
        ..Options::default()
    };
    let mut built = build(&named, &options).unwrap();
    let at = built.image.chunk_entry_at("/file", 0);
    // The chunk on the second slot, of which nobody was told: its name is that of the first.
    built.image.patch(at + 2, &[2, 0]);
    let blocks = built.image.device_slot_at(2) + 64;
    built.image.patch(blocks, &1_u32.to_le_bytes()).fix_checksum();
    built.blobs.truncate(1);
    vec![
        slots([Some(0), Some(0)], &same, 1, 2),
        Case::new("one name twice", built, Act::Read("/file", 0, 9000), Ok(bytes(4096))),
    ]
}

fn table() -> Vec<Case> {
    let outside = |name, slot: u16, count: u16| {
        let mut built = sound(FileLayout::ChunkIndexes, 2);
        built.image.patch(SUPERBLOCK_AT + 88, &slot.to_le_bytes());
        built.image.patch(SUPERBLOCK_AT + 86, &count.to_le_bytes()).fix_checksum();
        let (image, len) = (built.image.bytes().len() as u64, u64::from(count) * 128);
        let (part, at) = (Part::DeviceTable, u64::from(slot) * 128);
        Case::corrupt(name, built, Act::Mount, Corrupt::BeyondImage { part, at, len, image })
    };
    let blocks = sound(FileLayout::ChunkIndexes, 2).image.bytes().len() / 128;
    vec![
        outside("wholly", 0xffff, 2),
        outside("by a slot", blocks as u16 - 1, 2),
        outside("by most of 64 slots", blocks as u16 - 2, 64),
    ]
}

fn merged() -> Vec<Case> {
    let whole = Act::Read("/file", 0, 20_000);
    let want = || Ok(bytes(4 * 4096));
    // Block 0 of the first blob, block 1 of the second, block 2 of the first, ..
    let mut numbers = sound(FileLayout::ChunkIndexes, 2);
    for blob in &mut numbers.blobs {
        let blocks = [blob.data[..4096].to_vec(), blob.data[4096..].to_vec()];
        blob.data = [&blocks[0], &blocks[0], &blocks[1], &blocks[1]].map(Vec::as_slice).concat();
    }
    for slot in [1, 2] {
        let at = numbers.image.device_slot_at(slot) + 64;
        numbers.image.patch(at, &4_u32.to_le_bytes());
    }
    let second = numbers.image.device_slot_at(2) + 68;
    let place = numbers.image.bytes().len() as u32 / 4096 + 4;
    numbers.image.patch(second, &place.to_le_bytes());
    for chunk in 0..4 {
        let at = numbers.image.chunk_entry_at("/file", chunk);
        numbers.image.patch(at + 4, &(chunk as u32).to_le_bytes());
    }
    numbers.image.fix_checksum();
    // A flat file whose blocks continue where the first blob ends and the second begins.
    let mut flat = Tree::new();
    flat.file("/file", Content::bytes(bytes(2 * 4096)));
    flat.file("/next", Content::bytes(bytes(4 * 4096)[2 * 4096..].to_vec()));
    flat.file("/good", Content::bytes(*b"good"));
    let layouts = [(b"/good".to_vec(), FileLayout::Inline)];
    let options = Options {
        layout: FileLayout::Plain,
        layouts: layouts.into(),
        blobs: 2,
        spread: Spread::ByFile,
        ..Options::default()
    };
    let mut flat = build(&flat, &options).unwrap();
    let at = flat.image.inode_at("/file") + 8;
    flat.image.patch(at, &(4 * 4096_u32).to_le_bytes());
    vec![
        Case::new("blocks with numbers in a row", numbers, whole, want()),
        Case::new("unified blocks in a row", sound(FileLayout::ChunkMap, 2), whole, want()),
        Case::new("a flat file across blobs", flat, whole, want()),
    ]
}
