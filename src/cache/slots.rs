//! The slot table: what every slot holds, found by (blob, window), in the order of eviction.
//!
//! Always: each slot is in exactly one list, the one of its state, so the lists' lengths sum up
//! to the number of slots; a (blob, window) is held by at most one slot. Nothing here does I/O.

mod boot;
mod cull;
mod index;
mod lists;

use self::lists::List;

pub use self::boot::Marks;
use super::BlobIndex;
use super::blobs::ENTRIES_MAX;
use alloc::boxed::Box;
use alloc::vec;

const NONE: u32 = u32::MAX;
/// The highest frequency S3-FIFO counts.
const FREQUENCY_MAX: u8 = 3;

/// Bits of a descriptor's class above the frequency, see FORMAT.md.
const CLASS_MAIN: u8 = 0x10;
const CLASS_BOOT: u8 = 0x20;

/// Whether a slot is kept because a boot read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Boot {
    No,
    /// An earlier boot did.
    Before,
    /// This one did.
    Now,
}

/// What a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Durably free: no descriptor that could survive a cut has a bit for it (FREE*).
    Free,
    /// Holds something, in the probation queue of S3-FIFO.
    Small,
    /// Holds something, in the main queue.
    Main,
    /// Given up in memory; its tombstone is not written yet.
    Evicted,
    /// Its tombstone is being written.
    Entombing,
    /// Its tombstone is written and waits for a flush.
    Entombed,
    /// Its descriptor page cannot be read; not used in this mount.
    Dead,
}

const STATES: usize = 7;

impl SlotState {
    fn list(self) -> usize {
        match self {
            Self::Free => 0,
            Self::Small => 1,
            Self::Main => 2,
            Self::Evicted => 3,
            Self::Entombing => 4,
            Self::Entombed => 5,
            Self::Dead => 6,
        }
    }
}

/// What a slot holds: this window of this blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotKey {
    /// The blob.
    pub blob: BlobIndex,
    /// Which slot-sized part of it.
    pub window: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    window: u32,
    previous: u32,
    next: u32,
    chain: u32,
    /// Fills that have not been committed. A busy slot is not culled; one that is given up for
    /// another reason gets its tombstone when they are over.
    busy: u16,
    /// Blocks whose bits are set.
    resident: u16,
    blob: u8,
    state: SlotState,
    frequency: u8,
    boot: Boot,
}

// There are many of them, and few blobs.
const _: () = assert!(size_of::<Slot>() == 24 && ENTRIES_MAX < 255);

impl Slot {
    fn key(&self) -> SlotKey {
        SlotKey { blob: BlobIndex(self.blob.into()), window: self.window }
    }
}

/// All slots of a region.
#[derive(Debug)]
pub struct SlotTable {
    slots: Box<[Slot]>,
    /// Half as many as the slots, in a power of two: the first slot of each chain.
    chains: Box<[u32]>,
    lists: [List; STATES],
    ghosts: Box<[u16]>,
    /// Blocks resident of each blob.
    residents: Box<[u64]>,
    /// Slots of the boot set, and how many there may be.
    pinned: u32,
    pinned_max: u32,
    /// Windows that this boot has still to read before its start counts as over.
    boot_left: u32,
}

impl SlotTable {
    /// A table of `count` slots, all dead until [`SlotTable::admit`] says otherwise.
    pub fn new(count: u32) -> Self {
        let len = usize::try_from(count).unwrap_or(0);
        let slot = Slot {
            window: 0,
            previous: NONE,
            next: NONE,
            chain: NONE,
            busy: 0,
            resident: 0,
            blob: 0,
            state: SlotState::Dead,
            frequency: 0,
            boot: Boot::No,
        };
        let mut table = Self {
            slots: vec![slot; len].into_boxed_slice(),
            chains: vec![NONE; Self::chains_of(count)].into_boxed_slice(),
            lists: [List::EMPTY; STATES],
            ghosts: vec![0; len].into_boxed_slice(),
            residents: vec![0; ENTRIES_MAX].into_boxed_slice(),
            pinned: 0,
            pinned_max: count >> 2,
            boot_left: count >> 2,
        };
        for slot in 0..count {
            table.push_back(slot, SlotState::Dead);
        }
        table
    }

