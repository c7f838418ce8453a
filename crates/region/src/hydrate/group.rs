//! The life of a group of fills: open, draining, flushing, pages.
//!
//! Always: bits enter the pages of a group after the flush that followed all its data (O3), and
//! a slot is free again after a flush that followed its tombstone (O1).

use super::block::Fill;
use super::jobs::Purpose;
use super::{Armed, CULLS_PER_TICK_MAX, GROUP_BYTES_MAX, GROUP_OPEN_NS_MAX, Phase, Seal};
use crate::region::Cache;
use crate::slots::SlotState;
use crate::storage::Storage;

impl Cache {
    /// Moves hydration on until it would have to wait. Returns whether a job has ended.
    pub(crate) fn move_on<S: Storage>(&mut self, storage: &S) -> bool {
        let mut any = false;
        while let Some((job, result)) = storage.poll() {
            self.ended(storage, job, result);
            any = true;
        }
        if self.claim.wants_condemnation() {
            self.condemn(storage);
        }
        if self.claim.writes() {
            if self.hydrator.at_rest() {
                // The next group is as old as its first fill.
                self.hydrator.opened_ns = 0;
                return any;
            }
            if self.hydrator.opened_ns == 0 {
                self.hydrator.opened_ns = storage.now_ns();
            }
            self.start_held(storage);
            self.tick(storage);
        }
        any
    }

    pub(super) fn settled(&self) -> bool {
        self.hydrator.idle() && !self.index.is_dirty() && !self.index.is_giving_up()
    }

    fn tick<S: Storage>(&mut self, storage: &S) {
        let open = self.hydrator.phase == Phase::Open && self.hydrator.seal == Seal::No;
        if open && self.should_close(storage.now_ns()) {
            self.hydrator.group = self.hydrator.group.wrapping_add(1);
            self.hydrator.group_bytes = 0;
            self.hydrator.opened_ns = 0;
            self.hydrator.phase = Phase::Draining;
            self.hydrator.stages.all_due();
            self.cull();
            self.hydrator.starved = false;
            if self.hydrator.armed == Armed::Yes {
                self.look(storage);
                self.look_for_mark(storage);
            }
        }
        self.advance(storage);
    }

    #[expect(clippy::arithmetic_side_effects, reason = "pinned slots are live")]
    fn should_close(&self, now_ns: u64) -> bool {
        let hydrator = &self.hydrator;
        let index = &self.index;
        let freeing = index.count(SlotState::Evicted) > 0 || index.count(SlotState::Entombed) > 0;
        // Every busy slot is part of a fill: of more slots than that, one is neither busy nor pinned.
        let loose = index.count(SlotState::Live) - index.pinned();
        let can_free = freeing || loose > hydrator.parts.get();
        let work = !hydrator.is_empty() || index.is_dirty() || freeing;
        let age_ns = now_ns.checked_sub(hydrator.opened_ns);
        let old = hydrator.opened_ns > 0 && age_ns.is_some_and(|ns| ns >= GROUP_OPEN_NS_MAX);
        hydrator.group_bytes >= GROUP_BYTES_MAX
            || hydrator.is_full()
            || index.is_cramped()
            || (hydrator.starved && can_free)
            || (work && (hydrator.hurry || old))
    }

    /// Gives up slots when too few are free, until enough are on their way to be.
    fn cull(&mut self) {
        if !self.index.is_short() {
            return;
        }
        let soon_free = [SlotState::Free, SlotState::Evicted, SlotState::Entombed];
        let coming: u32 = soon_free.iter().map(|state| self.index.count(*state)).sum();
        for _ in (coming..self.index.marks().run).take(CULLS_PER_TICK_MAX) {
            if !self.index.cull() {
                break;
            }
            self.stats.culled();
        }
    }

    fn advance<S: Storage>(&mut self, storage: &S) {
        if self.hydrator.phase == Phase::Draining && self.drained() {
            let armed = self.hydrator.armed;
            if armed == Armed::No {
                // Without any earlier write there is nothing to announce: arming comes first.
                self.arm(storage);
            } else if armed == Armed::Yes && self.index.blobs_busy() {
                // The flush covers new blobs too: a descriptor that names a blob which a power
                // cut took would be taken for that of the next blob in its place.
                self.write_pages(storage);
            } else if armed == Armed::Yes && self.submit_flush(storage, Purpose::GroupFlush) {
                self.hydrator.phase = Phase::Flushing;
            }
        }
        if self.hydrator.phase == Phase::Pages {
            self.entomb(storage);
            self.write_pages(storage);
            let in_flight = self.hydrator.page_jobs.iter().any(Option::is_some);
            if !in_flight && !self.index.may_write_pages() && !self.write_mark(storage) {
                self.hydrator.phase = Phase::Open;
            }
        }
    }

    fn drained(&self) -> bool {
        let group = self.hydrator.group;
        self.hydrator.stages.fills().all(|fill| fill.group >= group)
    }

    pub(super) fn data_written(&mut self, index: usize, ok: bool) {
        let fill = self.hydrator.stages.close(index);
        if ok {
            self.hydrator.fills.push(fill);
        } else {
            self.release(&fill);
        }
    }

    /// Releases the slots of a fill, and the pages that keep the checksums of its blocks.
    fn release(&mut self, fill: &Fill) {
        for (slot, _) in fill.parts(self.hydrator.slot_blocks) {
            self.index.release(slot);
            self.hydrator.parts.lower();
        }
    }

    /// Notes that the flush of the closed group ended. If it ended well the bits of the group enter
    /// their pages, and the tombstones of the group before are durable.
    pub(super) fn commit(&mut self, flushed: bool) {
        if flushed {
            self.index.flushed();
        }
        let group = self.hydrator.group;
        for at in (0..self.hydrator.fills.len()).rev() {
            let Some(fill) = self.hydrator.fills.get(at).copied().filter(|fill| fill.group < group)
            else {
                continue;
            };
            if flushed {
                for (slot, blocks) in fill.parts(self.hydrator.slot_blocks) {
                    self.stats.kept(self.index.make_resident(slot, blocks));
                }
            }
            self.release(&fill);
            self.hydrator.fills.swap_remove(at);
        }
        self.index.note_classes();
    }
}
