//! The lists of slots, one for each state, in the order in which they came there.
//!
//! Always: a slot is in the list of its state and in no other.

use super::{NONE, Slot, SlotState, SlotTable};

#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub head: u32,
    tail: u32,
    pub len: u32,
}

impl List {
    pub const EMPTY: Self = Self { head: NONE, tail: NONE, len: 0 };
}

impl SlotTable {
    /// Moves every slot of `from` to `to`.
    pub fn move_all(&mut self, from: SlotState, to: SlotState) {
        for _ in 0..self.count(from) {
            if let Some(slot) = self.lists.get(from.list()).map(|list| list.head) {
                self.set_state(slot, to);
            }
        }
    }

    /// The slot that has been in `state` longest.
    pub fn first(&self, state: SlotState) -> Option<u32> {
        self.lists.get(state.list()).map(|list| list.head).filter(|slot| *slot != NONE)
    }

    /// The slot behind this one in the list of its state.
    pub fn after(&self, slot: u32) -> Option<u32> {
        self.slot(slot).map(|entry| entry.next).filter(|next| *next != NONE)
    }

    /// Moves a slot behind all others of `state`.
    pub fn set_state(&mut self, slot: u32, state: SlotState) {
        if self.slot(slot).is_some() {
            self.unlink(slot);
            self.push_back(slot, state);
        }
    }

    pub(super) fn push_back(&mut self, slot: u32, state: SlotState) {
        let Some(list) = self.lists.get_mut(state.list()) else { return };
        let tail = list.tail;
        list.tail = slot;
        list.len = list.len.saturating_add(1);
        if tail == NONE {
            list.head = slot;
        }
        if let Some(entry) = self.slot_mut(slot) {
            entry.state = state;
            entry.previous = tail;
            entry.next = NONE;
        }
        if let Some(entry) = self.slot_mut(tail) {
            entry.next = slot;
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(Slot { previous, next, state, .. }) = self.slot(slot).copied() else { return };
        if let Some(entry) = self.slot_mut(previous) {
            entry.next = next;
        }
        if let Some(entry) = self.slot_mut(next) {
            entry.previous = previous;
        }
        if let Some(list) = self.lists.get_mut(state.list()) {
            list.len = list.len.saturating_sub(1);
            if list.head == slot {
                list.head = next;
            }
            if list.tail == slot {
                list.tail = previous;
            }
        }
    }
}
