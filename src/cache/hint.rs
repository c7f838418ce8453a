//! The hint: which slot holds what, as the last mount that wrote the region left it.
//!
//! Always: it counts only while the superblock has the generation that it was written under, and
//! nothing is written to the region under that generation any more; what it says of a slot is
//! believed only after the slot's descriptor was read.

use super::blobs::ENTRIES_MAX;
use super::bytes::{put, u16_at, u32_at, u64_at};
use super::geometry::{HINT_BUCKETS, PAGE_HEADER_BYTES};
use super::hydrate::Armed;
use super::page::{self, PageKind};
use super::region::{Cache, Mode};
use super::slots::SlotKey;
use super::superblock::Superblock;
use super::{BLOCK_BYTES, BlobIndex};
use crate::storage::{Background, Storage, Transfer};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

/// The head, page 0 of the hint.
mod head {
    pub const LIVE: usize = super::PAGE_HEADER_BYTES;
    pub const RESIDENTS: usize = LIVE + 8;
    pub const COUNTS: usize = RESIDENTS + 8 * super::ENTRIES_MAX;
    /// Pages whose counts fit.
    pub const COUNTS_MAX: u32 = 1516;
}

/// An entry of any other page.
mod entry {
    pub const SLOT: usize = 0;
    pub const WINDOW: usize = 4;
    pub const BLOB: usize = 8;
    pub const BYTES: usize = 12;
}

const ENTRIES_PER_PAGE: usize = 336;

const _: () = assert!(PAGE_HEADER_BYTES + ENTRIES_PER_PAGE * entry::BYTES <= BLOCK_BYTES);
const _: () = assert!(head::COUNTS + 2 * 1516 <= BLOCK_BYTES);

/// A hint that counts.
#[derive(Debug)]
pub(super) struct Hint {
    generation: u64,
    /// Slots of pages not yet read that hold something.
    pub live: u32,
    head: Block,
    /// The page that was read last, and which it is; 0 is none.
    page: Block,
    number: u32,
}

type Block = Box<[u8]>;

/// Memory for a hint that is yet to be written.
#[derive(Debug, Default)]
pub(super) struct Blank {
    head: Block,
    page: Block,
}

impl Blank {
    /// Of blocks, not of nothing.
    pub fn allocated() -> Self {
        let block = || vec![0; BLOCK_BYTES].into_boxed_slice();
        Self { head: block(), page: block() }
    }
}

impl Hint {
    /// Blocks of a blob that were resident.
    pub fn residents(&self, blob: BlobIndex) -> u64 {
        u64_at(&self.head, head::RESIDENTS.saturating_add(usize::from(blob.0).saturating_mul(8)))
    }

    fn is_empty(&self, number: u32) -> bool {
        is_empty(&self.head, number)
    }
}

/// Whether nothing stands in page `number`, from 1 on, of the hint with this head, so that the page
/// need not be there.
pub(super) fn is_empty(head: &[u8], number: u32) -> bool {
    let page = number.wrapping_sub(1);
    let counted = page < head::COUNTS_MAX && u16_at(head, count_at(page)) == 0;
    counted || u32_at(head, head::LIVE) == 0
}

/// The head of the hint of a region that holds nothing, which needs no other page.
pub(super) fn of_nothing(superblock: &Superblock) -> Vec<u8> {
    let mut head = vec![0; BLOCK_BYTES];
    page::seal(&superblock.uuid, PageKind::Hint, 0, superblock.generation, &mut head);
    head
}

fn count_at(page: u32) -> usize {
    head::COUNTS.saturating_add(usize::try_from(page).unwrap_or(0).saturating_mul(2))
}

/// The entries of a page.
fn entries(raw: &[u8]) -> impl Iterator<Item = (u32, SlotKey)> {
    let body = raw.get(PAGE_HEADER_BYTES..).unwrap_or_default();
    let used = body.chunks_exact(entry::BYTES).take(ENTRIES_PER_PAGE);
    let parsed = used.map(|raw| {
        let key = SlotKey {
            blob: BlobIndex(u16_at(raw, entry::BLOB)),
            window: u32_at(raw, entry::WINDOW),
        };
        (u32_at(raw, entry::SLOT), key)
    });
    parsed.take_while(|(slot, _)| *slot != u32::MAX)
}

