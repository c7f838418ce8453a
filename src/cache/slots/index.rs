//! Finding a slot by what it holds, and what the slots hold in the order of their keys' hashes.
//!
//! Always: a chain is no longer than the table.

use super::{SlotKey, SlotTable};
use core::ops::Range;

impl SlotKey {
    pub(super) fn hash(self) -> u64 {
        let raw = (u64::from(self.blob.0) << 32) | u64::from(self.window);
        // Twice, or windows in a row fill some pages of the hint and leave others empty.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let once = raw.wrapping_add(1).wrapping_mul(STEP);
        let twice = (once ^ (once >> 32)).wrapping_mul(STEP);
        twice ^ (twice >> 32)
    }
}

impl SlotTable {
    pub(super) fn chains_of(count: u32) -> usize {
        usize::try_from(count).unwrap_or(0).div_ceil(2).next_power_of_two()
    }

    fn chain_of(&self, key: SlotKey) -> usize {
        let mask = u64::try_from(self.chains.len()).unwrap_or(1).wrapping_sub(1);
        usize::try_from((key.hash() >> 8) & mask).unwrap_or(0)
    }

    /// The bucket of the hint that a key falls in, of as many as there are slots, in a power of
    /// two.
    pub fn bucket(&self, key: SlotKey) -> u32 {
        let mask = u64::from(self.len().next_power_of_two()).wrapping_sub(1);
        u32::try_from((key.hash() >> 8) & mask).unwrap_or(0)
    }

    /// What the slots hold whose keys fall in these buckets of the hint.
    pub fn in_buckets(&self, buckets: Range<u32>) -> impl Iterator<Item = (u32, SlotKey)> {
        // Two buckets share a chain, one of each half.
        let chains = self.chains.len();
        let first = usize::try_from(buckets.start).unwrap_or(0) & chains.wrapping_sub(1);
        let heads = self.chains.iter().skip(first).take(buckets.len());
        let held = heads.flat_map(|head| {
            let next = |at: &u32| self.slot(*at).map(|slot| slot.chain);
            core::iter::successors(Some(*head), next)
                .take(self.slots.len().saturating_add(1))
                .filter_map(|at| Some((at, self.slot(at)?.key())))
        });
        held.filter(move |(_, key)| buckets.contains(&self.bucket(*key)))
    }

    /// The slot that holds `key`.
    pub fn find(&self, key: SlotKey) -> Option<u32> {
        let mut at = *self.chains.get(self.chain_of(key))?;
        // A chain is no longer than the table.
        for _ in 0..self.slots.len() {
            let slot = self.slot(at)?;
            if slot.key() == key {
                return Some(at);
            }
            at = slot.chain;
        }
        None
    }

    pub(super) fn insert(&mut self, slot: u32, key: SlotKey) {
        let chain = self.chain_of(key);
        let Some(head) = self.chains.get_mut(chain) else { return };
        let behind = core::mem::replace(head, slot);
        if let Some(entry) = self.slot_mut(slot) {
            // There are fewer blobs; one that is none has no slots.
            entry.blob = u8::try_from(key.blob.0).unwrap_or(u8::MAX);
            entry.window = key.window;
            entry.chain = behind;
        }
    }

    pub(super) fn remove(&mut self, slot: u32, key: SlotKey) {
        let chain = self.chain_of(key);
        let Some(after) = self.slot(slot).map(|entry| entry.chain) else { return };
        let Some(head) = self.chains.get_mut(chain) else { return };
        if *head == slot {
            *head = after;
            return;
        }
        let mut at = *head;
        for _ in 0..self.slots.len() {
            let Some(entry) = self.slot_mut(at) else { return };
            if entry.chain == slot {
                entry.chain = after;
                return;
            }
            at = entry.chain;
        }
    }
}
