//! The hint: which slot holds what, as the last mount that wrote the region left it.
//!
//! Always: a hint counts only while the superblock has the generation under which the hint was
//! written, and nothing else is written to the region under that generation afterwards; a slot that
//! a hint names counts only by its descriptor.

use super::BlobIndex;
use super::format::{HintEntry, HintHead, HintPage, Page};
use super::geometry::{Geometry, HINT_BUCKETS};
use super::hydrate::Armed;
use super::page::{self, PageKind};
use super::region::Cache;
use super::slots::SlotKey;
use super::superblock::Superblock;
use crate::num;
use crate::storage::events::Kind;
use crate::storage::{Storage, Transfer};
use crate::units::RegionSlot;
use alloc::boxed::Box;
use zerocopy::{FromZeros, IntoBytes};

/// The hint that this mount found, and memory for the one that it will leave.
#[derive(Debug)]
pub(super) struct Hints {
    /// Where to look for what is in pages not yet read.
    current: Option<Hint>,
    /// Buffers for the hint written at unmount; `spare` is used when no old hint can be recycled.
    blank: Option<Blank>,
    spare: Option<Blank>,
}

impl Hints {
    /// Returns no hint, and memory for one if the region can have one.
    pub fn new(geometry: &Geometry) -> Self {
        let blank = (geometry.hint_pages() > 0).then(Blank::new);
        Self { current: None, blank, spare: None }
    }

    /// Returns the hint, if there is one that counts.
    pub fn current(&self) -> Option<&Hint> {
        self.current.as_ref()
    }

    /// Drops the hint: all that it could tell is known.
    pub fn forget(&mut self) {
        self.current = None;
    }

    /// Notes that a page was read whose slots the hint counts, `live` of which hold something.
    /// Returns false if the hint counts less, and so does not hold.
    #[must_use]
    pub fn seen(&mut self, live: u32) -> bool {
        let Some(hint) = &mut self.current else { return true };
        let left = hint.live.checked_sub(live);
        if let Some(left) = left {
            hint.live = left;
        }
        left.is_some()
    }

    /// Returns how many slots of pages not yet read hold something, as the hint says.
    pub fn unseen_live(&self) -> u32 {
        self.current.as_ref().map_or(0, |hint| hint.live)
    }
}

/// A hint that counts.
#[derive(Debug)]
pub(super) struct Hint {
    generation: u64,
    /// Slots of pages not yet read that hold something.
    live: u32,
    head: Box<Page>,
    /// The page that was read last, and which it is; 0 is none.
    page: Box<Page>,
    number: u32,
}

/// Memory for a hint that is yet to be written.
#[derive(Debug)]
struct Blank {
    head: Box<Page>,
    page: Box<Page>,
}

impl Blank {
    /// Allocates both pages.
    fn new() -> Self {
        Self { head: Page::zeroed(), page: Page::zeroed() }
    }
}

impl Hint {
    /// Returns how many blocks of a blob were resident.
    pub fn residents(&self, blob: BlobIndex) -> u64 {
        let head = head_of(&self.head);
        head.residents.get(usize::from(blob.get())).map_or(0, |blocks| blocks.get())
    }

    fn is_empty(&self, number: u32) -> bool {
        is_empty(&self.head, number)
    }
}

fn head_of(page: &Page) -> &HintHead {
    zerocopy::transmute_ref!(&page.rest.body)
}

/// Returns the place of page `number`, from 1 on, among the counts of the head.
fn place_of(number: u32) -> Option<usize> {
    num::index(number).checked_sub(1)
}

/// Returns whether nothing stands in page `number`, from 1 on, of the hint with this head, so that
/// the page need not be there.
pub(super) fn is_empty(head: &Page, number: u32) -> bool {
    let head = head_of(head);
    let counted = place_of(number).and_then(|place| head.counts.get(place));
    counted.is_some_and(|count| count.get() == 0) || head.live.get() == 0
}

/// Returns the head of the hint of a region that holds nothing, which needs no other page.
pub(super) fn of_nothing(superblock: &Superblock) -> Box<Page> {
    let mut head = Page::zeroed();
    page::seal(&superblock.uuid, PageKind::Hint, 0, superblock.generation, &mut head);
    head
}

/// Returns the entries of a page.
fn entries(page: &Page) -> impl Iterator<Item = (RegionSlot, SlotKey)> {
    let body: &HintPage = zerocopy::transmute_ref!(&page.rest.body);
    let parsed = body.entries.iter().map(|entry| {
        let key = SlotKey { blob: BlobIndex::new(entry.blob.get()), window: entry.window.get() };
        (RegionSlot::new(entry.slot.get()), key)
    });
    parsed.take_while(|(slot, _)| slot.get() != HintEntry::END)
}

impl Cache {
    /// Looks for the hint of the last mount that wrote, if the region can have one.
    pub(super) fn read_hint<S: Storage>(&mut self, storage: &S) {
        if self.index.geometry().hint_pages() > 0 {
            self.hints.current = self.found_hint(storage);
            let lacks = self.hints.current.is_none();
            self.hints.spare = lacks.then(Blank::new);
        }
    }

