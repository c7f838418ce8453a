//! Descriptor and blob pages on their way to and from the region.
//!
//! Always: one write of a page at a time, to the copy that is not its newest (O2).

use super::jobs::Purpose;
use super::{PageJob, Phase};
use crate::cache::descriptor;
use crate::cache::format::Page;
use crate::cache::pages::Newest;
use crate::cache::region::Cache;
use crate::cache::slots::SlotState;
use crate::storage::{IoErrorKind, JobKind, Storage};
use zerocopy::{FromZeros, IntoBytes};

impl Cache {
    /// Writes the tombstones of given-up slots into their pages; fetches pages that are not in
    /// memory.
    pub(super) fn entomb<S: Storage>(&mut self, storage: &mut S) {
        let size = self.geometry.slot_size;
        for _ in 0..self.slots.count(SlotState::Evicted) {
            let Some(slot) = self.slots.first(SlotState::Evicted) else { return };
            if self.slots.busy(slot) {
                // Its fills end first: nothing is written to a slot that has a tombstone.
                self.slots.set_state(slot, SlotState::Evicted);
                continue;
            }
            let (page, index) = self.geometry.place(slot);
            // A page that is being written must not change its meaning until it is.
            let changed = match self.pages.in_flight(page) {
                true => None,
                false => self.pages.change(page),
            };
            match changed {
                Some(changed) => {
                    let mut descriptor = descriptor::of_mut(changed, size, index);
                    let slot_generation = descriptor.head().slot_generation.wrapping_add(1);
                    let head = descriptor::Head { slot_generation, ..descriptor::Head::default() };
                    descriptor.renew(&head);
                    self.slots.set_state(slot, SlotState::Entombing);
                }
                None => {
                    self.slots.set_state(slot, SlotState::Evicted);
                    self.request_page(storage, page);
                }
            }
        }
    }

    /// Starts a read of a page that is not in memory, unless one is under way.
    fn request_page<S: Storage>(&mut self, storage: &mut S, page: u32) {
        let loading =
            |job: &Option<PageJob>| matches!(job, Some(PageJob::Load(other)) if *other == page);
        if self.pages.get(page).is_some() || self.hydrator.page_jobs.iter().any(loading) {
            return;
        }
        let copy = match self.pages.newest(page) {
            Newest::In(copy) => copy,
            Newest::Nowhere => {
                self.pages.install(page, None);
                return;
            }
            Newest::Unreadable => return self.lose_page(page),
            // Nothing is known of its slots, so none of them is given up.
            Newest::Unknown => return,
        };
        let place = self.hydrator.page_jobs.iter().position(Option::is_none);
        let Some(place) = place.filter(|_| self.pages.has_room()) else { return };
        let Some(buffer) = self.hydrator.page_pool.pop() else { return };
        let at = self.geometry.page_at(copy, page);
        match self.submit(storage, Purpose::Page(place), JobKind::Read, at, Some(buffer)) {
            Ok(()) => {
                if let Some(job) = self.hydrator.page_jobs.get_mut(place) {
                    *job = Some(PageJob::Load(page));
                }
            }
            Err(buffer) => self.hydrator.give_back(buffer),
        }
    }

    /// Writes what has changed: of the blob table before the group's flush, of the descriptors
    /// behind it.
    pub(super) fn write_pages<S: Storage>(&mut self, storage: &mut S) {
        let descriptors = self.hydrator.phase == Phase::Pages;
        while let Some(mut buffer) = self.hydrator.page_pool.pop() {
            let place = self.hydrator.page_jobs.iter().position(Option::is_none);
            let next = buffer.get_mut().and_then(Page::of).and_then(|sealed| {
                if descriptors {
                    let (page, at) = self.pages.take_dirty(&self.geometry, sealed)?;
                    self.hydrator.mark.note(sealed);
                    Some((PageJob::Descriptors(page), at))
                } else {
                    let (page, at) = self.blobs.take_dirty(sealed)?;
                    Some((PageJob::Blobs(page), at))
                }
            });
            let (Some(place), Some((write, at))) = (place, next) else {
                self.hydrator.page_pool.push(buffer);
                return;
            };
            let purpose = Purpose::Page(place);
            match self.submit(storage, purpose, JobKind::Write, at, Some(buffer)) {
                Ok(()) => {
                    if let Some(slot) = self.hydrator.page_jobs.get_mut(place) {
                        *slot = Some(write);
                    }
                }
                Err(buffer) => {
                    self.hydrator.give_back(buffer);
                    self.page_written(write, None);
                    return;
                }
            }
        }
    }

    /// Notes that a page write ended, or was not taken (`None`).
    pub(super) fn page_written(&mut self, write: PageJob, result: Option<Result<(), IoErrorKind>>) {
        let ok = result == Some(Ok(()));
        match write {
            PageJob::Load(_) => {}
            PageJob::Blobs(page) => self.blobs.written(page, ok),
            PageJob::Descriptors(page) => {
                self.pages.written(page, ok);
                if ok {
                    for slot in self.geometry.slots_of(page) {
                        if self.slots.state(slot) == SlotState::Entombing {
                            self.slots.set_state(slot, SlotState::Entombed);
                        }
                    }
                }
            }
        }
    }

    /// Brings a page into memory. Waits for the read if it has to; false if it cannot.
    pub(in crate::cache) fn load_page<S: Storage>(&mut self, storage: &mut S, page: u32) -> bool {
        if self.pages.touch(page) {
            return true;
        }
        if !self.pages.has_room() {
            return false;
        }
        match self.pages.newest(page) {
            Newest::Nowhere => self.pages.install(page, None),
            Newest::Unreadable => false,
            Newest::Unknown => {
                self.scan_one(storage, page);
                self.pages.touch(page)
            }
            Newest::In(copy) => {
                let mut read = Page::new_zeroed();
                let at = self.geometry.page_at(copy, page);
                if self.read_region(storage, at, read.as_mut_bytes())
                    && self.pages.install_copy(page, &mut read)
                {
                    return true;
                }
                self.lose_page(page);
                false
            }
        }
    }

    /// Notes that the newest copy of a page cannot be read any more. What it described is not known
    /// in this mount, would be kept twice, and one of the two given up by the next.
    pub(super) fn lose_page(&mut self, page: u32) {
        self.stats.region_fault();
        self.pages.lose(page);
        for slot in self.geometry.slots_of(page) {
            self.slots.evict(slot);
        }
        self.claim.stop_writing("a page of descriptors cannot be read");
    }
}
