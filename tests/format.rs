//! The region's format: a decoder written from crates/region/FORMAT.md alone, over what the library
//! wrote.
//!
//! Always: nothing here asks the library where a field lies or how a check is made.
#![cfg(feature = "std")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a test that panics has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};

use rapidhash::v3::{RapidSecrets, rapidhash_v3_seeded};
use rootlet::RegionSlot;
use rootlet::blob::Image;
use rootlet::cache::{Cache, CacheOptions, Copy2, Geometry, Refused, SlotSize, Superblock};
use rootlet::read::Root;
use rootlet::storage::Storage;
use rootlet::storage::file::FileStorage;

/// The numbers that FORMAT.md draws from the UUID: N0 to N7.
fn numbers(uuid: &[u8]) -> Vec<u64> {
    let next = |state: &mut u64| {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut state = u64_at(uuid, 0);
    state = next(&mut state) ^ u64_at(uuid, 8);
    (0..8).map(|_| next(&mut state)).collect()
}

/// FORMAT.md: `hash(s, x)`.
fn seeded(uuid: &[u8], seed: u64, data: &[u8]) -> u64 {
    let secrets = RapidSecrets { seed, secrets: numbers(uuid)[1..8].try_into().unwrap() };
    rapidhash_v3_seeded(data, &secrets)
}

/// FORMAT.md: `hash(x)`.
fn hash(uuid: &[u8], data: &[u8]) -> u64 {
    seeded(uuid, numbers(uuid)[0], data)
}

const BLOCK: usize = 4096;
const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny.erofs");
const REGION_BYTES: u64 = 8 << 20;
const UUID: [u8; 16] = *b"uuid of a region";

/// A file that goes when the test does.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rootlet-{}-{name}", std::process::id()));
        fs::File::create(&path).unwrap().set_len(REGION_BYTES).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn u16_at(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(raw[at..at + 2].try_into().unwrap())
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(raw[at..at + 4].try_into().unwrap())
}

fn u64_at(raw: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(raw[at..at + 8].try_into().unwrap())
}

fn block(raw: &[u8], number: usize) -> &[u8] {
    &raw[number * BLOCK..][..BLOCK]
}

/// FORMAT.md, "Pages": the check.
fn page_check(uuid: &[u8], page: &[u8]) -> u64 {
    let c = |x: &[u8]| hash(uuid, x);
    c(&page[..16]).rotate_left(32) ^ c(&page[24..])
}

/// FORMAT.md, "Pages": the page as it is without its stamps; `None` if its sectors are of several
/// writes.
fn without_stamps(block: &[u8]) -> Option<Vec<u8>> {
    let mut page = block.to_vec();
    for i in 0..8 {
        let end = 512 * i + 508;
        if block[end..end + 4] != block[16..20] {
            return None;
        }
        page.copy_within(24 + 4 * i..28 + 4 * i, end);
    }
    page[24..56].fill(0);
    Some(page)
}

/// FORMAT.md, "Pages": the copy that counts.
fn newest(raw: &[u8], magic: &[u8], number: u32, a: usize, b: usize) -> Option<Vec<u8>> {
    let uuid = &superblock(raw)[24..40];
    let valid = |at: usize| {
        let page = without_stamps(block(raw, at))?;
        let right = page[..4] == *magic
            && u32_at(&page, 4) == number
            && u64_at(&page, 16) == page_check(uuid, &page);
        right.then_some(page)
    };
    match (valid(a), valid(b)) {
        (Some(a), Some(b)) if u64_at(&b, 8) > u64_at(&a, 8) => Some(b),
        (a, b) => a.or(b),
    }
}

/// FORMAT.md, "Superblock": the copy that counts.
fn superblock(raw: &[u8]) -> &[u8] {
    let valid = |number: usize| {
        let block = block(raw, number);
        let check = hash(&block[24..40], &block[..504]);
        (block[..8] == *b"ROOTLET\x1a" && u64_at(block, 504) == check).then_some(block)
    };
    match (valid(0), valid(16)) {
        (Some(a), Some(b)) if u64_at(b, 56) > u64_at(a, 56) => b,
        (a, b) => a.or(b).unwrap(),
    }
}

/// Every resident block: number of its blob's entry, number in the blob, data.
fn resident(raw: &[u8]) -> Vec<(u16, u64, &[u8])> {
    let head = superblock(raw);
    let (blocks, m, per_page) = match head[72] {
        16 => (16, 8, 25),
        18 => (64, 8, 7),
        20 => (256, 32, 1),
        shift => panic!("slot shift {shift}"),
    };
    let slots = u32_at(head, 76) as usize;
    let pages = slots.div_ceil(per_page);
    let mut found = Vec::new();
    for slot in 0..slots {
        let page = slot / per_page;
        let copies = (40 + page, 40 + pages + page);
        let Some(page) = newest(raw, b"RLds", page as u32, copies.0, copies.1) else { continue };
        let descriptor = &page[64 + slot % per_page * (24 + m + 8 * blocks)..];
        let (index, state) = (u16_at(descriptor, 0), descriptor[2]);
        let n = u32::from(index / 31);
        let Some(table) = newest(raw, b"RLbl", n, 32 + n as usize, 36 + n as usize) else {
            continue;
        };
        let entry = &table[64 + 128 * usize::from(index % 31)..][..128];
        let generation = u32_at(entry, 4);
        if state != 1 || entry[0] != 1 || generation != u32_at(descriptor, 8) {
            continue;
        }
        let window = u64_at(descriptor, 16);
        let parts = hash(&head[24..40], &entry[16..128]).to_le_bytes();
        let key = hash(&head[24..40], &[&parts[..], &generation.to_le_bytes()].concat());
        for b in (0..blocks).filter(|b| descriptor[24 + b / 8] >> (b % 8) & 1 == 1) {
            let number = window * blocks as u64 + b as u64;
            let data = block(raw, 40 + 2 * pages + slot * blocks + b);
            let seed = hash(&head[24..40], [key, number].map(u64::to_le_bytes).as_flattened());
            let check = seeded(&head[24..40], seed, data);
            assert_eq!(u64_at(descriptor, 24 + m + 8 * b), check, "slot {slot}, block {b}");
            found.push((index, number, data));
        }
    }
    found
}

/// Mounts the image over the region, reads a file, and makes the region durable.
fn fill(region: &Path, slot_size: SlotSize) {
    let mut storage = FileStorage::new();
    let device = storage.add_disk("image", Path::new(IMAGE), true).unwrap();
    let cache = storage.add_disk("cache", region, false).unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[]).unwrap();
    let options = CacheOptions::new(cache, UUID).with_slot_size(Some(slot_size));
    let layer = Some(Cache::open(&storage, &options).unwrap());
    let root = Root::new(storage, layer, &image, &sources).unwrap();
    let mut out = [0; 64];
    assert_eq!(root.open(b"/hello").unwrap().read_at(0, &mut out).unwrap(), 6);
    root.with_layer(|cache, storage| {
        let end = storage.now_ns() + 10_000_000_000;
        assert!(cache.as_mut().unwrap().sync(storage, end));
    });
}