impl Cache {
    /// Reads the head of the hint; `None` if there is none that counts.
    pub(super) fn read_hint<S: Storage>(&self, storage: &mut S) -> Option<Hint> {
        if self.geometry.hint_pages() == 0 {
            return None;
        }
        let mut head = vec![0; BLOCK_BYTES].into_boxed_slice();
        if !self.read_region(storage, self.geometry.hint_at(0), &mut head) {
            return None;
        }
        let generation = page::open(&self.superblock.uuid, PageKind::Hint, 0, &mut head)?;
        (generation == self.superblock.generation).then(|| Hint {
            generation,
            live: u32_at(&head, head::LIVE),
            head,
            page: vec![0; BLOCK_BYTES].into_boxed_slice(),
            number: 0,
        })
    }

    /// The slot, of a page not yet read, that may hold `key`. Fails if the hint does not hold.
    pub(super) fn consult<S: Storage>(
        &mut self,
        storage: &mut S,
        key: SlotKey,
    ) -> Result<Option<u32>, ()> {
        let Some(mut hint) = self.known.hint.take() else { return Err(()) };
        let number = self.hint_page_of(key);
        let found = match hint.is_empty(number) {
            true => Ok(None),
            false => self.load_hint_page(storage, &mut hint, number).map(|()| {
                let unseen = |slot: &u32| !self.is_seen(self.geometry.place(*slot).0);
                let mut held = entries(&hint.page).filter(|(_, held)| *held == key);
                held.find_map(|(slot, _)| Some(slot).filter(unseen))
            }),
        };
        self.known.hint = Some(hint);
        found
    }

    /// Number, from 1 on, of the page of the hint where `key` stands if it is held.
    fn hint_page_of(&self, key: SlotKey) -> u32 {
        (self.slots.bucket(key) / HINT_BUCKETS).saturating_add(1)
    }

    fn load_hint_page<S: Storage>(
        &self,
        storage: &mut S,
        hint: &mut Hint,
        number: u32,
    ) -> Result<(), ()> {
        if hint.number == number {
            return Ok(());
        }
        hint.number = 0;
        let read = self.read_region(storage, self.geometry.hint_at(number), &mut hint.page);
        let region = &self.superblock.uuid;
        match page::open(region, PageKind::Hint, number, &mut hint.page) {
            Some(generation) if read && generation == hint.generation => hint.number = number,
            _ => return Err(()),
        }
        Ok(())
    }

    /// Makes all durable as [`Cache::sync`] does, and leaves a hint for the next mount, so that it
    /// need not read all descriptor pages. What is written afterwards is announced anew. A hint that
    /// is not written before `deadline_ns` is none.
    pub fn leave<S: Background>(&mut self, storage: &mut S, deadline_ns: u64) -> bool {
        storage.set_deadline(Some(deadline_ns));
        let durable = self.leave_before(storage, deadline_ns);
        storage.set_deadline(None);
        durable
    }

    fn leave_before<S: Background>(&mut self, storage: &mut S, deadline_ns: u64) -> bool {
        let durable = self.sync(storage, deadline_ns);
        if durable && self.hydrator.idle() {
            self.write_boot_trace(storage);
        }
        let wanted = self.geometry.hint_pages() > 0
            && self.mode == Mode::ReadWrite
            && self.hydrator.armed() == Armed::Yes;
        if durable && wanted && self.hydrator.idle() {
            self.write_hint(storage, deadline_ns);
            // Also after a write that failed: its page may be there all the same.
            self.hydrator.disarm();
        }
        durable
    }

    /// Writes all pages of the hint, its head last, and flushes. Without a head, for want of room
    /// in a page or of time or because a write failed, the hint does not count; then what is unseen
    /// is found by a scan, when somebody asks for it.
    fn write_hint<S: Background>(&mut self, storage: &mut S, deadline_ns: u64) {
        let mut old = self.known.hint.take();
        if old.is_none() && self.known.is_unseen() {
            // It would not have all that the region holds.
            return;
        }
        let generation = self.superblock.generation;
        let Blank { mut head, page: mut raw } = core::mem::take(&mut self.known.blank);
        head.fill(0);
        let mut live: u32 = 0;
        for number in 1..=self.geometry.hint_pages() {
            let in_time = storage.now_ns() < deadline_ns;
            let count = self.fill_hint_page(storage, old.as_mut(), number, &mut raw);
            let written = count
                .filter(|_| in_time && self.write_hint_page(storage, number, generation, &mut raw));
            let Some(count) = written else {
                self.known.blank = Blank { head, page: raw };
                return;
            };
            live = live.saturating_add(u32::from(count));
            if number <= head::COUNTS_MAX {
                put(&mut head, count_at(number.wrapping_sub(1)), &count.to_le_bytes());
            }
        }
        put(&mut head, head::LIVE, &live.to_le_bytes());
        for (blob, _) in self.blobs.iter() {
            let at = head::RESIDENTS.saturating_add(usize::from(blob.0).saturating_mul(8));
            put(&mut head, at, &self.slots.residents(blob).to_le_bytes());
        }
        if self.write_hint_page(storage, 0, generation, &mut head) {
            self.flush_region(storage);
        }
        let seen = self.used_slots();
        self.known.blank = match old {
            Some(Hint { head, page, .. }) => Blank { head, page },
            None => self.known.spare.take().unwrap_or_else(Blank::allocated),
        };
        self.known.hint =
            Some(Hint { generation, live: live.saturating_sub(seen), head, page: raw, number: 0 });
    }