    /// Bytes of memory that a table of `count` slots takes.
    pub fn bytes(count: u32) -> u64 {
        let each = size_of::<Slot>().saturating_add(size_of::<u16>());
        let slots = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(each);
        let chains = Self::chains_of(count).saturating_mul(size_of::<u32>());
        u64::try_from(slots.saturating_add(chains)).unwrap_or(u64::MAX)
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(slot).ok()?)
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }

    /// Number of slots in `state`.
    pub fn count(&self, state: SlotState) -> u32 {
        self.lists.get(state.list()).map_or(0, |list| list.len)
    }

    /// Number of slots.
    pub fn len(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The state of a slot.
    pub fn state(&self, slot: u32) -> SlotState {
        self.slot(slot).map_or(SlotState::Dead, |slot| slot.state)
    }

    /// What a live slot holds.
    pub fn key(&self, slot: u32) -> Option<SlotKey> {
        let slot = self.slot(slot)?;
        matches!(slot.state, SlotState::Small | SlotState::Main).then(|| slot.key())
    }

    /// Queue and frequency in one byte, as the descriptor keeps it.
    pub fn class(&self, slot: u32) -> u8 {
        let Some(slot) = self.slot(slot) else { return 0 };
        let main = if slot.state == SlotState::Main { CLASS_MAIN } else { 0 };
        let boot = if slot.boot == Boot::No { 0 } else { CLASS_BOOT };
        slot.frequency | main | boot
    }

    /// Puts a dead slot to use: with what its descriptor says it holds, and in how many blocks, or
    /// free. A key that another slot holds already makes it an orphan, to be entombed. Blocks are
    /// `counted` if they stand in what [`SlotTable::set_residents`] was told.
    pub fn admit(&mut self, slot: u32, held: Option<(SlotKey, u8, u32)>, counted: bool) {
        match held {
            None => self.set_state(slot, SlotState::Free),
            Some((key, ..)) if self.find(key).is_some() => {
                self.set_state(slot, SlotState::Evicted);
            }
            Some((key, class, blocks)) => {
                let small = class & CLASS_MAIN == 0;
                self.set_state(slot, if small { SlotState::Small } else { SlotState::Main });
                self.insert(slot, key);
                let boot = self.admit_to_boot_set(class);
                if let Some(slot) = self.slot_mut(slot) {
                    slot.frequency = (class & 0xf).min(FREQUENCY_MAX);
                    slot.boot = boot;
                }
                let blocks = u16::try_from(blocks).unwrap_or(u16::MAX);
                match (counted, self.slot_mut(slot)) {
                    (true, Some(slot)) => slot.resident = blocks,
                    _ => self.add_resident(slot, blocks),
                }
            }
        }
    }

    /// So many more blocks of a live slot are resident.
    pub fn add_resident(&mut self, slot: u32, blocks: u16) {
        let Some(slot) = self.slot_mut(slot) else { return };
        slot.resident = slot.resident.saturating_add(blocks);
        let blob = usize::from(slot.blob);
        if let Some(sum) = self.residents.get_mut(blob) {
            *sum = sum.saturating_add(u64::from(blocks));
        }
    }

    /// Blocks of `blob` that are resident.
    pub fn residents(&self, blob: BlobIndex) -> u64 {
        self.residents.get(usize::from(blob.0)).copied().unwrap_or(0)
    }

    /// As [`SlotTable::residents`], before any slot was admitted.
    pub fn set_residents(&mut self, blob: BlobIndex, blocks: u64) {
        if let Some(sum) = self.residents.get_mut(usize::from(blob.0)) {
            *sum = blocks;
        }
    }

    /// Marks a slot as an orphan: its descriptor names what no longer exists.
    pub fn orphan(&mut self, slot: u32) {
        self.set_state(slot, SlotState::Evicted);
    }

    /// Takes a free slot for `key`; `None` if too few are free.
    pub fn take(&mut self, key: SlotKey) -> Option<u32> {
        if self.count(SlotState::Free) <= self.marks().stop {
            return None;
        }
        let slot = self.lists.get(SlotState::Free.list())?.head;
        self.slot(slot)?;
        let known = self.forget_ghost(key);
        self.set_state(slot, if known { SlotState::Main } else { SlotState::Small });
        self.insert(slot, key);
        if let Some(slot) = self.slot_mut(slot) {
            slot.frequency = 0;
            slot.resident = 0;
        }
        self.pin(slot);
        Some(slot)
    }

    /// A reader used the slot.
    pub fn touch(&mut self, slot: u32) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.frequency = slot.frequency.saturating_add(1).min(FREQUENCY_MAX);
        }
        self.pin(slot);
    }

    /// One more fill waits for its commit, or one less.
    pub fn hold(&mut self, slot: u32) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.busy = slot.busy.saturating_add(1);
        }
    }

    /// The opposite of [`SlotTable::hold`].
    pub fn release(&mut self, slot: u32) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.busy = slot.busy.saturating_sub(1);
        }
    }

    /// Whether a fill of the slot waits for its commit.
    pub fn busy(&self, slot: u32) -> bool {
        self.slot(slot).is_some_and(|slot| slot.busy > 0)
    }

    /// Gives up what a slot holds, from now on. Says whether it held something.
    pub fn evict(&mut self, slot: u32) -> bool {
        let Some(held) = self.slot(slot).copied() else { return false };
        if !matches!(held.state, SlotState::Small | SlotState::Main) {
            return false;
        }
        if let Some(sum) = self.residents.get_mut(usize::from(held.blob)) {
            *sum = sum.saturating_sub(u64::from(held.resident));
        }
        self.remove(slot, held.key());
        self.leave_boot_set(slot);
        self.set_state(slot, SlotState::Evicted);
        true
    }

    /// Gives up all that the slots hold of a blob. Returns how many they were.
    pub fn evict_all(&mut self, blob: BlobIndex) -> u32 {
        let mut count: u32 = 0;
        for slot in 0..self.len() {
            let held = self.key(slot).is_some_and(|key| key.blob == blob);
            count = count.saturating_add(u32::from(held && self.evict(slot)));
        }
        count
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "test code"
    )]
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn key(blob: u16, window: u32) -> SlotKey {
        SlotKey { blob: BlobIndex(blob), window }
    }

    const ALL: [SlotState; STATES] = [
        SlotState::Free,
        SlotState::Small,
        SlotState::Main,
        SlotState::Evicted,
        SlotState::Entombing,
        SlotState::Entombed,
        SlotState::Dead,
    ];

    proptest! {
        #[test]
        fn the_table_agrees_with_a_map(count in 1u32..40, steps in prop::collection::vec((0u8..6, 0u16..3, 0u32..20), 0..300)) {
            let mut table = SlotTable::new(count);
            for slot in 0..count { table.admit(slot, None, false); }
            let mut oracle: HashMap<(u16, u32), u32> = HashMap::new();
            for (what, blob, window) in steps {
                let k = key(blob, window);
                match what {
                    0 | 1 if table.find(k).is_none() => {
                        if let Some(slot) = table.take(k) { prop_assert!(oracle.insert((blob, window), slot).is_none()); }
                        else { prop_assert_eq!(table.count(SlotState::Free), 0); }
                    }
                    2 => if let Some(slot) = table.find(k) { table.touch(slot) },
                    3 => if let Some(slot) = table.find(k) { prop_assert!(table.evict(slot)); oracle.remove(&(blob, window)); },
                    4 => if let Some(slot) = table.cull() { oracle.retain(|_, held| *held != slot); }
                         else { prop_assert_eq!(oracle.len(), usize::try_from(table.pinned()).unwrap()); },
                    _ => { table.move_all(SlotState::Evicted, SlotState::Free); }
                }
                for (&(b, w), &slot) in &oracle {
                    prop_assert_eq!(table.find(key(b, w)), Some(slot));
                    prop_assert_eq!(table.key(slot), Some(key(b, w)));
                }
                let live = table.count(SlotState::Small) + table.count(SlotState::Main);
                prop_assert_eq!(usize::try_from(live).unwrap(), oracle.len());
                prop_assert_eq!(ALL.iter().map(|s| table.count(*s)).sum::<u32>(), count);
            }
        }
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_used_often() {
        let mut table = SlotTable::new(100);
        for slot in 0..100 {
            table.admit(slot, None, false);
        }
        let mut get = |window: u32| match table.find(key(0, window)) {
            Some(slot) => table.touch(slot),
            None => {
                if table.count(SlotState::Free) <= table.marks().stop {
                    table.cull().unwrap();
                    table.move_all(SlotState::Evicted, SlotState::Free);
                }
                table.take(key(0, window)).unwrap();
            }
        };
        for _ in 0..4 {
            (0..50).for_each(&mut get);
        }
        (1000..3000).for_each(&mut get);
        let kept = (0..50).filter(|w| table.find(key(0, *w)).is_some()).count();
        assert!(kept >= 45, "kept {kept} of 50 hot windows");
    }

    #[test]
    fn busy_slot_that_is_given_up_holds_nothing_any_more() {
        let mut table = SlotTable::new(1);
        table.admit(0, None, false);
        table.take(key(0, 7)).unwrap();
        table.hold(0);
        assert!(table.evict(0));
        assert_eq!((table.find(key(0, 7)), table.key(0)), (None, None));
        assert!(table.busy(0), "its fill is under way");
        assert_eq!(table.state(0), SlotState::Evicted);
    }

    #[test]
    fn a_busy_slot_is_never_culled() {
        let mut table = SlotTable::new(3);
        for slot in 0..3 {
            table.admit(slot, None, false);
            table.take(key(0, slot)).unwrap();
            table.hold(slot);
        }
        assert_eq!(table.cull(), None);
        table.release(1);
        assert_eq!(table.cull(), Some(1));
    }
}
