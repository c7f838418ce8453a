//! The blob table: which blobs the region knows, by identity.
//!
//! Always: an entry's place never changes while slots name it; an identity that comes back after
//! it changed gets a new generation, so that its old slots no longer match; a page is written to
//! the copy that is not its newest, and never to both between two flushes (O2).

use super::checksum::BlobKey;
use super::format::{self, BlobPage, Page};
use super::geometry::{BLOB_PAGES, Copy2, Geometry};
use super::page::{self, PageKind};
use super::{BlobIdentity, BlobIndex, IDENTITY_BYTES};
use crate::num;
use alloc::boxed::Box;

pub const ENTRIES_MAX: usize = num::index(BLOB_PAGES) * BlobPage::ENTRIES;

/// One blob that the region knows.
#[derive(Clone, Copy, Debug)]
pub struct BlobEntry {
    /// Who it is.
    pub identity: BlobIdentity,
    /// Length in bytes.
    pub bytes: u64,
    /// Goes up when the same place is used for another blob.
    pub generation: u32,
    /// The key of the checksums of the blob's blocks.
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
    entries: Box<[BlobEntry; ENTRIES_MAX]>,
    /// Generation of each page, and which copy holds it.
    pages: [PageState; num::index(BLOB_PAGES)],
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

impl BlobEntry {
    /// Returns what an entry of this region's table says.
    fn of(region: &[u8; 16], raw: &format::BlobEntry) -> Self {
        let generation = raw.generation.get();
        Self {
            identity: BlobIdentity(raw.identity),
            bytes: raw.bytes.get(),
            generation,
            key: BlobKey::new(region, &raw.identity, generation),
            used: raw.state == format::BlobEntry::USED,
            attached: false,
        }
    }

    fn to_format(self) -> format::BlobEntry {
        format::BlobEntry {
            state: if self.used { format::BlobEntry::USED } else { 0 },
            unused: [0; 3],
            generation: self.generation.into(),
            bytes: self.bytes.into(),
            identity: self.identity.0,
        }
    }
}

impl BlobTable {
    /// Returns an empty table of the region with this UUID.
    pub fn new(region: [u8; 16]) -> Self {
        let identity = BlobIdentity([0; IDENTITY_BYTES]);
        let key = BlobKey::new(&region, &identity.0, 0);
        let free =
            BlobEntry { identity, bytes: 0, generation: 0, key, used: false, attached: false };
        Self {
            region,
            entries: Box::new([free; ENTRIES_MAX]),
            pages: [PageState::default(); num::index(BLOB_PAGES)],
        }
    }

    /// Takes in the better of the two copies of page `number`.
    pub fn load(&mut self, number: u32, a: &mut Page, b: &mut Page) {
        let in_a = page::open(&self.region, PageKind::Blobs, number, a);
        let in_b = page::open(&self.region, PageKind::Blobs, number, b);
        let b_counts = page::b_counts(in_a, in_b);
        let (counts, page) = if b_counts { (in_b, b) } else { (in_a, a) };
        if let Some(generation) = counts {
            let copy = if b_counts { Copy2::B } else { Copy2::A };
            self.take_in(number, page, (generation, copy));
        }
    }

