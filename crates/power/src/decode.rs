//! The region's format, decoded anew from its description; shares no code with the library.
//!
//! Always: what does not check out decodes to `None`.

use hctr2_rs::Hctr2_256;
use hkdf::Hkdf;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};
use sha2::{Digest, Sha256};

pub const BLOCK: u64 = 4096;
/// The block of the boot trace.
const BOOT_TRACE: u64 = 8;
const SUPERBLOCK_B: u64 = 16;
/// The block of the mark.
const MARK: u64 = 24;
const BLOB_TABLE: u64 = 32;
const BLOB_PAGES: u64 = 4;
const PAGE_HEADER: usize = 64;
/// Where the check of a superblock lies.
pub const SUPERBLOCK_CHECK: usize = 504;
/// Slots of 64 KiB: 24 bytes of head, 8 of bitmap, 16 checksums.
const DESCRIPTOR: usize = 160;
const PER_PAGE: u64 = 25;
pub const SLOT_BLOCKS: u64 = 16;
pub const MAGIC: &[u8; 8] = b"ROOTLET\x1a";

/// Returns the first eight numbers that SplitMix64 draws from the region's UUID.
fn numbers(uuid: &[u8; 16]) -> [u64; 8] {
    let next = |state: &mut u64| {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut state = u64_at(uuid, 0);
    state = next(&mut state) ^ u64_at(uuid, 8);
    [(); 8].map(|()| next(&mut state))
}

/// Returns the rapidhash v3 of `data` under seven of them, from a seed.
fn seeded(uuid: &[u8; 16], seed: u64, data: &[u8]) -> u64 {
    let [_, secrets @ ..] = numbers(uuid);
    rapidhash_v3_inline::<true, false, false>(data, &RapidSecrets { seed, secrets })
}

/// Returns the rapidhash v3 of `data` under all eight.
pub fn hash(uuid: &[u8; 16], data: &[u8]) -> u64 {
    seeded(uuid, numbers(uuid)[0], data)
}

fn u16_at(raw: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(raw[at..at + 2].try_into().unwrap())
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(raw[at..at + 4].try_into().unwrap())
}

pub fn u64_at(raw: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(raw[at..at + 8].try_into().unwrap())
}

fn keyed(uuid: &[u8; 16], body: &[u8]) -> u64 {
    hash(uuid, body)
}

/// What deciphers the blocks of a region with a key.
pub struct Cipher(Hctr2_256);

impl Cipher {
    /// The cipher of the region whose header is `raw`; `None` if that is damaged, or has another key.
    pub fn of(raw: &[u8], key: &[u8]) -> Option<Self> {
        let derived = Hkdf::<Sha256>::new(Some(&raw[16..48]), key);
        let (mut proof, mut cipher) = ([0; 32], [0; 32]);
        let info = [b"rootlet region 1: header", &raw[..64]].concat();
        derived.expand(&info, &mut proof).unwrap();
        derived.expand(b"rootlet region 1: cipher", &mut cipher).unwrap();
        let right = raw.starts_with(b"RLCRYPT\x1a")
            && Sha256::digest(&raw[..96])[..] == raw[96..128]
            && raw[64..96] == proof;
        right.then(|| Self(Hctr2_256::new(&cipher)))
    }

    /// The blocks `raw`, of which the first is block `number`, as the region wrote them.
    pub fn decipher(&self, number: u64, raw: &[u8]) -> Vec<u8> {
        let mut plain = vec![0; raw.len()];
        let blocks = raw.chunks(BLOCK as usize).zip(plain.chunks_mut(BLOCK as usize));
        for (number, (from, to)) in (number..).zip(blocks) {
            self.0.decrypt(from, &u128::from(number).to_le_bytes(), to).unwrap();
        }
        plain
    }
}

/// What a valid superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Super {
    pub uuid: [u8; 16],
    pub generation: u64,
    pub nonce: u64,
    pub slots: u64,
}

impl Super {
    pub fn decode(raw: &[u8]) -> Option<Self> {
        let uuid: [u8; 16] = raw[24..40].try_into().unwrap();
        let right = raw.starts_with(MAGIC)
            && u64_at(raw, SUPERBLOCK_CHECK) == keyed(&uuid, &raw[..SUPERBLOCK_CHECK]);
        right.then(|| Self {
            uuid,
            generation: u64_at(raw, 56),
            nonce: u64_at(raw, 64),
            slots: u32_at(raw, 76).into(),
        })
    }

