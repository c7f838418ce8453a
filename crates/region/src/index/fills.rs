//! Fills in the index: slots taken for them, checksums of their blocks, and their bits.
//!
//! Always: a slot is held, and its page pinned, once for each fill that has blocks in the slot; a
//! slot that gets another window gets another generation (O4).

use super::Index;
use crate::descriptor::{self, Descriptor, Head};
use crate::num;
use crate::slots::{SlotKey, SlotState};
use crate::units::RegionSlot;
use core::ops::Range;

/// The checksums of a slot's blocks, to be set before their bits are.
#[derive(Debug)]
pub struct Sums<'p>(Descriptor<&'p mut [u8]>);

impl Sums<'_> {
    /// Sets the checksum of `block`, which has no bit yet.
    pub fn set(&mut self, block: usize, sum: u64) {
        self.0.set_sum(block, sum);
    }
}

impl Index {
    /// Returns the slot that holds `key`, or else the one that is taken for it next; `None` if no
    /// slot is free.
    pub fn slot_for(&self, key: SlotKey) -> Option<RegionSlot> {
        self.slots.find(key).or_else(|| self.slots.first(SlotState::Free))
    }

    /// Returns whether the page that describes a slot is in memory.
    pub fn is_described(&self, slot: RegionSlot) -> bool {
        self.pages.get(self.geometry.place(slot).0).is_some()
    }

    /// Takes the slot that [`Index::slot_for`] returned for `key`, and begins its descriptor without
    /// a bit, unless the slot holds `key` already. Its page is in memory. Returns `None` if too few
    /// slots are free.
    pub fn open(&mut self, key: SlotKey) -> Option<()> {
        if self.slots.find(key).is_some() {
            return Some(());
        }
        let slot = self.slots.take(key)?;
        let head = self.head_of(slot)?;
        let (page, index) = self.geometry.place(slot);
        let page = self.pages.get_mut(page)?;
        descriptor::of_mut(page, self.geometry.slot_size(), index).renew(&head);
        Some(())
    }

    /// Returns the head of a live slot's descriptor, with the next generation of the slot.
    fn head_of(&self, slot: RegionSlot) -> Option<Head> {
        let key = self.slots.key(slot)?;
        let (page, index) = self.geometry.place(slot);
        let page = self.pages.get(page)?;
        let old = descriptor::of(page, self.geometry.slot_size(), index).head();
        Some(Head {
            blob: key.blob.get(),
            live: true,
            class: self.slots.class(slot),
            slot_generation: old.slot_generation.wrapping_add(1),
            blob_generation: self.blobs.get(key.blob)?.generation,
            window: u64::from(key.window),
        })
    }

    /// Returns the checksums of a slot's blocks; `None` if the slot's page is not in memory.
    pub fn sums(&mut self, slot: RegionSlot) -> Option<Sums<'_>> {
        let (page, index) = self.geometry.place(slot);
        let page = self.pages.get_mut(page)?;
        Some(Sums(descriptor::of_mut(page, self.geometry.slot_size(), index)))
    }

    /// Counts one more fill that has blocks in a slot: the slot is not culled, and its page stays in
    /// memory.
    pub fn hold(&mut self, slot: RegionSlot) {
        self.slots.hold(slot);
        self.pages.pin(self.geometry.place(slot).0);
    }

    /// Counts one fill less: the opposite of [`Index::hold`].
    pub fn release(&mut self, slot: RegionSlot) {
        self.pages.unpin(self.geometry.place(slot).0);
        self.slots.release(slot);
    }

    /// Sets the bits of blocks of a fill, whose data was flushed (O3), unless their slot was given
    /// up meanwhile. Returns how many.
    pub fn make_resident(&mut self, slot: RegionSlot, blocks: Range<usize>) -> u16 {
        if self.slots.key(slot).is_none() {
            return 0;
        }
        let size = self.geometry.slot_size();
        let (page, index) = self.geometry.place(slot);
        let head = self.head_of(slot);
        let Some(changed) = self.pages.change(page) else { return 0 };
        let mut descriptor = descriptor::of_mut(changed, size, index);
        // A page that left memory after a lost write came back with the old head.
        if !descriptor.head().live
            && let Some(head) = head
        {
            descriptor.renew(&head);
        }
        // A slot has at most 256 blocks.
        let added = num::low16(num::low32(num::wide(blocks.len())));
        blocks.for_each(|block| descriptor.set_resident(block));
        descriptor.set_class(self.slots.class(slot));
        // Not the sum with those before: the page may have come back with other bits.
        self.slots.set_resident(slot, descriptor.resident_count());
        added
    }

    /// Writes the classes of all slots into the pages that are to be written for something else:
    /// hits change them too, and cost no write of their own.
    pub fn note_classes(&mut self) {
        let (geometry, slots) = (&self.geometry, &self.slots);
        self.pages.each_dirty(|number, page| {
            for (slot, index) in geometry.slots_of(number).zip(0_u32..) {
                let mut descriptor = descriptor::of_mut(page, geometry.slot_size(), index);
                if slots.key(slot).is_some() && descriptor.head().live {
                    descriptor.set_class(slots.class(slot));
                }
            }
        });
    }
}
