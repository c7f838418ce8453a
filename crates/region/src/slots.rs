//! The slot table: what every slot holds, found by (blob, window), and which one goes next.
//!
//! Always: each slot is in exactly one list, the one of its state, or, if it holds something, in
//! one of the eviction policy's; a (blob, window) is held by at most one slot. Nothing here does
//! I/O.

mod boot;
mod index;

pub use self::boot::Marks;
use super::BlobIndex;
use super::blobs::ENTRIES_MAX;
use crate::evict::{Hold, Links, List, Policy, S3Fifo};
use crate::num;
use crate::units::{Count, RegionSlot};
use alloc::boxed::Box;
use alloc::vec;

const NONE: u32 = u32::MAX;

/// The bit of a descriptor's class above those of the policy, see FORMAT.md.
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
    /// Holds something.
    Live,
    /// Given up in memory; its tombstone is not written yet.
    Evicted,
    /// Its tombstone is being written.
    Entombing,
    /// Its tombstone is written and waits for a flush.
    Entombed,
    /// Its descriptor page cannot be read; not used in this mount.
    Dead,
}

/// The slots that hold nothing, in the order in which they came to their state.
#[derive(Debug)]
struct Lists {
    free: List,
    evicted: List,
    entombing: List,
    entombed: List,
    dead: List,
}

impl Lists {
    /// Returns the list of a state; `None` for live slots, whose lists are the policy's.
    fn of(&self, state: SlotState) -> Option<&List> {
        match state {
            SlotState::Free => Some(&self.free),
            SlotState::Live => None,
            SlotState::Evicted => Some(&self.evicted),
            SlotState::Entombing => Some(&self.entombing),
            SlotState::Entombed => Some(&self.entombed),
            SlotState::Dead => Some(&self.dead),
        }
    }

    /// As [`Lists::of`].
    fn of_mut(&mut self, state: SlotState) -> Option<&mut List> {
        match state {
            SlotState::Free => Some(&mut self.free),
            SlotState::Live => None,
            SlotState::Evicted => Some(&mut self.evicted),
            SlotState::Entombing => Some(&mut self.entombing),
            SlotState::Entombed => Some(&mut self.entombed),
            SlotState::Dead => Some(&mut self.dead),
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
    chain: u32,
    /// Fills that have not been committed. A busy slot is not culled; one that is given up for
    /// another reason gets its tombstone when they are over.
    busy: u16,
    /// Blocks whose bits are set.
    resident: u16,
    blob: u8,
    state: SlotState,
    boot: Boot,
}

// A region has many slots, and few blobs.
const _: () = assert!(size_of::<Slot>() == 16 && ENTRIES_MAX < 255);

impl Slot {
    fn key(&self) -> SlotKey {
        SlotKey { blob: BlobIndex::new(self.blob.into()), window: self.window }
    }

    /// Returns whether and why the slot must not be culled.
    fn hold(&self) -> Hold {
        match self {
            Self { busy: 1.., .. } => Hold::Busy,
            Self { boot: Boot::No, .. } => Hold::None,
            _ => Hold::Pinned,
        }
    }
}

/// What the slots hold of one blob.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Slots that hold some of it.
    slots: Count,
    /// Its resident blocks.
    blocks: u64,
}

/// All slots of a region.
#[derive(Debug)]
pub struct SlotTable<P: Policy = S3Fifo> {
    slots: Box<[Slot]>,
    /// The first slot of each chain: half as many as the slots, in a power of two.
    chains: Box<[u32]>,
    links: Links,
    lists: Lists,
    policy: P,
    /// What the slots hold of each blob.
    held: Box<[Held]>,
    /// Slots of the boot set, and how many there may be.
    pinned: Count,
    pinned_max: u32,
    /// Windows that this boot has still to read before its start counts as over.
    boot_left: u32,
}

impl<P: Policy> SlotTable<P> {
    /// Bytes of memory for each slot, without the chains.
    const BYTES: usize = size_of::<Slot>() + Links::BYTES + P::BYTES;

