//! Pages of descriptors and of the blob table on their way between memory and the region, and slots
//! on their way to be free.
//!
//! Always: a slot that is given up goes from `Evicted` by its tombstone in a page in memory
//! (`Entombing`) and the end of that page's write (`Entombed`) to the flush after it (`Free`): O1.
//! A page is written to the copy that is not its newest, and never to both between two flushes (O2).

use super::Index;
use crate::BlobIndex;
use crate::descriptor::{self, Head};
use crate::format::Page;
use crate::pages::Newest;
use crate::slots::SlotState;
use crate::units::RegionSlot;

impl Index {
    /// Gives up one slot for want of room. Returns whether there was one that could go.
    pub fn cull(&mut self) -> bool {
        self.slots.cull().is_some()
    }

    /// Gives up what a slot holds, if it holds something.
    pub fn evict(&mut self, slot: RegionSlot) {
        self.slots.evict(slot);
    }

    /// Gives up all that the slots hold of a blob. Returns how many did.
    pub fn evict_all(&mut self, blob: BlobIndex) -> u32 {
        self.slots.evict_all(blob)
    }

    /// Writes the tombstone of the slot that was given up first into its page in memory. Returns the
    /// page where that has to wait for the page; the slot is the last of those given up then.
    pub fn entomb_first(&mut self) -> Option<u32> {
        let slot = self.slots.first(SlotState::Evicted)?;
        if self.slots.busy(slot) {
            // Its fills end first: nothing is written to a slot that has a tombstone.
            self.slots.set_state(slot, SlotState::Evicted);
            return None;
        }
        let (page, index) = self.geometry.place(slot);
        // A page that is being written must not change its meaning until it is.
        let changed = match self.pages.in_flight(page) {
            true => None,
            false => self.pages.change(page),
        };
        let Some(changed) = changed else {
            self.slots.set_state(slot, SlotState::Evicted);
            return Some(page);
        };
        let mut descriptor = descriptor::of_mut(changed, self.geometry.slot_size(), index);
        let slot_generation = descriptor.head().slot_generation.wrapping_add(1);
        descriptor.renew(&Head { slot_generation, ..Head::default() });
        self.slots.set_state(slot, SlotState::Entombing);
        None
    }

    /// Returns where the newest copy of a descriptor page is.
    pub fn newest(&self, page: u32) -> Newest {
        self.pages.newest(page)
    }

    /// Returns whether a descriptor page is in memory.
    pub fn has_page(&self, page: u32) -> bool {
        self.pages.get(page).is_some()
    }

    /// Returns whether a descriptor page is in memory, and keeps it there for longer if it is.
    pub fn touch_page(&mut self, page: u32) -> bool {
        self.pages.touch(page)
    }

    /// Returns whether one more descriptor page could be brought into memory.
    pub fn has_room(&self) -> bool {
        self.pages.has_room()
    }

    /// Puts a descriptor page into memory of which no copy is valid: it describes nothing. Returns
    /// false if there is no room.
    pub fn install_empty(&mut self, page: u32) -> bool {
        self.pages.install(page, None)
    }

    /// Puts a descriptor page into memory, as its newest copy was read. Returns false if that is not
    /// valid, or there is no room.
    pub fn install(&mut self, page: u32, read: &mut Page) -> bool {
        self.pages.install_copy(page, read)
    }

    /// Notes that the newest copy of a descriptor page cannot be read any more, and gives up its
    /// slots: what they held is not known in this mount.
    pub fn lose_page(&mut self, page: u32) {
        self.pages.lose(page);
        for slot in self.geometry.slots_of(page) {
            self.slots.evict(slot);
        }
    }

    /// Returns the next descriptor page that wants to be written: its number and where on the
    /// region. Fills `sealed` with it.
    pub fn take_dirty_page(&mut self, sealed: &mut Page) -> Option<(u32, u64)> {
        self.pages.take_dirty(&self.geometry, sealed)
    }

    /// Notes that the write of a descriptor page ended.
    pub fn page_written(&mut self, page: u32, ok: bool) {
        self.pages.written(page, ok);
        if ok {
            for slot in self.geometry.slots_of(page) {
                if self.slots.state(slot) == SlotState::Entombing {
                    self.slots.set_state(slot, SlotState::Entombed);
                }
            }
        }
    }

    /// As [`Index::take_dirty_page`], of the blob table.
    pub fn take_dirty_blobs(&mut self, sealed: &mut Page) -> Option<(u32, u64)> {
        self.blobs.take_dirty(sealed)
    }

    /// Notes that the write of a page of the blob table ended.
    pub fn blobs_written(&mut self, page: u32, ok: bool) {
        self.blobs.written(page, ok);
    }

    /// Notes that a flush ended well: every write that had ended before it began is durable, and
    /// slots whose tombstones these wrote are free.
    pub fn flushed(&mut self) {
        self.slots.move_all(SlotState::Entombed, SlotState::Free);
        self.pages.flushed();
        self.blobs.flushed();
    }

    /// Returns whether a page of the blob table is being written, or may be before the next flush.
    pub fn blobs_busy(&self) -> bool {
        self.blobs.busy()
    }

    /// Returns whether a descriptor page may be written before the next flush.
    pub fn may_write_pages(&self) -> bool {
        self.pages.writable() > 0
    }

    /// Returns whether a page, of descriptors or of the blob table, waits to be written.
    pub fn is_dirty(&self) -> bool {
        self.pages.dirty() > 0 || self.blobs.unsettled()
    }

    /// Returns whether slots were given up whose tombstones are not written.
    pub fn is_giving_up(&self) -> bool {
        self.count(SlotState::Evicted) > 0 || self.count(SlotState::Entombing) > 0
    }

    /// Returns whether there are fewer frames than descriptor pages, and half of the frames can be
    /// given to no other page.
    pub fn is_cramped(&self) -> bool {
        self.pages.scarce() && self.pages.held() >= self.pages.frames().div_ceil(2)
    }
}
