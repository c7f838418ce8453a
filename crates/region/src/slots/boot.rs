//! The boot set: slots that are not given up because boots begin by reading them; and the marks of
//! free slots.
//!
//! Always: at most a quarter of the slots are of the boot set, so that there is room for the rest;
//! what a boot does not read at its start leaves the set when that start is over.

use super::{Boot, CLASS_BOOT, SlotState, SlotTable};
use crate::evict::Policy;
use crate::units::RegionSlot;

/// How many slots are free when room is made, in the words of cachefiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Slots are given up until this many are free.
    pub run: u32,
    /// Slots are given up when fewer are free.
    pub cull: u32,
    /// No slot is taken when no more are free.
    pub stop: u32,
}

impl<P: Policy> SlotTable<P> {
    /// Decides whether a slot with this class joins the boot set. None joins after the start of
    /// this boot, which has not read it.
    pub(super) fn admit_to_boot_set(&mut self, class: u8) -> Boot {
        let wanted = class & CLASS_BOOT != 0 && self.boot_left > 0;
        if !wanted || self.pinned.get() >= self.pinned_max {
            return Boot::No;
        }
        self.pinned.raise();
        Boot::Before
    }

    /// Takes a slot that is given up out of the boot set.
    pub(super) fn leave_boot_set(&mut self, slot: RegionSlot) {
        if core::mem::replace(&mut self.slot_mut(slot).boot, Boot::No) != Boot::No {
            self.pinned.lower();
        }
    }

    /// Notes a use of a slot: at the start of a boot it joins the boot set, while there is room.
    pub(super) fn pin(&mut self, slot: RegionSlot) {
        let room = self.pinned.get() < self.pinned_max;
        let left = self.boot_left;
        let entry = self.slot_mut(slot);
        let Some(left) = left.checked_sub(1).filter(|_| entry.boot != Boot::Now) else { return };
        let known = entry.boot == Boot::Before;
        if known || room {
            entry.boot = Boot::Now;
        }
        if room && !known {
            self.pinned.raise();
        }
        self.boot_left = left;
        if left == 0 {
            self.unpin_unread();
        }
    }

