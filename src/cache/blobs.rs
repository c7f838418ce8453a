//! The blob table: which blobs the region knows, by identity.
//!
//! Always: an entry's place never changes while slots name it; an identity that comes back after
//! it changed gets a new generation, so that its old slots no longer match; a page is written to
//! the copy that is not its newest, and never to both between two flushes (O2).

use super::bytes::{array, put, u32_at, u64_at};
use super::checksum::BlobKey;
use super::geometry::{BLOB_PAGES, Copy2, Geometry, PAGE_HEADER_BYTES};
use super::page::{self, PageKind};
use super::{BLOCK_BYTES, BlobIdentity, BlobIndex, IDENTITY_BYTES};
use alloc::vec::Vec;

pub(super) const ENTRY_BYTES: usize = 128;
pub(super) const PER_PAGE: usize = 31;
pub const ENTRIES_MAX: usize = 124;

const _: () = assert!(PAGE_HEADER_BYTES + PER_PAGE * ENTRY_BYTES <= BLOCK_BYTES);

pub(super) mod at {
    pub const STATE: usize = 0;
    pub const GENERATION: usize = 4;
    pub const BYTES: usize = 8;
    pub const IDENTITY: usize = 16;
}

/// One blob that the region knows.
#[derive(Clone, Copy, Debug)]
pub struct BlobEntry {
    /// Who it is.
    pub identity: BlobIdentity,
    /// Length in bytes.
    pub bytes: u64,
    /// Goes up when the same place is used for another blob.
    pub generation: u32,
    /// Key of its block checksums.
    pub key: BlobKey,
    /// Whether the entry names a blob; a free entry keeps its generation.
    used: bool,
    /// Whether this mount reads the blob.
    attached: bool,
}

/// The table in memory; it is small and wholly loaded.
#[derive(Debug)]
pub struct BlobTable {
    region: [u8; 16],
    entries: Vec<BlobEntry>,
    /// Generation of each page, and which copy holds it.
    pages: [PageState; 4],
}

#[derive(Clone, Copy, Debug, Default)]
struct PageState {
    generation: u64,
    in_b: bool,
    dirty: bool,
    in_flight: bool,
    /// The newest copy was written since the last flush: the other is the only one that a power
    /// cut cannot take.
    volatile: bool,
}

impl PageState {
    fn writable(&self) -> bool {
        self.dirty && !self.in_flight && !self.volatile
    }
}

impl BlobTable {
    /// An empty table of the region with this UUID.
    pub fn new(region: [u8; 16]) -> Self {
        let mut entries = Vec::with_capacity(ENTRIES_MAX);
        let identity = BlobIdentity([0; IDENTITY_BYTES]);
        let key = BlobKey::new(&region, &identity.0, 0);
        entries.resize(
            ENTRIES_MAX,
            BlobEntry { identity, bytes: 0, generation: 0, key, used: false, attached: false },
        );
        Self { region, entries, pages: [PageState::default(); 4] }
    }

    /// Takes in the better of the two copies of page `number`.
    pub fn load(&mut self, number: u32, a: &mut [u8], b: &mut [u8]) {
        let in_a = page::open(&self.region, PageKind::Blobs, number, a);
        let in_b = page::open(&self.region, PageKind::Blobs, number, b);
        let b_counts = page::b_counts(in_a, in_b);
        let (counts, raw) = if b_counts { (in_b, b) } else { (in_a, a) };
        if let Some(generation) = counts {
            let copy = if b_counts { Copy2::B } else { Copy2::A };
            self.take_in(number, raw, (generation, copy));
        }
    }

