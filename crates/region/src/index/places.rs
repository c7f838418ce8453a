//! Finding what the slots hold.
//!
//! Always: only a slot whose page was taken in is found.

use super::Index;
use crate::block_set::BlockSet;
use crate::num;
use crate::slots::{SlotKey, SlotState};
use crate::units::RegionSlot;
use crate::{BlobIndex, descriptor};
use core::ops::Range;

impl Index {
    /// Returns the window and the block in it of block `number` of a blob; `None` beyond what a
    /// window number can count.
    pub fn window(&self, blob: BlobIndex, number: u64) -> Option<(SlotKey, usize)> {
        let blocks = self.geometry.slot_size().block_count();
        let window = u32::try_from(blocks.whole(number)).ok()?;
        Some((SlotKey { blob, window }, num::clip(blocks.offset(number), usize::MAX)))
    }

    /// Returns the first block of each window that has some of these blocks.
    pub fn window_starts(&self, blocks: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
        let size = self.geometry.slot_size().block_count();
        let (first, end) = (size.floor(blocks.start), blocks.end);
        let starts = core::iter::successors(Some(first), move |at| at.checked_add(size.get()));
        starts.take_while(move |at| *at < end)
    }

    /// Returns the slot that holds `key`.
    pub fn find(&self, key: SlotKey) -> Option<RegionSlot> {
        self.slots.find(key)
    }

    /// Returns the slot that holds `key` and its resident blocks, if its page is in memory.
    pub fn resident(&self, key: SlotKey) -> Option<(RegionSlot, BlockSet)> {
        // A read has just prepared, and so touched, the slot that it locates.
        let last = self.touched.filter(|slot| self.slots.key(*slot) == Some(key));
        let slot = last.or_else(|| self.slots.find(key))?;
        let (page, index) = self.geometry.place(slot);
        let page = self.pages.get(page)?;
        let descriptor = descriptor::of(page, self.geometry.slot_size(), index);
        Some((slot, BlockSet::of(descriptor.bitmap())))
    }

    /// Returns whether a fill of the slot waits for its commit.
    pub fn is_busy(&self, slot: RegionSlot) -> bool {
        self.slots.busy(slot)
    }

    /// Notes that a reader used a slot. Reads side by side in one slot are one use of the slot, or a
    /// scan would look hot.
    pub fn touch(&mut self, slot: RegionSlot) {
        if self.touched.replace(slot) != Some(slot) {
            self.slots.touch(slot);
        }
    }

    /// Returns the free slot that is taken after `last`, or the one that is taken first.
    pub fn next_free(&self, last: Option<RegionSlot>) -> Option<RegionSlot> {
        match last {
            Some(slot) => self.slots.after(slot),
            None => self.slots.first(SlotState::Free),
        }
    }

    /// Returns the bucket of the hint that a key falls in.
    pub fn bucket(&self, key: SlotKey) -> u32 {
        self.slots.bucket(key)
    }

    /// Returns what the slots hold whose keys fall in these buckets of the hint.
    pub fn in_buckets(&self, buckets: Range<u32>) -> impl Iterator<Item = (RegionSlot, SlotKey)> {
        self.slots.in_buckets(buckets)
    }
}