    /// Ends the start of this boot: what only earlier ones read is kept no longer than others.
    fn unpin_unread(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.boot == Boot::Before) {
            slot.boot = Boot::No;
            self.pinned.lower();
        }
    }

    /// Bounds the boot set, before any slot is admitted; 0 is none.
    pub fn limit_boot_set(&mut self, slots: u32) {
        self.pinned_max = self.pinned_max.min(slots);
        self.boot_left = self.pinned_max;
    }

    /// Returns the number of slots in the boot set.
    pub fn pinned(&self) -> u32 {
        self.pinned.get()
    }

    /// Returns when slots are given up, and when none is taken: 7, 5 and 1 % of those that are
    /// known of; at least two are to be free if there are that many.
    #[expect(clippy::arithmetic_side_effects, reason = "the dead are some of all")]
    pub fn marks(&self) -> Marks {
        let known = self.len() - self.count(SlotState::Dead);
        let cull = (known / 20).max(2).min(known.div_ceil(2));
        let most = |mark: u32, below: u32| if below > mark { mark } else { below.max(1) - 1 };
        Marks { run: (known / 14).max(cull + 1), cull, stop: most(known / 100, cull) }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "test code")]
    use super::super::SlotKey;
    use super::*;
    use crate::BlobIndex;
    use proptest::prelude::*;

    fn key(window: u32) -> SlotKey {
        SlotKey { blob: BlobIndex::new(0), window }
    }

    fn all(count: u32) -> impl Iterator<Item = RegionSlot> {
        (0..count).map(RegionSlot::new)
    }

    fn empty(count: u32) -> SlotTable {
        let mut table: SlotTable = SlotTable::new(count);
        all(count).for_each(|slot| table.admit(slot, None));
        table
    }

    /// Reads a window, and makes room for it as a tick does.
    fn read(table: &mut SlotTable, window: u32) -> bool {
        if let Some(slot) = table.find(key(window)) {
            table.touch(slot);
            return true;
        }
        if table.count(SlotState::Free) < table.marks().cull {
            while table.count(SlotState::Free) < table.marks().run && table.cull().is_some() {
                table.move_all(SlotState::Evicted, SlotState::Free);
            }
        }
        table.take(key(window)).unwrap();
        false
    }

    /// Returns the table after a boot, from what its descriptors would say.
    fn rebooted(table: &SlotTable) -> SlotTable {
        let mut next: SlotTable = SlotTable::new(table.len());
        for slot in all(table.len()) {
            next.admit(slot, table.key(slot).map(|key| (key, table.class(slot), 16)));
        }
        next
    }

    #[test]
    fn what_boots_begin_with_outlives_any_scan() {
        let mut table = empty(400);
        (0..100).for_each(|window| _ = read(&mut table, window));
        assert_eq!(table.pinned(), 100);
        for boot in 0..5 {
            (1000..9000).for_each(|window| _ = read(&mut table, window + boot * 10_000));
            table = rebooted(&table);
            for window in 0..100 {
                assert!(read(&mut table, window), "window {window} is gone in boot {boot}");
            }
        }
        assert_eq!(table.pinned(), 100);
    }

    #[test]
    fn what_a_boot_no_longer_reads_leaves_the_set() {
        let mut table = empty(400);
        (0..100).for_each(|window| _ = read(&mut table, window));
        table = rebooted(&table);
        (500..600).for_each(|window| _ = read(&mut table, window));
        // Its start is over: the old set is let go, and the next boot can pin the new one.
        assert_eq!(table.pinned(), 0);
        table = rebooted(&table);
        (500..600).for_each(|window| assert!(read(&mut table, window)));
        assert_eq!(table.pinned(), 100);
    }

    #[test]
    fn boot_set_of_an_earlier_mount_is_bounded_too() {
        let mut table: SlotTable = SlotTable::new(100);
        table.limit_boot_set(10);
        for slot in all(100) {
            table.admit(slot, Some((key(slot.get()), CLASS_BOOT, 16)));
        }
        assert_eq!(table.pinned(), 10);
    }

    #[test]
    fn short_run_leaves_the_set_as_it_is() {
        let mut table = empty(400);
        (0..100).for_each(|window| _ = read(&mut table, window));
        table = rebooted(&table);
        assert!(read(&mut table, 7));
        table = rebooted(&table);
        assert_eq!(table.pinned(), 100);
    }

    #[test]
    fn no_slot_is_taken_at_the_stop_mark() {
        let mut table = empty(1000);
        assert_eq!(table.marks(), Marks { run: 71, cull: 50, stop: 10 });
        let taken = (0..1000).take_while(|window| table.take(key(*window)).is_some()).count();
        assert_eq!((taken, table.count(SlotState::Free)), (990, 10));
        // A table of few slots uses them all.
        let mut table = empty(13);
        assert!((0..13).all(|window| table.take(key(window)).is_some()));
    }

    proptest! {
        #[test]
        fn boot_set_is_at_most_a_quarter_and_room_can_be_made(
            count in 1u32..60,
            steps in prop::collection::vec((0u8..4, 0u32..80), 0..400),
        ) {
            let mut table = empty(count);
            for (what, window) in steps {
                match what {
                    0 | 1 => if table.count(SlotState::Free) > 0 || table.find(key(window)).is_some() {
                        read(&mut table, window);
                    },
                    2 => if let Some(slot) = table.find(key(window)) {
                        table.evict(slot);
                        table.move_all(SlotState::Evicted, SlotState::Free);
                    },
                    _ => table = rebooted(&table),
                }
                let marked = all(count).filter(|slot| table.key(*slot).is_some());
                let marked = marked.filter(|slot| table.class(*slot) & CLASS_BOOT != 0).count();
                prop_assert_eq!(u32::try_from(marked).unwrap(), table.pinned());
                prop_assert!(table.pinned() <= count / 4);
                let live = table.count(SlotState::Live);
                if live > table.pinned() {
                    prop_assert!(table.cull().is_some(), "{} of {} are pinned", table.pinned(), live);
                    table.move_all(SlotState::Evicted, SlotState::Free);
                }
            }
        }
    }
}