    /// Takes in page `number`, open, of this generation and in this copy.
    pub fn take_in(&mut self, number: u32, raw: &[u8], (generation, copy): (u64, Copy2)) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(state) = self.pages.get_mut(index) {
            *state = PageState { generation, in_b: copy == Copy2::B, ..PageState::default() };
        }
        let region = self.region;
        let entries = self.entries.iter_mut().skip(index.saturating_mul(PER_PAGE));
        let stored = raw.get(PAGE_HEADER_BYTES..).unwrap_or_default().chunks_exact(ENTRY_BYTES);
        for (entry, raw) in entries.zip(stored.take(PER_PAGE)) {
            let identity = BlobIdentity(array(raw, at::IDENTITY));
            let generation = u32_at(raw, at::GENERATION);
            *entry = BlobEntry {
                identity,
                bytes: u64_at(raw, at::BYTES),
                generation,
                key: BlobKey::new(&region, &identity.0, generation),
                used: raw.get(at::STATE) == Some(&1),
                attached: false,
            };
        }
    }

    /// The entry of `blob`, if it names one.
    pub fn get(&self, blob: BlobIndex) -> Option<&BlobEntry> {
        self.entries.get(usize::from(blob.0)).filter(|entry| entry.used)
    }

    /// All used entries.
    pub fn iter(&self) -> impl Iterator<Item = (BlobIndex, &BlobEntry)> + Clone {
        (0u16..).map(BlobIndex).zip(&self.entries).filter(|(_, entry)| entry.used)
    }

    /// Finds the entry for this identity and length.
    pub fn find(&self, identity: &BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        self.iter()
            .find(|(_, e)| e.identity == *identity && e.bytes == bytes)
            .map(|(index, _)| index)
    }

    /// Says that this mount reads a blob: its entry is not given to another.
    pub fn attach(&mut self, blob: BlobIndex) {
        if let Some(entry) = self.entries.get_mut(usize::from(blob.0)) {
            entry.attached = true;
        }
    }

    /// An entry to give up: of a blob that this mount does not read, best of one for which
    /// `is_empty` says that no slot holds any of it.
    pub fn spare(&self, is_empty: impl Fn(BlobIndex) -> bool) -> Option<BlobIndex> {
        let mut spare = self.iter().filter(|(_, entry)| !entry.attached).map(|(index, _)| index);
        let first = spare.clone().next();
        spare.find(|index| is_empty(*index)).or(first)
    }

    /// Whether this mount reads a blob.
    pub fn is_attached(&self, blob: BlobIndex) -> bool {
        self.get(blob).is_some_and(|entry| entry.attached)
    }

    /// Frees an entry whose blob no slot holds any more.
    pub fn remove(&mut self, blob: BlobIndex) {
        let place = usize::from(blob.0);
        if let Some(entry) = self.entries.get_mut(place) {
            entry.used = false;
        }
        if let Some(page) = place.checked_div(PER_PAGE).and_then(|page| self.pages.get_mut(page)) {
            page.dirty = true;
        }
    }

    /// Adds an entry in a free place; `None` if the table is full.
    pub fn add(&mut self, identity: &BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        let place = self.entries.iter().position(|entry| !entry.used)?;
        let entry = self.entries.get_mut(place)?;
        let generation = entry.generation.wrapping_add(1);
        let key = BlobKey::new(&self.region, &identity.0, generation);
        *entry =
            BlobEntry { identity: *identity, bytes, generation, key, used: true, attached: true };
        self.pages.get_mut(place.checked_div(PER_PAGE)?)?.dirty = true;
        u16::try_from(place).ok().map(BlobIndex)
    }

    /// The next page that wants to be written: its number and where on the region; fills `raw`
    /// with it and counts it as in flight.
    pub fn take_dirty(&mut self, raw: &mut [u8]) -> Option<(u32, u64)> {
        let index = self.pages.iter().position(PageState::writable)?;
        let state = self.pages.get_mut(index)?;
        let number = u32::try_from(index).ok().filter(|n| *n < BLOB_PAGES)?;
        let target = if state.in_b { Copy2::A } else { Copy2::B };
        let generation = state.generation.wrapping_add(1);
        state.dirty = false;
        state.in_flight = true;
        raw.fill(0);
        let entries = self.entries.iter().skip(index.saturating_mul(PER_PAGE)).take(PER_PAGE);
        let body = raw.get_mut(PAGE_HEADER_BYTES..).unwrap_or_default();
        for (entry, out) in entries.zip(body.chunks_exact_mut(ENTRY_BYTES)) {
            put(out, at::STATE, &[u8::from(entry.used)]);
            put(out, at::GENERATION, &entry.generation.to_le_bytes());
            put(out, at::BYTES, &entry.bytes.to_le_bytes());
            put(out, at::IDENTITY, &entry.identity.0);
        }
        page::seal(&self.region, PageKind::Blobs, number, generation, raw);
        Some((number, Geometry::blob_page_at(target, number)))
    }

    /// The write of page `number` ended.
    pub fn written(&mut self, number: u32, ok: bool) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(state) = self.pages.get_mut(index) {
            state.in_flight = false;
            // After a failed write the older copy may hold anything; the newer is untouched,
            // and the same older copy is tried again with the next change.
            if ok {
                state.in_b = !state.in_b;
                state.volatile = true;
                state.generation = state.generation.wrapping_add(1);
            } else {
                state.dirty = true;
            }
        }
    }

    /// Every write that had ended is durable.
    pub fn flushed(&mut self) {
        for page in &mut self.pages {
            page.volatile = false;
        }
    }

    /// Whether a page is being written, or may be before the next flush.
    pub fn busy(&self) -> bool {
        self.pages.iter().any(|page| page.in_flight || page.writable())
    }

    /// Whether a page waits to be written or is being written.
    pub fn unsettled(&self) -> bool {
        self.pages.iter().any(|page| page.dirty || page.in_flight)
    }
}