    /// Reads the head of the hint and returns the hint; `None` if no hint counts.
    fn found_hint<S: Storage>(&self, storage: &S) -> Option<Hint> {
        let mut head = Page::zeroed();
        let geometry = self.index.geometry();
        if !self.read_region(storage, geometry.hint_at(0), head.as_mut_bytes()) {
            return None;
        }
        let generation = page::open(self.claim.uuid(), PageKind::Hint, 0, &mut head)?;
        let live = head_of(&head).live.get();
        let counts = generation == self.claim.superblock().generation && live <= geometry.slots();
        counts.then(|| Hint { generation, live, head, page: Page::zeroed(), number: 0 })
    }

    /// Returns the slot, of a page not yet read, that may hold `key`. Fails if the hint does not
    /// hold.
    pub(super) fn consult<S: Storage>(
        &mut self,
        storage: &S,
        key: SlotKey,
    ) -> Result<Option<RegionSlot>, ()> {
        let Some(mut hint) = self.hints.current.take() else { return Err(()) };
        let number = self.hint_page_of(key);
        let found = match hint.is_empty(number) {
            true => Ok(None),
            false => self.load_hint_page(storage, &mut hint, number).map(|()| {
                let mut held = entries(&hint.page).filter(|(_, held)| *held == key);
                held.find_map(|(slot, _)| self.index.unseen_page(slot).map(|_| slot))
            }),
        };
        self.hints.current = Some(hint);
        found
    }

    /// Returns the number, from 1 on, of the page of the hint where `key` stands if it is held.
    #[expect(clippy::arithmetic_side_effects, reason = "a hint has fewer pages than 2^24")]
    fn hint_page_of(&self, key: SlotKey) -> u32 {
        self.index.bucket(key) / HINT_BUCKETS + 1
    }

    fn load_hint_page<S: Storage>(
        &self,
        storage: &S,
        hint: &mut Hint,
        number: u32,
    ) -> Result<(), ()> {
        if hint.number == number {
            return Ok(());
        }
        hint.number = 0;
        let at = self.index.geometry().hint_at(number);
        let read = self.read_region(storage, at, hint.page.as_mut_bytes());
        let region = self.claim.uuid();
        match page::open(region, PageKind::Hint, number, &mut hint.page) {
            Some(generation) if read && generation == hint.generation => hint.number = number,
            _ => return Err(()),
        }
        Ok(())
    }

    /// Makes all durable as [`Cache::sync`] does, and leaves a hint for the next mount, so that it
    /// need not read all descriptor pages. What is written afterwards is announced anew. A hint that
    /// is not written in full before `deadline_ns` does not count. Returns whether all is durable.
    pub fn leave<S: Storage>(&mut self, storage: &S, deadline_ns: u64) -> bool {
        storage.set_deadline(Some(deadline_ns));
        let durable = self.leave_before(storage, deadline_ns);
        storage.set_deadline(None);
        durable
    }

    fn leave_before<S: Storage>(&mut self, storage: &S, deadline_ns: u64) -> bool {
        let durable = self.sync(storage, deadline_ns);
        if durable && self.hydrator.idle() {
            self.write_boot_trace(storage);
        }
        let wanted = self.index.geometry().hint_pages() > 0
            && self.claim.writes()
            && self.hydrator.armed() == Armed::Yes;
        if durable && wanted && self.hydrator.idle() {
            self.write_hint(storage, deadline_ns);
            // Also after a write that failed: its page may be there all the same.
            self.hydrator.disarm();
        }
        durable
    }

    /// Writes all pages of the hint, its head last, and flushes. For want of room in a page or of
    /// time, or after a write that failed, the head is not written and the hint does not count; then
    /// what is unseen is found by a scan, when somebody asks for it.
    #[expect(clippy::arithmetic_side_effects, reason = "every slot in memory stands in the hint")]
    fn write_hint<S: Storage>(&mut self, storage: &S, deadline_ns: u64) {
        let mut old = self.hints.current.take();
        if old.is_none() && self.index.is_unseen() {
            // It would not have all that the region holds.
            return;
        }
        let generation = self.claim.superblock().generation;
        let Some(Blank { mut head, mut page }) = self.hints.blank.take() else { return };
        head.zero();
        let body: &mut HintHead = zerocopy::transmute_mut!(&mut head.rest.body);
        let slots = self.index.geometry().slots();
        let mut live: u32 = 0;
        for number in 1..=self.index.geometry().hint_pages() {
            let in_time = storage.now_ns() < deadline_ns;
            let count = self.fill_hint_page(storage, old.as_mut(), number, &mut page);
            let written = count.filter(|_| {
                in_time && self.write_hint_page(storage, number, generation, &mut page)
            });
            // An old hint that names slots twice has more than there are.
            let sum = |count| Some(live.checked_add(u32::from(count))?).filter(|sum| *sum <= slots);
            let Some((count, sum)) = written.and_then(|count| Some((count, sum(count)?))) else {
                self.hints.blank = Some(Blank { head, page });
                return;
            };
            live = sum;
            if let Some(place) = place_of(number).and_then(|place| body.counts.get_mut(place)) {
                *place = count.into();
            }
        }
        body.live = live.into();
        for (blob, _) in self.index.blobs() {
            if let Some(residents) = body.residents.get_mut(usize::from(blob.get())) {
                *residents = self.index.residents(blob).into();
            }
        }
        if self.write_hint_page(storage, 0, generation, &mut head) {
            self.flush_region(storage);
        }
        let seen = self.used_slots();
        self.hints.blank = match old {
            Some(Hint { head, page, .. }) => Some(Blank { head, page }),
            None => self.hints.spare.take().or_else(|| Some(Blank::new())),
        };
        let unseen = live - seen;
        self.hints.current = Some(Hint { generation, live: unseen, head, page, number: 0 });
    }