    /// Returns a table of `count` slots, all dead until [`SlotTable::admit`] says otherwise.
    pub fn new(count: u32) -> Self {
        let slot = Slot {
            window: 0,
            chain: NONE,
            busy: 0,
            resident: 0,
            blob: 0,
            state: SlotState::Dead,
            boot: Boot::No,
        };
        let mut links = Links::new(count);
        let mut dead = List::EMPTY;
        (0..count).for_each(|slot| dead.push(&mut links, slot));
        let [free, evicted, entombing, entombed] = [List::EMPTY; 4];
        Self {
            slots: vec![slot; num::index(count)].into_boxed_slice(),
            chains: vec![NONE; Self::chains_of(count)].into_boxed_slice(),
            links,
            lists: Lists { free, evicted, entombing, entombed, dead },
            policy: P::new(count),
            held: vec![Held::default(); ENTRIES_MAX].into_boxed_slice(),
            pinned: Count::ZERO,
            pinned_max: count >> 2,
            boot_left: count >> 2,
        }
    }

    /// Returns how many bytes of memory a table of `count` slots takes.
    #[expect(clippy::arithmetic_side_effects, reason = "2^32 slots take less than 2^38")]
    pub fn bytes(count: u32) -> u64 {
        let chains = num::wide(Self::chains_of(count)) * num::wide(size_of::<u32>());
        u64::from(count) * num::wide(Self::BYTES) + chains
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a slot that was not counted is a bug, not a state"
    )]
    fn slot(&self, slot: RegionSlot) -> &Slot {
        &self.slots[num::index(slot.get())]
    }

    #[expect(clippy::indexing_slicing, reason = "as in `slot`")]
    fn slot_mut(&mut self, slot: RegionSlot) -> &mut Slot {
        &mut self.slots[num::index(slot.get())]
    }

    #[expect(clippy::indexing_slicing, reason = "as in `slot`: blobs are places of the blob table")]
    fn held_mut(&mut self, blob: BlobIndex) -> &mut Held {
        &mut self.held[usize::from(blob.get())]
    }

    /// Returns the number of slots in `state`.
    pub fn count(&self, state: SlotState) -> u32 {
        self.lists.of(state).map_or_else(|| self.policy.count(), List::count)
    }

    /// Returns the number of slots.
    pub fn len(&self) -> u32 {
        num::low32(num::wide(self.slots.len()))
    }

    /// Returns whether there are no slots.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the state of a slot.
    pub fn state(&self, slot: RegionSlot) -> SlotState {
        self.slot(slot).state
    }

    /// Returns what a slot holds; `None` if it holds nothing.
    pub fn key(&self, slot: RegionSlot) -> Option<SlotKey> {
        let slot = self.slot(slot);
        (slot.state == SlotState::Live).then(|| slot.key())
    }

    /// Returns what the descriptor keeps of a live slot: the policy's class, and whether it is of
    /// the boot set.
    pub fn class(&self, slot: RegionSlot) -> u8 {
        let boot = if self.slot(slot).boot == Boot::No { 0 } else { CLASS_BOOT };
        self.policy.class(slot.get()) | boot
    }

    /// Puts a dead slot to use: with the key, the class and the number of blocks that its descriptor
    /// says, or free. A key that another slot holds already makes it an orphan, to be entombed.
    pub fn admit(&mut self, slot: RegionSlot, held: Option<(SlotKey, u8, u16)>) {
        match held {
            None => self.set_state(slot, SlotState::Free),
            Some((key, ..)) if self.find(key).is_some() => {
                self.set_state(slot, SlotState::Evicted);
            }
            Some((key, class, blocks)) => {
                self.leave_list(slot);
                self.policy.restore(&mut self.links, slot.get(), class);
                self.insert(slot, key);
                let boot = self.admit_to_boot_set(class);
                self.slot_mut(slot).boot = boot;
                self.set_resident(slot, blocks);
            }
        }
    }

    /// Sets the number of resident blocks of a live slot.
    #[expect(clippy::arithmetic_side_effects, reason = "the sum over the blob's slots")]
    pub fn set_resident(&mut self, slot: RegionSlot, blocks: u16) {
        let entry = self.slot_mut(slot);
        let before = core::mem::replace(&mut entry.resident, blocks);
        let blob = entry.key().blob;
        let held = &mut self.held_mut(blob).blocks;
        *held = *held - u64::from(before) + u64::from(blocks);
    }

