//! Finding a slot by its key, and the keys of all slots in the order of their hashes.
//!
//! Always: a slot is in the chain of its key's hash while it holds something, and in no other.

use super::{NONE, Slot, SlotKey, SlotTable};
use crate::blobs::ENTRIES_MAX;
use crate::evict::Policy;
use crate::num;
use crate::units::RegionSlot;
use core::ops::Range;

impl SlotKey {
    pub(super) fn hash(self) -> u64 {
        let raw = (u64::from(self.blob.get()) << 32) | u64::from(self.window);
        // Twice, or windows in a row fill some pages of the hint and leave others empty.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let once = raw.wrapping_add(1).wrapping_mul(STEP);
        let twice = (once ^ (once >> 32)).wrapping_mul(STEP);
        twice ^ (twice >> 32)
    }
}

impl<P: Policy> SlotTable<P> {
    /// Returns how many chains a table of `count` slots has.
    pub(super) fn chains_of(count: u32) -> usize {
        num::index(count).div_ceil(2).next_power_of_two()
    }

    fn chain_of(&self, key: SlotKey) -> usize {
        num::clip((key.hash() >> 8) & mask(num::wide(self.chains.len())), usize::MAX)
    }

    #[expect(clippy::indexing_slicing, reason = "`chain_of` masks by their number")]
    fn chain(&mut self, key: SlotKey) -> &mut u32 {
        let chain = self.chain_of(key);
        &mut self.chains[chain]
    }

    /// Returns the bucket of the hint that a key falls in, of as many as there are slots, in a
    /// power of two.
    pub fn bucket(&self, key: SlotKey) -> u32 {
        num::low32((key.hash() >> 8) & mask(u64::from(self.len()).next_power_of_two()))
    }

    /// Returns what the slots hold whose keys fall in these buckets of the hint.
    pub fn in_buckets(&self, buckets: Range<u32>) -> impl Iterator<Item = (RegionSlot, SlotKey)> {
        // Two buckets share a chain, one of each half.
        let first = u64::from(buckets.start) & mask(num::wide(self.chains.len()));
        let heads = self.chains.iter().skip(num::clip(first, usize::MAX)).take(buckets.len());
        let held = heads.flat_map(|head| self.along(*head));
        held.filter(move |(_, key)| buckets.contains(&self.bucket(*key)))
    }

    /// Returns the slots of a chain from `head` on, and what they hold.
    fn along(&self, head: u32) -> impl Iterator<Item = (RegionSlot, SlotKey)> {
        let slot = |at: u32| (at != NONE).then_some(RegionSlot::new(at));
        core::iter::successors(slot(head), move |at| slot(self.slot(*at).chain))
            .map(|at| (at, self.slot(at).key()))
    }

    /// Returns the slot that holds `key`.
    pub fn find(&self, key: SlotKey) -> Option<RegionSlot> {
        let head = *self.chains.get(self.chain_of(key))?;
        self.along(head).find(|(_, held)| *held == key).map(|(slot, _)| slot)
    }

    /// Makes a slot be found by `key`.
    ///
    /// # Panics
    /// If the blob is not in the blob table, which has fewer than 255.
    pub(super) fn insert(&mut self, slot: RegionSlot, key: SlotKey) {
        assert!(usize::from(key.blob.get()) < ENTRIES_MAX, "{key:?} is no place of the blob table");
        let after = core::mem::replace(self.chain(key), slot.get());
        let entry = self.slot_mut(slot);
        entry.blob = num::low8(key.blob.get().into());
        entry.window = key.window;
        entry.chain = after;
        self.held_mut(key.blob).slots.raise();
    }

    /// Makes a slot be found no longer.
    pub(super) fn unchain(&mut self, slot: RegionSlot) {
        let Slot { chain: after, .. } = *self.slot(slot);
        let key = self.slot(slot).key();
        self.held_mut(key.blob).slots.lower();
        let head = self.chain(key);
        if *head == slot.get() {
            *head = after;
            return;
        }
        let mut at = RegionSlot::new(*head);
        while self.slot(at).chain != slot.get() {
            at = RegionSlot::new(self.slot(at).chain);
        }
        self.slot_mut(at).chain = after;
    }
}

/// Returns the bits of numbers below `size`, a power of two.
fn mask(size: u64) -> u64 {
    size.wrapping_sub(1)
}