    /// Descriptor pages of one copy.
    pub fn pages(&self) -> u64 {
        self.slots.div_ceil(PER_PAGE)
    }

    /// Pages of the hint.
    pub fn hint_pages(&self) -> u64 {
        if self.pages() < 64 { 0 } else { 1 + self.slots.next_power_of_two() / 256 }
    }

    /// What lies in block `number` of the region.
    pub fn place(&self, number: u64) -> Place {
        let copies = BLOB_TABLE + 2 * BLOB_PAGES;
        let hint = copies + 2 * self.pages();
        let slots = hint + self.hint_pages();
        let page = |kind, first: u64, count: u64| {
            let (copy, page) = ((number - first) / count, (number - first) % count);
            let twin = first + (1 - copy) * count + page;
            Place::Page { kind, page, twin }
        };
        match number {
            0 => Place::Superblock { twin: SUPERBLOCK_B },
            SUPERBLOCK_B => Place::Superblock { twin: 0 },
            BOOT_TRACE => Place::BootTrace,
            MARK => Place::Mark,
            _ if number < BLOB_TABLE => Place::Gap,
            _ if number < copies => page(Kind::Blobs, BLOB_TABLE, BLOB_PAGES),
            _ if number < hint => page(Kind::Descriptors, copies, self.pages()),
            _ if number < slots => Place::Hint,
            _ if number < slots + self.slots * SLOT_BLOCKS => {
                let at = number - slots;
                Place::Slot { slot: at / SLOT_BLOCKS, block: at % SLOT_BLOCKS }
            }
            _ => Place::Gap,
        }
    }

    /// Block numbers of both copies of the page that describes `slot`, and its index there.
    pub fn descriptor_of(&self, slot: u64) -> ([u64; 2], u64, usize) {
        let copies = BLOB_TABLE + 2 * BLOB_PAGES;
        let page = slot / PER_PAGE;
        ([copies + page, copies + self.pages() + page], page, (slot % PER_PAGE) as usize)
    }

    /// Block number of block `block` of `slot`.
    pub fn block_of(&self, slot: u64, block: u64) -> u64 {
        let pages = 2 * (BLOB_PAGES + self.pages()) + self.hint_pages();
        BLOB_TABLE + pages + slot * SLOT_BLOCKS + block
    }

    /// The generation of a valid page, and the page without its stamps.
    pub fn page(&self, kind: Kind, number: u64, raw: &[u8]) -> Option<(u64, Vec<u8>)> {
        let magic: &[u8] = if kind == Kind::Blobs { b"RLbl" } else { b"RLds" };
        let of_one_write = raw.starts_with(magic)
            && u64::from(u32_at(raw, 4)) == number
            && raw.chunks(512).all(|sector| sector[508..] == stamp(&raw[16..24]));
        let page = of_one_write.then(|| unsealed(raw))?;
        (u64_at(raw, 16) == page_check(&self.uuid, &page)).then(|| (u64_at(raw, 8), page))
    }
}

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Blobs,
    Descriptors,
}

/// What lies in a block of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Superblock { twin: u64 },
    Page { kind: Kind, page: u64, twin: u64 },
    Slot { slot: u64, block: u64 },
    Hint,
    BootTrace,
    Mark,
    Gap,
}

/// The first slot of descriptor page `page`.
pub fn first_slot(page: u64) -> u64 {
    page * PER_PAGE
}

/// A descriptor with bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub slot_generation: u32,
    pub blob: u16,
    pub blob_generation: u32,
    pub window: u64,
    pub bits: u64,
    pub sums: Vec<u64>,
}

impl Descriptor {
    /// Descriptor `index` of a page; `None` if it describes nothing.
    pub fn decode(raw: &[u8], index: usize) -> Option<Self> {
        let raw = &raw[PAGE_HEADER + index * DESCRIPTOR..][..DESCRIPTOR];
        (raw[2] == 1).then(|| Self {
            slot_generation: u32_at(raw, 4),
            blob: u16_at(raw, 0),
            blob_generation: u32_at(raw, 8),
            window: u64_at(raw, 16),
            bits: u64_at(raw, 24),
            sums: (0..SLOT_BLOCKS as usize).map(|block| u64_at(raw, 32 + 8 * block)).collect(),
        })
    }

