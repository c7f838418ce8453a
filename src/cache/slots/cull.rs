//! S3-FIFO: which slot is given up next, and the ghosts of those that were lately.
//!
//! Always: as many ghosts as slots.

use super::{Boot, FREQUENCY_MAX, Slot, SlotKey, SlotState, SlotTable};

impl SlotTable {
    /// S3-FIFO: gives up one slot; `None` if every slot is busy or of the boot set. Takes at most
    /// as many steps as there are slots, times the highest frequency.
    pub fn cull(&mut self) -> Option<u32> {
        let steps = self.len().saturating_mul(u32::from(FREQUENCY_MAX).saturating_add(2));
        // How many slots of each queue that cannot be given up were met, one after the other.
        let (mut small_kept, mut main_kept) = (0_u32, 0_u32);
        for _ in 0..steps {
            let (small, main) = (self.count(SlotState::Small), self.count(SlotState::Main));
            let too_many = small > self.len().div_ceil(10) && small > small_kept;
            let from_small = too_many || main <= main_kept;
            let state = if from_small { SlotState::Small } else { SlotState::Main };
            let slot = self.lists.get(state.list())?.head;
            let held = *self.slot(slot)?;
            let Slot { frequency, busy, boot, .. } = held;
            if busy > 0 || (boot != Boot::No && !from_small) {
                let kept = if from_small { &mut small_kept } else { &mut main_kept };
                *kept = kept.saturating_add(1);
                self.set_state(slot, state);
            } else if boot != Boot::No {
                self.set_state(slot, SlotState::Main);
            } else if frequency == 0 {
                self.remember_ghost(held.key());
                self.evict(slot);
                return Some(slot);
            } else {
                (small_kept, main_kept) = (0, 0);
                self.set_state(slot, SlotState::Main);
                if let Some(entry) = self.slot_mut(slot) {
                    entry.frequency = if from_small { 0 } else { frequency.saturating_sub(1) };
                }
            }
        }
        None
    }

    // The ghosts are the fingerprints of what was culled lately, in a table where a newer one
    // takes the place of an older one with the same hash: bounded, and forgetting is its queue.
    fn ghost(&mut self, key: SlotKey) -> Option<(&mut u16, u16)> {
        let hash = key.hash();
        let len = u64::try_from(self.ghosts.len()).ok()?;
        let place = usize::try_from((hash >> 8).checked_rem(len)?).ok()?;
        let fingerprint = u16::try_from(hash >> 48).ok()? | 1;
        Some((self.ghosts.get_mut(place)?, fingerprint))
    }

    /// Remembers what is given up.
    fn remember_ghost(&mut self, key: SlotKey) {
        if let Some((place, fingerprint)) = self.ghost(key) {
            *place = fingerprint;
        }
    }

    /// Whether `key` was given up lately; it is remembered no longer.
    pub(super) fn forget_ghost(&mut self, key: SlotKey) -> bool {
        let Some((place, fingerprint)) = self.ghost(key) else { return false };
        let known = *place == fingerprint;
        if known {
            *place = 0;
        }
        known
    }
}