    /// Puts the entries of page `number` into `page`: those of slots in memory, and those of unseen
    /// slots that the `old` hint has. Returns their number; `None` if there are more than a page has
    /// room for, or the old page does not count.
    fn fill_hint_page<S: Storage>(
        &self,
        storage: &S,
        old: Option<&mut Hint>,
        number: u32,
        page: &mut Page,
    ) -> Option<u16> {
        page.zero();
        let body: &mut HintPage = zerocopy::transmute_mut!(&mut page.rest.body);
        body.entries = [HintEntry::NONE; _];
        let mut count: u16 = 0;
        let mut add = |slot: RegionSlot, key: SlotKey| {
            *body.entries.get_mut(usize::from(count))? = HintEntry {
                slot: slot.get().into(),
                window: key.window.into(),
                blob: key.blob.get().into(),
                unused: [0xff; 2],
            };
            count = count.checked_add(1)?;
            Some(())
        };
        let first = number.checked_sub(1)?.checked_mul(HINT_BUCKETS)?;
        for (slot, key) in self.index.in_buckets(first..first.checked_add(HINT_BUCKETS)?) {
            add(slot, key)?;
        }
        if let Some(old) = old.filter(|old| !old.is_empty(number)) {
            self.load_hint_page(storage, old, number).ok()?;
            for (slot, key) in entries(&old.page) {
                if self.index.unseen_page(slot).is_some() {
                    add(slot, key)?;
                }
            }
        }
        Some(count)
    }

    fn write_hint_page<S: Storage>(
        &mut self,
        storage: &S,
        number: u32,
        generation: u64,
        page: &mut Page,
    ) -> bool {
        page::seal(self.claim.uuid(), PageKind::Hint, number, generation, page);
        let at = self.area.byte(self.index.geometry().hint_at(number));
        let departure = self.recorder.depart(storage);
        let mut batch = [Transfer::write(self.area.device, at, page.as_bytes())];
        storage.run(&mut batch, &mut |_, _| {});
        let written = batch.iter().all(|transfer| transfer.outcome().is_ok());
        page::unseal(page);
        self.stats.wrote(page.as_bytes().len(), written);
        let len = num::wide(page.as_bytes().len());
        self.record(storage, departure, Kind::Write, (at, len));
        written
    }

    fn flush_region<S: Storage>(&mut self, storage: &S) {
        let departure = self.recorder.depart(storage);
        let mut batch = [Transfer::flush(self.area.device)];
        storage.run(&mut batch, &mut |_, _| {});
        self.stats.flushed(batch.iter().all(|transfer| transfer.outcome().is_ok()));
        self.record(storage, departure, Kind::Flush, (0, 0));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "test code")]
    use super::*;
    use crate::slots::SlotTable;

    /// Returns the most entries that a page gets when each slot of a table holds one of these
    /// windows.
    fn fullest(slots: u32, window: impl Fn(u32) -> SlotKey) -> usize {
        let table: SlotTable = SlotTable::new(slots);
        let count = slots.next_power_of_two() / HINT_BUCKETS;
        let mut pages = std::vec![0; usize::try_from(count).unwrap()];
        for key in (0..slots).map(window) {
            *pages.get_mut(usize::try_from(table.bucket(key) / HINT_BUCKETS).unwrap()).unwrap() +=
                1;
        }
        pages.into_iter().max().unwrap()
    }

    #[test]
    fn full_regions_fit_their_hints() {
        for slots in [1000, 2048, 32_768, 200_000, 262_144, 1_000_000] {
            for stride in [1, 3, 16, 4096] {
                let of_one = |number| SlotKey { blob: BlobIndex::new(3), window: number * stride };
                let fullest = fullest(slots, of_one);
                assert!(fullest <= HintPage::ENTRIES, "{slots} by {stride}: {fullest}");
            }
            let of_many = |n: u32| {
                let blob = BlobIndex::new(u16::try_from(n % 100).unwrap());
                SlotKey { blob, window: n / 100 }
            };
            let fullest = fullest(slots, of_many);
            assert!(fullest <= HintPage::ENTRIES, "{slots} of many blobs: {fullest}");
        }
    }
}
