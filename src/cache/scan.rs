//! Learning what the slots hold: all at once, or as far as it is needed where a hint says where to
//! look.
//!
//! Always: a slot is used only after its descriptor page was read in this mount; what the hint says
//! decides only which page that is. A hint that does not hold costs a scan of all pages.

use super::blobs::{BlobTable, ENTRIES_MAX};
use super::geometry::{Copy2, Geometry};
use super::hint::{Blank, Hint};
use super::pages::Newest;
use super::region::{Cache, FAULTS_MAX};
use super::slots::{SlotKey, SlotState, SlotTable};
use super::{BLOCK_BYTES, BlobIndex, descriptor};
use crate::storage::{Storage, Transfer};
use alloc::vec;
use alloc::vec::Vec;

/// Descriptor pages read at once.
const SCAN_PAGES: u32 = 32;

/// How much of the region this mount has looked at.
#[derive(Debug)]
pub(super) struct Known {
    /// Descriptor pages that were not read yet.
    unseen: u32,
    /// The page where the search for free slots goes on.
    next: u32,
    /// Bytes of the area; slots beyond are not used.
    area: u64,
    /// Where to look for what is unseen.
    pub hint: Option<Hint>,
    /// Whether blocks of slots that are unseen are counted already.
    counted: bool,
    /// For reads of both copies of pages.
    memory: Vec<u8>,
    /// For the hint that this mount leaves, and for the next one where it found none to take the
    /// place of.
    pub blank: Blank,
    pub spare: Option<Blank>,
}

impl Known {
    /// Nothing is known of these pages in an area of so many bytes. Allocates what later reads
    /// need.
    pub fn nothing(pages: u32, area: u64, transfer_max: usize) -> Self {
        let at_once = u32::try_from(transfer_max / BLOCK_BYTES).unwrap_or(u32::MAX);
        let at_once = at_once.clamp(1, SCAN_PAGES).min(pages.max(1));
        let bytes = usize::try_from(at_once).unwrap_or(0).saturating_mul(2 * BLOCK_BYTES);
        let memory = vec![0; bytes];
        Self {
            unseen: pages,
            next: 0,
            area,
            hint: None,
            counted: false,
            memory,
            blank: Blank::default(),
            spare: None,
        }
    }

    /// Whether there are descriptor pages that were not read yet.
    pub fn is_unseen(&self) -> bool {
        self.unseen > 0
    }

    /// Slots of pages not yet read that hold something, as the hint says.
    pub fn unseen_live(&self) -> u32 {
        match &self.hint {
            Some(hint) if self.unseen > 0 => hint.live,
            _ => 0,
        }
    }
}

impl Cache {
    /// Takes the hint, if the last mount that wrote left one; else reads every page.
    pub(super) fn look_up_hint<S: Storage>(&mut self, storage: &mut S) {
        if self.geometry.hint_pages() > 0 {
            self.known.blank = Blank::allocated();
        }
        self.known.hint = self.read_hint(storage);
        let lacks = self.geometry.hint_pages() > 0 && self.known.hint.is_none();
        self.known.spare = lacks.then(Blank::allocated);
        // To make room in a full blob table all slots have to be known.
        if self.known.hint.is_none() || self.blobs.iter().count() == ENTRIES_MAX {
            return self.scan_all(storage);
        }
        self.known.counted = true;
        if let Some(hint) = &self.known.hint {
            for blob in (0..).map(BlobIndex).take(ENTRIES_MAX) {
                self.slots.set_residents(blob, hint.residents(blob));
            }
        }
    }

    /// The slot that holds `key`; reads what has to be read to know.
    pub(super) fn learn<S: Storage>(&mut self, storage: &mut S, key: SlotKey) -> Option<u32> {
        let found = self.slots.find(key);
        if found.is_some() || self.known.unseen == 0 {
            return found;
        }
        match self.consult(storage, key) {
            Ok(Some(slot)) => {
                let (page, _) = self.geometry.place(slot);
                self.scan(storage, page, 1);
            }
            Ok(None) => {}
            Err(()) => self.scan_all(storage),
        }
        self.slots.find(key)
    }

    /// Looks for free slots, while there may be some in pages not yet read: at most
    /// [`SCAN_PAGES`] pages.
    pub(super) fn learn_free<S: Storage>(&mut self, storage: &mut S, wanted: usize) {
        let free = usize::try_from(self.slots.count(SlotState::Free)).unwrap_or(usize::MAX);
        let low = usize::try_from(self.low_water()).unwrap_or(usize::MAX);
        if self.known.unseen == 0 || free >= wanted.saturating_add(low) {
            return;
        }
        let first = self.known.next;
        let count = SCAN_PAGES.min(self.geometry.pages.saturating_sub(first));
        self.known.next = first.saturating_add(count);
        self.scan(storage, first, count);
    }

    /// Reads every descriptor page that was not read yet, so that all figures are right.
    pub fn scan_all<S: Storage>(&mut self, storage: &mut S) {
        self.scan(storage, 0, self.geometry.pages);
        if self.known.unseen == 0 {
            self.known.hint = None;
        }
    }

    /// Whether a descriptor page was read in this mount.
    pub(super) fn is_seen(&self, page: u32) -> bool {
        self.pages.newest(page) != Newest::Unknown
    }