    /// Takes in page `number`, open, of this generation and in this copy.
    pub fn take_in(&mut self, number: u32, page: &Page, (generation, copy): (u64, Copy2)) {
        *self.page_mut(number) =
            PageState { generation, in_b: copy == Copy2::B, ..PageState::default() };
        let body: &BlobPage = zerocopy::transmute_ref!(&page.rest.body);
        let region = self.region;
        for (entry, raw) in self.page_of_mut(number).iter_mut().zip(&body.entries) {
            *entry = BlobEntry::of(&region, raw);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the callers count up to `BLOB_PAGES`")]
    fn page_mut(&mut self, number: u32) -> &mut PageState {
        &mut self.pages[num::index(number)]
    }

    /// Returns the entries of page `number`.
    #[expect(clippy::indexing_slicing, reason = "as in `page_mut`")]
    fn page_of_mut(&mut self, number: u32) -> &mut [BlobEntry; BlobPage::ENTRIES] {
        &mut self.entries.as_chunks_mut().0[num::index(number)]
    }

    /// Marks the page of a blob's entry: it has to be written.
    #[expect(clippy::indexing_slicing, reason = "as many pages as hold the entries")]
    fn change(&mut self, blob: BlobIndex) {
        self.pages[usize::from(blob.get()) / BlobPage::ENTRIES].dirty = true;
    }

    /// Returns the entry of `blob`, if it names one.
    pub fn get(&self, blob: BlobIndex) -> Option<&BlobEntry> {
        self.entries.get(usize::from(blob.get())).filter(|entry| entry.used)
    }

    /// Returns all used entries.
    pub fn iter(&self) -> impl Iterator<Item = (BlobIndex, &BlobEntry)> + Clone {
        (0u16..).map(BlobIndex::new).zip(&*self.entries).filter(|(_, entry)| entry.used)
    }

    /// Finds the entry for this identity and length.
    pub fn find(&self, identity: &BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        self.iter()
            .find(|(_, e)| e.identity == *identity && e.bytes == bytes)
            .map(|(index, _)| index)
    }

    /// Notes that this mount reads a blob: the blob's entry is not given to another.
    pub fn attach(&mut self, blob: BlobIndex) {
        if let Some(entry) = self.entries.get_mut(usize::from(blob.get())) {
            entry.attached = true;
        }
    }

    /// Returns an entry to give up: of a blob that this mount does not read, best of one for which
    /// `is_empty` says that no slot holds any of it.
    pub fn spare(&self, is_empty: impl Fn(BlobIndex) -> bool) -> Option<BlobIndex> {
        let mut spare = self.iter().filter(|(_, entry)| !entry.attached).map(|(index, _)| index);
        let first = spare.clone().next();
        spare.find(|index| is_empty(*index)).or(first)
    }

    /// Returns whether this mount reads a blob.
    pub fn is_attached(&self, blob: BlobIndex) -> bool {
        self.get(blob).is_some_and(|entry| entry.attached)
    }

    /// Frees an entry whose blob no slot holds any more.
    pub fn remove(&mut self, blob: BlobIndex) {
        if let Some(entry) = self.entries.get_mut(usize::from(blob.get())) {
            entry.used = false;
            self.change(blob);
        }
    }

    /// Adds an entry in a free place and returns its number; `None` if the table is full.
    pub fn add(&mut self, identity: &BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        let mut places = (0..).map(BlobIndex::new).zip(self.entries.iter_mut());
        let (blob, entry) = places.find(|(_, entry)| !entry.used)?;
        let generation = entry.generation.wrapping_add(1);
        let key = BlobKey::new(&self.region, &identity.0, generation);
        *entry =
            BlobEntry { identity: *identity, bytes, generation, key, used: true, attached: true };
        self.change(blob);
        Some(blob)
    }

    /// Returns the next page that wants to be written: its number and where on the region. Fills
    /// `page` with it and counts it as in flight.
    pub fn take_dirty(&mut self, page: &mut Page) -> Option<(u32, u64)> {
        let mut pages = (0..).zip(&mut self.pages);
        let (number, state) = pages.find(|(_, state)| state.writable())?;
        let target = if state.in_b { Copy2::A } else { Copy2::B };
        let generation = state.generation.wrapping_add(1);
        state.dirty = false;
        state.in_flight = true;
        let entries = self.page_of_mut(number).map(BlobEntry::to_format);
        page.rest.body = zerocopy::transmute!(BlobPage { entries, rest: [0; _] });
        page.rest.unused = [0; _];
        page::seal(&self.region, PageKind::Blobs, number, generation, page);
        Some((number, Geometry::blob_page_at(target, number)))
    }

    /// Notes that the write of page `number` ended.
    pub fn written(&mut self, number: u32, ok: bool) {
        let state = self.page_mut(number);
        state.in_flight = false;
        // After a failed write the older copy may hold anything; the newer is untouched, and the
        // same older copy is tried again with the next change.
        if ok {
            state.in_b = !state.in_b;
            state.volatile = true;
            state.generation = state.generation.wrapping_add(1);
        } else {
            state.dirty = true;
        }
    }

    /// Notes that every write that had ended is durable.
    pub fn flushed(&mut self) {
        for page in &mut self.pages {
            page.volatile = false;
        }
    }

    /// Returns whether a page is being written, or may be before the next flush.
    pub fn busy(&self) -> bool {
        self.pages.iter().any(|page| page.in_flight || page.writable())
    }

    /// Returns whether a page waits to be written or is being written.
    pub fn unsettled(&self) -> bool {
        self.pages.iter().any(|page| page.dirty || page.in_flight)
    }
}
