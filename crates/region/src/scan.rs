//! Reading descriptor pages: all at once, or as far as they are needed where a hint says where to
//! look.
//!
//! Always: a slot is used only after its descriptor page was read in this mount; what the hint says
//! decides only which page that is. A hint that does not hold costs a scan of all pages.

use super::BLOCK_BYTES;
use super::format::Page;
use super::geometry::Copy2;
use super::region::{Cache, FAULTS_MAX};
use super::slots::{SlotKey, SlotState};
use crate::num::{self, wide};
use crate::storage::events::Kind;
use crate::storage::{Storage, Transfer};
use crate::units::RegionSlot;
use alloc::vec::Vec;
use core::ops::Range;
use zerocopy::{FromZeros, IntoBytes};

/// Descriptor pages read at once.
const SCAN_PAGES: u32 = 32;

/// How far the search for free slots is, and the memory for scans.
#[derive(Debug)]
pub(super) struct Scan {
    /// The page where the search continues.
    next: u32,
    /// Buffers for reads of copies A and B of the same pages.
    memory: [Vec<Page>; 2],
}

impl Scan {
    /// Returns a search that has not begun, in `pages` pages. Allocates what later reads need.
    pub fn new(pages: u32, transfer_max: usize) -> Self {
        let at_once = (transfer_max / BLOCK_BYTES).clamp(1, num::index(SCAN_PAGES));
        let at_once = at_once.min(num::index(pages.max(1)));
        let memory = || core::iter::repeat_with(Page::new_zeroed).take(at_once).collect();
        Self { next: 0, memory: [memory(), memory()] }
    }
}

impl Cache {
    /// Takes the hint, if the last mount that wrote left one; else reads every page.
    pub(super) fn look_up_hint<S: Storage>(&mut self, storage: &S) {
        self.read_hint(storage);
        // To make room in a full blob table all slots have to be known.
        let hint = self.hints.current().filter(|_| !self.index.is_full());
        let is_taken =
            hint.is_some_and(|hint| self.index.claim_residents(|blob| hint.residents(blob)));
        if !is_taken {
            self.scan_all(storage);
        }
    }

    /// Returns the slot that holds `key`; reads what has to be read to know.
    pub(super) fn learn<S: Storage>(&mut self, storage: &S, key: SlotKey) -> Option<RegionSlot> {
        let found = self.index.find(key);
        if found.is_some() || !self.index.is_unseen() {
            return found;
        }
        match self.consult(storage, key) {
            Ok(Some(slot)) => {
                let (page, _) = self.index.geometry().place(slot);
                self.scan_one(storage, page);
            }
            Ok(None) => {}
            Err(()) => self.scan_all(storage),
        }
        self.index.find(key)
    }

    /// Looks for free slots, while there may be some in pages not yet read: at most
    /// [`SCAN_PAGES`] pages.
    #[expect(clippy::arithmetic_side_effects, reason = "there are fewer than 2^31 pages")]
    pub(super) fn learn_free<S: Storage>(&mut self, storage: &S, wanted: usize) {
        let spare = self.index.count(SlotState::Free).checked_sub(self.index.marks().cull);
        let enough = spare.is_some_and(|spare| num::index(spare) >= wanted);
        if !self.index.is_unseen() || enough {
            return;
        }
        let start = self.scan.next;
        self.scan.next = self.index.geometry().pages().min(start + SCAN_PAGES);
        self.scan(storage, start..self.scan.next);
    }

    /// Reads every descriptor page that was not read yet, so that all figures are right.
    pub fn scan_all<S: Storage>(&mut self, storage: &S) {
        self.scan(storage, 0..self.index.geometry().pages());
        if !self.index.is_unseen() {
            self.hints.forget();
        }
    }

    /// Reads those of these descriptor pages that were not read yet, and takes in what their slots
    /// hold.
    fn scan<S: Storage>(&mut self, storage: &S, pages: Range<u32>) {
        let [mut a, mut b] = core::mem::take(&mut self.scan.memory);
        let mut pages = pages.peekable();
        while let Some(first) = pages.next() {
            if self.index.is_seen(first) {
                continue;
            }
            let unseen = core::iter::from_fn(|| pages.next_if(|page| !self.index.is_seen(*page)));
            let count = core::iter::once(first).chain(unseen).take(a.len()).count();
            if let (Some(a), Some(b)) = (a.get_mut(..count), b.get_mut(..count)) {
                self.scan_run(storage, first, a, b);
            }
        }
        self.scan.memory = [a, b];
    }

    /// As [`Cache::scan`], of one page.
    #[expect(clippy::arithmetic_side_effects, reason = "there are fewer than 2^31 pages")]
    pub(super) fn scan_one<S: Storage>(&mut self, storage: &S, page: u32) {
        self.scan(storage, page..page + 1);
    }

    /// Reads both copies of something, those that fail once more, and returns which were read.
    pub(super) fn read_twins<S: Storage>(
        &mut self,
        storage: &S,
        [at_a, at_b]: [u64; 2],
        a: &mut [u8],
        b: &mut [u8],
    ) -> [bool; 2] {
        let departure = self.recorder.depart(storage);
        let places = [(at_a, wide(a.len())), (at_b, wide(b.len()))];
        let mut batch =
            [Transfer::read(self.area.device, at_a, a), Transfer::read(self.area.device, at_b, b)];
        storage.run(&mut batch, &mut |_, _| {});
        for place in places {
            self.record(storage, departure, Kind::Table, place);
        }
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
    fn scan_run<S: Storage>(&mut self, storage: &S, first: u32, a: &mut [Page], b: &mut [Page]) {
        let at = Copy2::BOTH.map(|copy| self.area.byte(self.index.geometry().page_at(copy, first)));
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
            let (a, b) = (in_a.then_some(a), in_b.then_some(b));
            let live = self.index.take_in(number, a, b, self.area.bytes);
            if !live.is_some_and(|live| self.hints.seen(live)) {
                self.hints.forget();
                self.index.forget_claims();
            }
        }
    }
}