    /// Reads those of these descriptor pages that were not read yet, and takes in what their slots
    /// hold.
    pub(super) fn scan<S: Storage>(&mut self, storage: &mut S, first: u32, count: u32) {
        let end = first.saturating_add(count).min(self.geometry.pages);
        let mut memory = core::mem::take(&mut self.known.memory);
        let half = memory.len() / 2;
        let (a, b) = memory.split_at_mut(half);
        let per_read = u32::try_from(a.len() / BLOCK_BYTES).unwrap_or(u32::MAX).max(1);
        let mut page = first;
        while page < end {
            if self.is_seen(page) {
                page = page.saturating_add(1);
                continue;
            }
            let unseen = (page..end).take_while(|page| !self.is_seen(*page)).count();
            let count = per_read.min(u32::try_from(unseen).unwrap_or(u32::MAX));
            let len = usize::try_from(count).unwrap_or(0).saturating_mul(BLOCK_BYTES);
            if let (Some(a), Some(b)) = (a.get_mut(..len), b.get_mut(..len)) {
                self.scan_run(storage, page, a, b);
            }
            page = page.saturating_add(count);
        }
        self.known.memory = memory;
    }

    /// Reads both copies of something, those that fail once more, and says which were read.
    pub(super) fn read_twins<S: Storage>(
        &mut self,
        storage: &mut S,
        [at_a, at_b]: [u64; 2],
        a: &mut [u8],
        b: &mut [u8],
    ) -> [bool; 2] {
        let mut batch =
            [Transfer::read(self.device, at_a, a), Transfer::read(self.device, at_b, b)];
        storage.run(&mut batch, &mut |_, _| {});
        let mut read = batch.each_ref().map(|transfer| transfer.outcome().is_ok());
        let twins = [(at_a, a), (at_b, b)].into_iter().zip(&mut read);
        for ((at, out), read) in twins.filter(|(_, read)| !**read) {
            let mut again = [Transfer::read(self.device, at, out)];
            storage.run(&mut again, &mut |_, _| {});
            *read = again.iter().all(|transfer| transfer.outcome().is_ok());
            let faults = 1_u64.wrapping_add(u64::from(!*read));
            self.stats.region_faults = self.stats.region_faults.saturating_add(faults);
        }
        read
    }

    /// Reads both copies of the pages from `first` on that fit in `a` and `b`.
    fn scan_run<S: Storage>(&mut self, storage: &mut S, first: u32, a: &mut [u8], b: &mut [u8]) {
        let at = |copy| self.start.saturating_add(self.geometry.page_at(copy, first));
        let [in_a, in_b] = self.read_twins(storage, [at(Copy2::A), at(Copy2::B)], a, b);
        if !(in_a && in_b) {
            if a.len() > BLOCK_BYTES && self.stats.region_faults < FAULTS_MAX {
                // One bad sector is of one page.
                let pairs = a.chunks_exact_mut(BLOCK_BYTES).zip(b.chunks_exact_mut(BLOCK_BYTES));
                for (number, (a, b)) in (first..).zip(pairs) {
                    self.scan_run(storage, number, a, b);
                }
                return;
            }
            // What they hold would be kept twice, and one of the two given up by the next mount.
            self.stop_writing("a page of descriptors cannot be read");
        }
        let pairs = a.chunks_exact_mut(BLOCK_BYTES).zip(b.chunks_exact_mut(BLOCK_BYTES));
        for (number, (a, b)) in (first..).zip(pairs) {
            let raw = self.pages.scan(number, in_a.then_some(a), in_b.then_some(b));
            let readable = self.pages.newest(number) != Newest::Unreadable;
            let counted = self.known.counted;
            let live = Page { number, raw: raw.filter(|_| readable), readable }.admit(
                &self.geometry,
                &self.blobs,
                &mut self.slots,
                (self.known.area, counted),
            );
            self.known.unseen = self.known.unseen.saturating_sub(1);
            if let Some(hint) = &mut self.known.hint {
                hint.live = hint.live.saturating_sub(live);
            }
        }
    }
}

/// A descriptor page as it was read.
struct Page<'r> {
    number: u32,
    raw: Option<&'r [u8]>,
    readable: bool,
}

impl Page<'_> {
    /// Takes in its slots, and returns how many hold something. A slot whose blob is gone, or that
    /// another slot doubles, is an orphan and gets a tombstone; slots of an unreadable page, or
    /// beyond a shrunk area, stay dead.
    fn admit(
        &self,
        geometry: &Geometry,
        blobs: &BlobTable,
        slots: &mut SlotTable,
        (area, counted): (u64, bool),
    ) -> u32 {
        let mut live: u32 = 0;
        for (slot, index) in geometry.slots_of(self.number).zip(0u32..) {
            let end = geometry.block_at(slot, 0).saturating_add(geometry.slot_size.bytes());
            if !self.readable || end > area {
                continue;
            }
            let size = geometry.slot_size;
            let head = self.raw.map(|raw| (raw, descriptor::head(raw, size, index)));
            let Some((raw, head)) = head.filter(|(_, head)| head.live) else {
                slots.admit(slot, None, counted);
                continue;
            };
            let blob = BlobIndex(head.blob);
            let current =
                blobs.get(blob).is_some_and(|entry| entry.generation == head.blob_generation);
            match u32::try_from(head.window) {
                Ok(window) if current => {
                    let blocks = descriptor::resident_count(raw, size, index);
                    let held = Some((SlotKey { blob, window }, head.class, blocks));
                    slots.admit(slot, held, counted);
                    live = live.saturating_add(1);
                }
                _ => slots.orphan(slot),
            }
        }
        live
    }
}