    /// Puts the entries of page `number` into `raw`: of slots in memory, and of those unseen that
    /// the `old` hint has. How many there are; `None` if there is no room, or the old page does
    /// not hold.
    fn fill_hint_page<S: Storage>(
        &self,
        storage: &mut S,
        old: Option<&mut Hint>,
        number: u32,
        raw: &mut [u8],
    ) -> Option<u16> {
        raw.fill(0xff);
        raw.get_mut(..PAGE_HEADER_BYTES)?.fill(0);
        let first = number.wrapping_sub(1).saturating_mul(HINT_BUCKETS);
        let mut count: u16 = 0;
        let mut add = |slot: u32, key: SlotKey| {
            let at =
                usize::from(count).checked_mul(entry::BYTES)?.checked_add(PAGE_HEADER_BYTES)?;
            count = count.checked_add(1).filter(|count| usize::from(*count) <= ENTRIES_PER_PAGE)?;
            let place = raw.get_mut(at..)?;
            put(place, entry::SLOT, &slot.to_le_bytes());
            put(place, entry::WINDOW, &key.window.to_le_bytes());
            put(place, entry::BLOB, &key.blob.0.to_le_bytes());
            Some(())
        };
        for (slot, key) in self.slots.in_buckets(first..first.saturating_add(HINT_BUCKETS)) {
            add(slot, key)?;
        }
        if let Some(old) = old.filter(|old| !old.is_empty(number)) {
            self.load_hint_page(storage, old, number).ok()?;
            for (slot, key) in entries(&old.page) {
                if !self.is_seen(self.geometry.place(slot).0) {
                    add(slot, key)?;
                }
            }
        }
        Some(count)
    }

    fn write_hint_page<S: Storage>(
        &mut self,
        storage: &mut S,
        number: u32,
        generation: u64,
        raw: &mut [u8],
    ) -> bool {
        page::seal(&self.superblock.uuid, PageKind::Hint, number, generation, raw);
        let at = self.start.saturating_add(self.geometry.hint_at(number));
        let mut batch = [Transfer::write(self.device, at, raw)];
        storage.run(&mut batch, &mut |_, _| {});
        let written = batch.iter().all(|transfer| transfer.outcome().is_ok());
        page::unseal(raw);
        self.stats.written_bytes = self.stats.written_bytes.saturating_add(4096);
        self.stats.region_faults = self.stats.region_faults.saturating_add(u64::from(!written));
        written
    }

    fn flush_region<S: Storage>(&mut self, storage: &mut S) {
        let mut batch = [Transfer::flush(self.device)];
        storage.run(&mut batch, &mut |_, _| {});
        let failed = batch.iter().any(|transfer| transfer.outcome().is_err());
        self.stats.flushes = self.stats.flushes.saturating_add(1);
        self.stats.region_faults = self.stats.region_faults.saturating_add(u64::from(failed));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "test code")]
    use super::*;
    use crate::cache::slots::SlotTable;

    /// The most entries that a page gets when each slot of a table holds one of these windows.
    fn fullest(slots: u32, window: impl Fn(u32) -> SlotKey) -> usize {
        let table: SlotTable = SlotTable::new(slots);
        let count = slots.next_power_of_two() / HINT_BUCKETS;
        let mut pages = vec![0; usize::try_from(count).unwrap()];
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
                let of_one = |number| SlotKey { blob: BlobIndex(3), window: number * stride };
                let fullest = fullest(slots, of_one);
                assert!(fullest <= ENTRIES_PER_PAGE, "{slots} by {stride}: {fullest}");
            }
            let of_many = |n: u32| {
                let blob = BlobIndex(u16::try_from(n % 100).unwrap());
                SlotKey { blob, window: n / 100 }
            };
            let fullest = fullest(slots, of_many);
            assert!(fullest <= ENTRIES_PER_PAGE, "{slots} of many blobs: {fullest}");
        }
    }
}
