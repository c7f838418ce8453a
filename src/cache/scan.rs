//! Learning what the slots hold: all at once, or as far as it is needed where a hint says where to
//! look.
//!
//! Always: a slot is used only after its descriptor page was read in this mount; what the hint says
//! decides only which page that is. A hint that does not hold costs a scan of all pages.

use super::blobs::{BlobTable, ENTRIES_MAX};
use super::format::Page;
use super::geometry::{Copy2, Geometry};
use super::hint::{Blank, Hint};
use super::pages::Newest;
use super::region::{Cache, FAULTS_MAX};
use super::slots::{SlotKey, SlotState, SlotTable};
use super::{BLOCK_BYTES, BlobIndex, descriptor};
use crate::num;
use crate::storage::{Storage, Transfer};
use crate::units::Count;
use alloc::vec::Vec;
use core::ops::Range;
use zerocopy::{FromZeros, IntoBytes};

/// Descriptor pages read at once.
const SCAN_PAGES: u32 = 32;

/// How much of the region this mount has looked at.
#[derive(Debug)]
pub(super) struct Known {
    /// Descriptor pages that were not read yet.
    unseen: u32,
    /// The page where the search for free slots goes on.
    next: u32,
    /// Where to look for what is unseen.
    pub hint: Option<Hint>,
    /// Returns whether blocks of slots that are unseen are counted already.
    counted: bool,
    /// Buffers for reads of copies A and B of the same pages.
    memory: [Vec<Page>; 2],
    /// Buffers for the hint written at unmount; `spare` is used when no old hint can be recycled.
    pub blank: Option<Blank>,
    pub spare: Option<Blank>,
}

impl Known {
    /// Returns that nothing is known of `pages` pages. Allocates what later reads need.
    pub fn nothing(pages: u32, transfer_max: usize) -> Self {
        let at_once = (transfer_max / BLOCK_BYTES).clamp(1, num::index(SCAN_PAGES));
        let at_once = at_once.min(num::index(pages.max(1)));
        let memory = || core::iter::repeat_with(Page::new_zeroed).take(at_once).collect();
        Self {
            unseen: pages,
            next: 0,
            hint: None,
            counted: false,
            memory: [memory(), memory()],
            blank: None,
            spare: None,
        }
    }

    /// Returns whether there are descriptor pages that were not read yet.
    pub fn is_unseen(&self) -> bool {
        self.unseen > 0
    }