    /// Returns how many blocks of `blob` are resident.
    pub fn residents(&self, blob: BlobIndex) -> u64 {
        self.held.get(usize::from(blob.get())).map_or(0, |held| held.blocks)
    }

    /// Returns whether a slot holds some of `blob`. Takes no look at the slots.
    pub fn holds(&self, blob: BlobIndex) -> bool {
        self.held.get(usize::from(blob.get())).is_some_and(|held| held.slots != Count::ZERO)
    }

    /// Marks a slot as an orphan: its descriptor names what no longer exists.
    pub fn orphan(&mut self, slot: RegionSlot) {
        self.set_state(slot, SlotState::Evicted);
    }

    /// Takes a free slot for `key` and returns it; `None` if too few are free.
    pub fn take(&mut self, key: SlotKey) -> Option<RegionSlot> {
        if self.count(SlotState::Free) <= self.marks().stop {
            return None;
        }
        let slot = self.first(SlotState::Free)?;
        self.leave_list(slot);
        self.policy.admit(&mut self.links, slot.get(), key.hash());
        self.insert(slot, key);
        self.pin(slot);
        Some(slot)
    }

    /// Notes that a reader used a live slot.
    pub fn touch(&mut self, slot: RegionSlot) {
        self.policy.touch(&mut self.links, slot.get());
        self.pin(slot);
    }

    /// Counts one more fill that waits for its commit.
    #[expect(clippy::arithmetic_side_effects, reason = "a fill has a block of the slot, of 256")]
    pub fn hold(&mut self, slot: RegionSlot) {
        self.slot_mut(slot).busy += 1;
    }

    /// Counts one fill less: the opposite of [`SlotTable::hold`].
    #[expect(clippy::arithmetic_side_effects, reason = "asserted")]
    pub fn release(&mut self, slot: RegionSlot) {
        let entry = self.slot_mut(slot);
        assert!(entry.busy > 0, "slot {slot} is released more often than it was held");
        entry.busy -= 1;
    }

    /// Returns whether a fill of the slot waits for its commit.
    pub fn busy(&self, slot: RegionSlot) -> bool {
        self.slot(slot).busy > 0
    }

    /// Gives up one slot for want of room and returns it; `None` if every slot is busy or of the
    /// boot set.
    pub fn cull(&mut self) -> Option<RegionSlot> {
        let slots = &self.slots;
        let hold = |slot: u32| slots.get(num::index(slot)).map_or(Hold::Busy, Slot::hold);
        let slot = RegionSlot::new(self.policy.victim(&mut self.links, hold)?);
        let hash = self.slot(slot).key().hash();
        self.policy.evict(&mut self.links, slot.get(), hash);
        self.give_up(slot);
        Some(slot)
    }

    /// Gives up what a slot holds. Returns whether it held something.
    pub fn evict(&mut self, slot: RegionSlot) -> bool {
        let live = self.slot(slot).state == SlotState::Live;
        if live {
            self.policy.remove(&mut self.links, slot.get());
            self.give_up(slot);
        }
        live
    }

    /// Makes a slot that held something, and is in no list, one that is given up.
    fn give_up(&mut self, slot: RegionSlot) {
        self.set_resident(slot, 0);
        self.unchain(slot);
        self.leave_boot_set(slot);
        self.enter_list(slot, SlotState::Evicted);
    }

    /// Gives up all that the slots hold of a blob. Returns how many did.
    pub fn evict_all(&mut self, blob: BlobIndex) -> u32 {
        let mut count = Count::ZERO;
        for slot in (0..self.len()).map(RegionSlot::new) {
            if self.key(slot).is_some_and(|key| key.blob == blob) && self.evict(slot) {
                count.raise();
            }
        }
        count.get()
    }

    /// Moves every slot of `from`, which hold nothing, to `to`.
    pub fn move_all(&mut self, from: SlotState, to: SlotState) {
        while let Some(slot) = self.first(from) {
            self.set_state(slot, to);
        }
    }

