//! Learning what the slots hold, page by page.
//!
//! Always: a slot stays dead until the page that describes it was taken in, once.

use super::Index;
use crate::BlobIndex;
use crate::blobs::ENTRIES_MAX;
use crate::descriptor;
use crate::format::Page;
use crate::num;
use crate::pages::Newest;
use crate::slots::SlotKey;
use crate::units::{Count, RegionSlot};

impl Index {
    /// Returns whether there are descriptor pages that were not taken in yet.
    pub fn is_unseen(&self) -> bool {
        self.unseen > 0
    }

    /// Returns whether a descriptor page was taken in.
    pub fn is_seen(&self, page: u32) -> bool {
        self.pages.newest(page) != Newest::Unknown
    }

    /// Returns the descriptor page of a slot that a hint names, if the region has that slot and the
    /// page was not taken in yet.
    pub fn unseen_page(&self, slot: RegionSlot) -> Option<u32> {
        let page = (slot.get() < self.geometry.slots()).then(|| self.geometry.place(slot).0);
        page.filter(|page| !self.is_seen(*page))
    }

    /// Returns whether the blob table is full.
    pub fn is_full(&self) -> bool {
        self.blobs.iter().count() == ENTRIES_MAX
    }

    /// Takes how many blocks of each blob a hint says to be resident, before any page is taken in.
    /// Returns false, and takes nothing, if the region or a blob does not have as many.
    #[expect(clippy::arithmetic_side_effects, reason = "a region has fewer blocks than 2^40")]
    pub fn claim_residents(&mut self, blocks: impl Fn(BlobIndex) -> u64) -> bool {
        let (slots, slot_size) = (self.geometry.slots(), self.geometry.slot_size());
        let region_blocks = u64::from(slots) * num::wide(slot_size.blocks());
        let blobs = self.blobs.iter().map(|(blob, entry)| (blob, entry.bytes, blocks(blob)));
        self.claims.take(blobs, region_blocks)
    }

    /// Drops what a hint said: it does not hold.
    pub fn forget_claims(&mut self) {
        self.claims.forget();
    }

    /// Takes in a descriptor page that was not yet, of which both copies were read (`None` where
    /// that failed), in an area of `area_bytes`. Returns how many of its slots hold something;
    /// `None` if they hold more of a blob than a hint has said.
    ///
    /// A slot whose blob is gone, or that another slot doubles, is an orphan and gets a tombstone;
    /// slots of an unreadable page, or beyond a shrunk area, stay dead.
    #[expect(clippy::arithmetic_side_effects, reason = "each page is unseen once")]
    pub fn take_in(
        &mut self,
        number: u32,
        a: Option<&mut Page>,
        b: Option<&mut Page>,
        area_bytes: u64,
    ) -> Option<u32> {
        self.unseen -= 1;
        let page = self.pages.scan(number, a, b);
        let mut live = Count::ZERO;
        if self.pages.newest(number) == Newest::Unreadable {
            return Some(live.get());
        }
        let mut holds = true;
        let size = self.geometry.slot_size();
        for (slot, index) in self.geometry.slots_of(number).zip(0_u32..) {
            if self.geometry.end_of(slot) > area_bytes {
                continue;
            }
            let found = page.map(|page| descriptor::of(page, size, index));
            let found = found.map(|found| (found.head(), found));
            let Some((head, found)) = found.filter(|(head, _)| head.live) else {
                self.slots.admit(slot, None);
                continue;
            };
            let blob = BlobIndex::new(head.blob);
            let entry = self.blobs.get(blob);
            let current = entry.is_some_and(|entry| entry.generation == head.blob_generation);
            match u32::try_from(head.window) {
                Ok(window) if current => {
                    let blocks = found.resident_count();
                    holds &= self.claims.see(blob, blocks.into());
                    let held = (SlotKey { blob, window }, head.class, blocks);
                    self.slots.admit(slot, Some(held));
                    live.raise();
                }
                _ => self.slots.orphan(slot),
            }
        }
        holds.then(|| live.get())
    }
}
