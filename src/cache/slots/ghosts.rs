//! The ghosts of S3-FIFO: what was given up lately.
//!
//! Always: bounded by the number of slots.

use super::{SlotKey, SlotTable};

impl SlotTable {
    // The ghosts are the fingerprints of what was culled lately, in a table where a newer one
    // takes the place of an older one with the same hash: bounded, and forgetting is its queue.
    fn ghost(&mut self, key: SlotKey) -> Option<(&mut u32, u32)> {
        let hash = key.hash();
        let len = u64::try_from(self.ghosts.len()).ok()?;
        let place = usize::try_from((hash >> 8).checked_rem(len)?).ok()?;
        let fingerprint = u32::try_from(hash >> 40).ok()?.wrapping_shl(8) | 1;
        Some((self.ghosts.get_mut(place)?, fingerprint))
    }

    /// Remembers what is given up.
    pub(super) fn remember_ghost(&mut self, key: SlotKey) {
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