    /// Returns how many slots of pages not yet read hold something, as the hint says.
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
            self.known.blank = Some(Blank::new());
        }
        self.known.hint = self.read_hint(storage);
        let lacks = self.geometry.hint_pages() > 0 && self.known.hint.is_none();
        self.known.spare = lacks.then(Blank::new);
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

    /// Returns the slot that holds `key`; reads what has to be read to know.
    pub(super) fn learn<S: Storage>(&mut self, storage: &mut S, key: SlotKey) -> Option<u32> {
        let found = self.slots.find(key);
        if found.is_some() || self.known.unseen == 0 {
            return found;
        }
        match self.consult(storage, key) {
            Ok(Some(slot)) => {
                let (page, _) = self.geometry.place(slot);
                self.scan_one(storage, page);
            }
            Ok(None) => {}
            Err(()) => self.scan_all(storage),
        }
        self.slots.find(key)
    }

    /// Looks for free slots, while there may be some in pages not yet read: at most
    /// [`SCAN_PAGES`] pages.
    #[expect(clippy::arithmetic_side_effects, reason = "there are fewer than 2^31 pages")]
    pub(super) fn learn_free<S: Storage>(&mut self, storage: &mut S, wanted: usize) {
        let spare = self.slots.count(SlotState::Free).checked_sub(self.low_water());
        let enough = spare.is_some_and(|spare| num::index(spare) >= wanted);
        if self.known.unseen == 0 || enough {
            return;
        }
        let start = self.known.next;
        self.known.next = self.geometry.pages.min(start + SCAN_PAGES);
        self.scan(storage, start..self.known.next);
    }

    /// Reads every descriptor page that was not read yet, so that all figures are right.
    pub fn scan_all<S: Storage>(&mut self, storage: &mut S) {
        self.scan(storage, 0..self.geometry.pages);
        if self.known.unseen == 0 {
            self.known.hint = None;
        }
    }

    /// Returns whether a descriptor page was read in this mount.
    pub(super) fn is_seen(&self, page: u32) -> bool {
        self.pages.newest(page) != Newest::Unknown
    }

    /// Reads those of these descriptor pages that were not read yet, and takes in what their slots
    /// hold.
    fn scan<S: Storage>(&mut self, storage: &mut S, pages: Range<u32>) {
        let [mut a, mut b] = core::mem::take(&mut self.known.memory);
        let mut pages = pages.peekable();
        while let Some(first) = pages.next() {
            if self.is_seen(first) {
                continue;
            }
            let unseen = core::iter::from_fn(|| pages.next_if(|page| !self.is_seen(*page)));
            let count = core::iter::once(first).chain(unseen).take(a.len()).count();
            if let (Some(a), Some(b)) = (a.get_mut(..count), b.get_mut(..count)) {
                self.scan_run(storage, first, a, b);
            }
        }
        self.known.memory = [a, b];
    }

    /// As [`Cache::scan`], of one page.
    #[expect(clippy::arithmetic_side_effects, reason = "there are fewer than 2^31 pages")]
    pub(super) fn scan_one<S: Storage>(&mut self, storage: &mut S, page: u32) {
        self.scan(storage, page..page + 1);
    }

    /// Reads both copies of something, those that fail once more, and returns which were read.
    pub(super) fn read_twins<S: Storage>(
        &mut self,
        storage: &mut S,
        [at_a, at_b]: [u64; 2],
        a: &mut [u8],
        b: &mut [u8],
    ) -> [bool; 2] {
        let mut batch =
            [Transfer::read(self.area.device, at_a, a), Transfer::read(self.area.device, at_b, b)];
        storage.run(&mut batch, &mut |_, _| {});
        let mut read = batch.each_ref().map(|transfer| transfer.outcome().is_ok());
        let twins = [(at_a, a), (at_b, b)].into_iter().zip(&mut read);
        for ((at, out), read) in twins.filter(|(_, read)| !**read) {
            let mut again = [Transfer::read(self.area.device, at, out)];
            storage.run(&mut again, &mut |_, _| {});
            *read = again.iter().all(|transfer| transfer.outcome().is_ok());
            self.stats.region_fault();
            if !*read {
                self.stats.region_fault();
            }
        }
        read
    }

    /// Reads both copies of the pages from `first` on that fit in `a` and `b`.
    #[expect(clippy::arithmetic_side_effects, reason = "each page is unseen once")]
    fn scan_run<S: Storage>(
        &mut self,
        storage: &mut S,
        first: u32,
        a: &mut [Page],
        b: &mut [Page],
    ) {
        let at = Copy2::BOTH.map(|copy| self.area.byte(self.geometry.page_at(copy, first)));
        let [in_a, in_b] = self.read_twins(storage, at, a.as_mut_bytes(), b.as_mut_bytes());
        if !(in_a && in_b) {
            if a.len() > 1 && self.stats.region_faults < FAULTS_MAX {
                // One bad sector is of one page.
                for (number, (a, b)) in (first..).zip(a.chunks_mut(1).zip(b.chunks_mut(1))) {
                    self.scan_run(storage, number, a, b);
                }
                return;
            }
            // What they hold would be kept twice, and one of the two given up by the next mount.
            self.claim.stop_writing("a page of descriptors cannot be read");
        }
        for (number, (a, b)) in (first..).zip(a.iter_mut().zip(b)) {
            let page = self.pages.scan(number, in_a.then_some(a), in_b.then_some(b));
            let readable = self.pages.newest(number) != Newest::Unreadable;
            let counted = self.known.counted;
            let live = Found { number, page: page.filter(|_| readable), readable }.admit(
                &self.geometry,
                &self.blobs,
                &mut self.slots,
                (self.area.bytes, counted),
            );
            self.known.unseen -= 1;
            if let Some(hint) = &mut self.known.hint {
                // What the hint says is advice, and may count less.
                hint.live = hint.live.saturating_sub(live);
            }
        }
    }
}

/// A descriptor page as it was read.
struct Found<'p> {
    number: u32,
    page: Option<&'p Page>,
    readable: bool,
}

impl Found<'_> {
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
        let mut live = Count::ZERO;
        for (slot, index) in geometry.slots_of(self.number).zip(0u32..) {
            if !self.readable || geometry.end_of(slot) > area {
                continue;
            }
            let found = self.page.map(|page| descriptor::of(page, geometry.slot_size, index));
            let found = found.map(|found| (found.head(), found));
            let Some((head, found)) = found.filter(|(head, _)| head.live) else {
                slots.admit(slot, None, counted);
                continue;
            };
            let blob = BlobIndex(head.blob);
            let current =
                blobs.get(blob).is_some_and(|entry| entry.generation == head.blob_generation);
            match u32::try_from(head.window) {
                Ok(window) if current => {
                    let blocks = found.resident_count();
                    let held = Some((SlotKey { blob, window }, head.class, blocks));
                    slots.admit(slot, held, counted);
                    live.raise();
                }
                _ => slots.orphan(slot),
            }
        }
        live.get()
    }
}