#[test]
fn a_decoder_written_from_the_document_reads_what_the_library_wrote() {
    let image = fs::read(IMAGE).unwrap();
    for (slot_size, shift) in [(SlotSize::K64, 16), (SlotSize::K256, 18), (SlotSize::M1, 20)] {
        let region = Scratch::new(&format!("format-{shift}"));
        fill(&region.0, slot_size);
        let raw = fs::read(&region.0).unwrap();
        let head = superblock(&raw);
        assert_eq!(&head[..8], b"ROOTLET\x1a");
        assert_eq!([8, 12, 16, 20].map(|at| u32_at(head, at)), [4, 0, 0, 0]);
        assert_eq!(&head[24..40], &UUID);
        // Formatted with generation 1, armed with 2, over the copy that did not count.
        assert_eq!([40, 48, 56].map(|at| u64_at(head, at)), [0, REGION_BYTES, 2]);
        assert_ne!(u64_at(head, 64), 0, "the nonce of the mount");
        assert_eq!((head[72], head[73]), (shift, 3));
        assert_eq!(u64_at(block(&raw, 16), 56), 1, "the copy as it was formatted");
        let entry = &newest(&raw, b"RLbl", 0, 32, 36).unwrap()[64..192];
        assert_eq!((entry[0], u32_at(entry, 4), u64_at(entry, 8)), (1, 1, image.len() as u64));
        let found = resident(&raw);
        assert!(!found.is_empty(), "nothing is resident");
        for (index, number, data) in found {
            assert_eq!((index, data), (0, block(&image, number as usize)), "block {number}");
        }
    }
}

#[test]
fn hash_is_the_one_of_the_document() {
    // FORMAT.md quotes these.
    let counting: Vec<u8> = (0..=255).collect();
    let uuid: Vec<u8> = (0..16).collect();
    assert_eq!(hash(&uuid, b""), 0x2d75_e7e4_27e3_c7c4);
    assert_eq!(hash(&uuid, &counting[..16]), 0xfef5_007c_822d_667d);
    assert_eq!(hash(&uuid, &counting.repeat(16)), 0xdc06_eed7_f5a0_b669);
    assert_eq!(hash(&uuid, &[0; BLOCK]), 0xf83c_3650_fc96_87c9);
    assert_eq!(seeded(&uuid, 1, &[0; BLOCK]), 0x7be4_c0ef_b09f_5b16);
    assert_eq!(seeded(&uuid, 1, &counting.repeat(16)), 0x8eb2_77bd_5ffe_f579);
}