    /// The slot's generation and its content: blob, generation of the blob, window; a tombstone too.
    pub fn holds(raw: &[u8], index: usize) -> (u32, Option<(u16, u32, u64)>) {
        let found = Self::decode(raw, index);
        let head = &raw[PAGE_HEADER + index * DESCRIPTOR..][..DESCRIPTOR];
        (u32_at(head, 4), found.map(|of| (of.blob, of.blob_generation, of.window)))
    }

    pub fn has(&self, block: u64) -> bool {
        self.bits >> block & 1 == 1
    }
}

/// The identities in a page of the blob table: (index, generation, identity) of each used entry.
pub fn identities(page: u64, raw: &[u8]) -> Vec<(u16, u32, Vec<u8>)> {
    let entry = |index: usize| {
        let raw = &raw[PAGE_HEADER + index * 128..][..128];
        let number = page as u16 * 31 + index as u16;
        (raw[0] == 1).then(|| (number, u32_at(raw, 4), raw[16..128].to_vec()))
    };
    (0..31).filter_map(entry).collect()
}

/// Where the counts of resident blocks begin in page 0 of the hint, 8 bytes for each blob.
pub const HINT_COUNTS: usize = PAGE_HEADER + 8;

/// Where the entries of a page of the hint begin, and the bytes of each; a slot comes first.
pub const HINT_ENTRIES: usize = PAGE_HEADER;
pub const HINT_ENTRY: usize = 12;

/// The slots that a page of the hint names, entry by entry.
pub fn hint_slots(raw: &[u8]) -> Vec<u32> {
    let slots = raw[HINT_ENTRIES..].chunks_exact(HINT_ENTRY).map(|entry| u32_at(entry, 0));
    slots.take_while(|slot| *slot != u32::MAX).collect()
}

/// The checksum of a block of a blob.
pub fn block_sum(
    uuid: &[u8; 16],
    identity: &[u8],
    generation: u32,
    number: u64,
    data: &[u8],
) -> u64 {
    let mut key = Vec::new();
    key.extend(hash(uuid, identity).to_le_bytes());
    key.extend(generation.to_le_bytes());
    let place = [hash(uuid, &key), number].map(u64::to_le_bytes);
    seeded(uuid, hash(uuid, place.as_flattened()), data)
}

/// Puts the right check into a superblock.
pub fn seal_superblock(raw: &mut [u8]) {
    let uuid: [u8; 16] = raw[24..40].try_into().unwrap();
    let check = keyed(&uuid, &raw[..SUPERBLOCK_CHECK]);
    raw[SUPERBLOCK_CHECK..SUPERBLOCK_CHECK + 8].copy_from_slice(&check.to_le_bytes());
}

fn page_check(uuid: &[u8; 16], page: &[u8]) -> u64 {
    keyed(uuid, &page[..16]).rotate_left(32) ^ keyed(uuid, &page[24..])
}

/// What stands at the end of each sector of a page with this check.
fn stamp(check: &[u8]) -> [u8; 4] {
    check[..4].try_into().unwrap()
}

/// A page, valid or not, with the bytes in their places that its stamps displaced.
pub fn unsealed(raw: &[u8]) -> Vec<u8> {
    let mut page = raw.to_vec();
    for sector in 0..8 {
        let displaced = 24 + 4 * sector;
        page[512 * sector + 508..][..4].copy_from_slice(&raw[displaced..][..4]);
        page[displaced..][..4].fill(0);
    }
    page
}

/// Makes a page of the region `uuid` out of one without stamps.
pub fn seal_page(uuid: &[u8; 16], raw: &mut [u8]) {
    let check = page_check(uuid, raw).to_le_bytes();
    raw[16..24].copy_from_slice(&check);
    for sector in 0..8 {
        let end = 512 * sector + 508;
        let displaced: [u8; 4] = raw[end..][..4].try_into().unwrap();
        raw[24 + 4 * sector..][..4].copy_from_slice(&displaced);
        raw[end..][..4].copy_from_slice(&stamp(&check));
    }
}
