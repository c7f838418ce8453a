//! The region's own slot table under a policy, through boots.
//!
//! Always: a boot knows what the descriptors say, and no more: what was written when a slot was
//! filled, or when another slot of its page was.

use rootlet::RegionSlot;
use rootlet::cache::{BlobIndex, SlotKey, SlotState, SlotTable};
use rootlet::evict::Policy;

/// Descriptors in a page, see FORMAT.md.
const PER_PAGE: usize = 25;

/// The table, and what lies on disk.
pub struct Region<P: Policy> {
    table: SlotTable<P>,
    slots: u32,
    disk: Vec<Option<(SlotKey, u8)>>,
    boot_set: bool,
}

/// What reads go to, boot by boot.
pub trait Boots {
    /// A window is read. Says whether it was there; if not, it is kept.
    fn read(&mut self, window: u32) -> bool;
    /// The machine boots.
    fn reboot(&mut self);
}

fn key(window: u32) -> SlotKey {
    SlotKey { blob: BlobIndex::new(0), window }
}

impl<P: Policy> Region<P> {
    pub fn new(slots: usize, boot_set: bool) -> Self {
        let count = slots as u32;
        let mut region =
            Self { table: SlotTable::new(count), slots: count, disk: vec![None; slots], boot_set };
        region.reboot();
        region
    }

    /// What a tick does when free slots run short.
    fn make_room(&mut self) {
        let marks = self.table.marks();
        if self.table.count(SlotState::Free) >= marks.cull {
            return;
        }
        while self.table.count(SlotState::Free) < marks.run {
            let Some(slot) = self.table.cull() else { return };
            self.disk[slot.get() as usize] = None;
            self.table.move_all(SlotState::Evicted, SlotState::Free);
        }
    }

    /// The page of a slot is written.
    fn write(&mut self, slot: RegionSlot) {
        let first = slot.get() as usize / PER_PAGE * PER_PAGE;
        for at in first..(first + PER_PAGE).min(self.disk.len()) {
            let slot = RegionSlot::new(at as u32);
            self.disk[at] = self.table.key(slot).map(|key| (key, self.table.class(slot)));
        }
    }
}

impl<P: Policy> Boots for Region<P> {
    fn read(&mut self, window: u32) -> bool {
        let found = self.table.find(key(window));
        let slot = match found {
            Some(slot) => {
                self.table.touch(slot);
                slot
            }
            None => {
                self.make_room();
                let Some(slot) = self.table.take(key(window)) else { return false };
                slot
            }
        };
        if found.is_none() {
            self.write(slot);
        }
        found.is_some()
    }

    fn reboot(&mut self) {
        self.table = SlotTable::new(self.slots);
        if !self.boot_set {
            self.table.limit_boot_set(0);
        }
        for (slot, held) in (0..).map(RegionSlot::new).zip(&self.disk) {
            let held = held.map(|(key, class)| (key, class, 16));
            self.table.admit(slot, held);
        }
    }
}