#[test]
fn layout_is_that_of_the_document() {
    for (size, blocks, per_page) in
        [(SlotSize::K64, 16, 25), (SlotSize::K256, 64, 7), (SlotSize::M1, 256, 1)]
    {
        let geometry = Geometry::for_region(1 << 30, size).unwrap();
        let pages = u64::from(geometry.slots()).div_ceil(per_page);
        assert_eq!(u64::from(geometry.pages()), pages);
        assert_eq!([Copy2::A, Copy2::B].map(Geometry::superblock_at), [0, 16 << 12]);
        let table = [Copy2::A, Copy2::B].map(|copy| Geometry::blob_page_at(copy, 3) >> 12);
        assert_eq!(table, [35, 39]);
        let page = [Copy2::A, Copy2::B].map(|copy| geometry.page_at(copy, 2) >> 12);
        assert_eq!(page, [42, 42 + pages]);
        let hint = 1 + u64::from(geometry.slots().next_power_of_two()) / 256;
        assert_eq!(
            geometry.block_at(RegionSlot::new(3), 5) >> 12,
            40 + 2 * pages + hint + 3 * blocks + 5
        );
        let (page, index) = geometry.place(RegionSlot::new(per_page as u32 + geometry.slots() / 2));
        let slot = u64::from(geometry.slots() / 2) + per_page;
        assert_eq!((u64::from(page), u64::from(index)), (slot / per_page, slot % per_page));
    }
}

/// Rewrites a field of both superblocks, checks and all, and says why the region is refused.
fn refusal(at: usize, bytes: &[u8], sealed: bool) -> Option<String> {
    let region = Scratch::new(&format!("refusal-{at}-{sealed}-{}", bytes.len()));
    fill(&region.0, SlotSize::K64);
    let mut raw = fs::read(&region.0).unwrap();
    for copy in [0, 16 * BLOCK] {
        raw[copy + at..][..bytes.len()].copy_from_slice(bytes);
        if sealed {
            let block = &raw[copy..][..BLOCK];
            let check = hash(&block[24..40], &block[..504]);
            raw[copy + 504..][..8].copy_from_slice(&check.to_le_bytes());
        }
    }
    fs::write(&region.0, &raw).unwrap();
    let mut storage = FileStorage::new();
    let device = storage.add_disk("cache", &region.0, false).unwrap();
    let options =
        CacheOptions::new(device, [9; 16]).with_format(rootlet::cache::FormatPolicy::Never);
    match Cache::open(&storage, &options) {
        Err(Refused::Superblock(refusal)) => Some(refusal.to_string()),
        Err(other) => Some(format!("{other:#}")),
        Ok(cache) => match cache.mode() {
            rootlet::cache::Mode::ReadWrite => None,
            mode => Some(format!("{mode:?}")),
        },
    }
}

#[test]
fn what_the_document_has_rejected_is_rejected() {
    let of = |at, bytes: &[u8]| refusal(at, bytes, true).unwrap_or_default();
    assert_eq!(refusal(0, b"ROOTLET\x1a", true), None);
    assert_eq!(refusal(12, &[1, 0, 0, 0], true), None, "a compat bit is no reason");
    assert!(refusal(56, &[9], false).unwrap().contains("wrong check"));
    assert!(of(0, b"R").is_empty() && of(0, b"X").contains("lost both superblocks"));
    assert!(of(8, &[3]).contains("version 3"));
    assert!(of(16, &[1]).contains("ReadOnly"));
    assert!(of(20, &[4]).contains("0x4"));
    assert!(of(73, &[2]).contains("checksum type 2"));
    assert!(of(41, &[16]).contains("starts at byte 0x1000"));
    assert!(of(72, &[17]).contains("sizes"));
    assert!(of(76, &[0; 4]).contains("sizes"));
    assert!(of(76, &[255; 4]).contains("sizes"));
    assert!(of(48, &(REGION_BYTES + 4096).to_le_bytes()).contains("ReadOnly"));
}

#[test]
fn a_superblock_comes_back_as_it_was_written() {
    let geometry = Geometry::for_region(REGION_BYTES, SlotSize::K64).unwrap();
    let written = Superblock {
        uuid: UUID,
        start: 1 << 20,
        bytes: REGION_BYTES,
        generation: 7,
        nonce: 8,
        geometry,
        condemned: false,
        read_only: false,
    };
    let raw = written.to_bytes();
    assert_eq!(Superblock::from_bytes(&raw, 1 << 20), Ok(written));
    assert_eq!([40, 48, 56, 64].map(|at| u64_at(&raw, at)), [1 << 20, REGION_BYTES, 7, 8]);
    assert!(raw[81..504].iter().chain(&raw[512..]).all(|byte| *byte == 0), "unused bytes are 0");
}