    /// Returns the slot that has been in `state` longest, which is not live.
    pub fn first(&self, state: SlotState) -> Option<RegionSlot> {
        self.lists.of(state)?.first().map(RegionSlot::new)
    }

    /// Returns the slot after this one in the list of its state.
    pub fn after(&self, slot: RegionSlot) -> Option<RegionSlot> {
        self.links.after(slot.get()).map(RegionSlot::new)
    }

    /// Moves a slot that holds nothing after all others of `state`.
    pub fn set_state(&mut self, slot: RegionSlot, state: SlotState) {
        self.leave_list(slot);
        self.enter_list(slot, state);
    }

    /// Takes a slot that holds nothing out of the list of its state: it is live.
    fn leave_list(&mut self, slot: RegionSlot) {
        let state = core::mem::replace(&mut self.slot_mut(slot).state, SlotState::Live);
        if let Some(list) = self.lists.of_mut(state) {
            list.remove(&mut self.links, slot.get());
        }
    }

    fn enter_list(&mut self, slot: RegionSlot, state: SlotState) {
        self.slot_mut(slot).state = state;
        if let Some(list) = self.lists.of_mut(state) {
            list.push(&mut self.links, slot.get());
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "test code")]
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn key(blob: u16, window: u32) -> SlotKey {
        SlotKey { blob: BlobIndex::new(blob), window }
    }

    const ALL: [SlotState; 6] = [
        SlotState::Free,
        SlotState::Live,
        SlotState::Evicted,
        SlotState::Entombing,
        SlotState::Entombed,
        SlotState::Dead,
    ];

    proptest! {
        #[test]
        fn the_table_agrees_with_a_map(count in 1u32..40, steps in prop::collection::vec((0u8..6, 0u16..3, 0u32..20), 0..300)) {
            let mut table: SlotTable = SlotTable::new(count);
            for slot in 0..count { table.admit(RegionSlot::new(slot), None); }
            let mut oracle: HashMap<(u16, u32), RegionSlot> = HashMap::new();
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
                for blob in 0..3 {
                    let held = oracle.keys().any(|(other, _)| *other == blob);
                    prop_assert_eq!(table.holds(BlobIndex::new(blob)), held);
                }
                for (&(b, w), &slot) in &oracle {
                    prop_assert_eq!(table.find(key(b, w)), Some(slot));
                    prop_assert_eq!(table.key(slot), Some(key(b, w)));
                }
                let live = table.count(SlotState::Live);
                prop_assert_eq!(usize::try_from(live).unwrap(), oracle.len());
                prop_assert_eq!(ALL.iter().map(|s| table.count(*s)).sum::<u32>(), count);
            }
        }
    }

    #[test]
    fn a_scan_does_not_push_out_what_is_used_often() {
        let mut table: SlotTable = SlotTable::new(100);
        for slot in 0..100 {
            table.admit(RegionSlot::new(slot), None);
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
        let mut table: SlotTable = SlotTable::new(1);
        let slot = RegionSlot::new(0);
        table.admit(slot, None);
        table.take(key(0, 7)).unwrap();
        table.hold(slot);
        assert!(table.evict(slot));
        assert_eq!((table.find(key(0, 7)), table.key(slot)), (None, None));
        assert!(table.busy(slot), "its fill is under way");
        assert_eq!(table.state(slot), SlotState::Evicted);
    }

    #[test]
    #[should_panic(expected = "released more often")]
    fn slot_that_is_released_twice_is_noticed() {
        let mut table: SlotTable = SlotTable::new(1);
        table.hold(RegionSlot::new(0));
        table.release(RegionSlot::new(0));
        table.release(RegionSlot::new(0));
    }

    #[test]
    fn a_busy_slot_is_never_culled() {
        let mut table: SlotTable = SlotTable::new(3);
        for (slot, window) in (0..3).map(|number| (RegionSlot::new(number), number)) {
            table.admit(slot, None);
            table.take(key(0, window)).unwrap();
            table.hold(slot);
        }
        assert_eq!(table.cull(), None);
        table.release(RegionSlot::new(1));
        assert_eq!(table.cull(), Some(RegionSlot::new(1)));
    }
}
