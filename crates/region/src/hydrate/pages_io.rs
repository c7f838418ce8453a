//! Descriptor and blob pages on their way to and from the region.
//!
//! Always: one write of a page at a time, to the copy that is not its newest (O2).

use super::jobs::Purpose;
use super::{Hydrator, PageJob, Phase};
use crate::format::Page;
use crate::pages::Newest;
use crate::region::Cache;
use crate::slots::SlotState;
use crate::storage::{Buffer, IoErrorKind, JobKind, Storage};
use zerocopy::{FromZeros, IntoBytes};

impl Cache {
    /// Writes the tombstones of given-up slots into their pages; fetches pages that are not in
    /// memory.
    pub(super) fn entomb<S: Storage>(&mut self, storage: &S) {
        for _ in 0..self.index.count(SlotState::Evicted) {
            if let Some(page) = self.index.entomb_first() {
                self.request_page(storage, page);
            }
        }
    }

    /// Starts a read of a page that is not in memory, unless one is under way.
    fn request_page<S: Storage>(&mut self, storage: &S, page: u32) {
        let loading =
            |job: &Option<PageJob>| matches!(job, Some(PageJob::Load(other)) if *other == page);
        if self.index.has_page(page) || self.hydrator.page_jobs.iter().any(loading) {
            return;
        }
        let copy = match self.index.newest(page) {
            Newest::In(copy) => copy,
            Newest::Nowhere => {
                self.index.install_empty(page);
                return;
            }
            Newest::Unreadable => return self.lose_page(page),
            // None of the page's slots is known, so none was given up.
            Newest::Unknown => return,
        };
        let place = self.hydrator.page_jobs.iter().position(Option::is_none);
        let Some(place) = place.filter(|_| self.index.has_room()) else { return };
        let Some(buffer) = self.hydrator.page_pool.take() else { return };
        let at = self.index.geometry().page_at(copy, page);
        match self.submit(storage, Purpose::Page(place), JobKind::Read, at, Some(buffer)) {
            Ok(()) => {
                if let Some(job) = self.hydrator.page_jobs.get_mut(place) {
                    *job = Some(PageJob::Load(page));
                }
            }
            Err(buffer) => self.hydrator.page_pool.give(buffer),
        }
    }

    /// Writes the pages that changed: those of the blob table before the group's flush, those of
    /// descriptors after it.
    pub(super) fn write_pages<S: Storage>(&mut self, storage: &S) {
        let descriptors = self.hydrator.phase == Phase::Pages;
        while let Some(place) = self.hydrator.page_jobs.iter().position(Option::is_none) {
            let Hydrator { page_pool, mark, .. } = &mut *self.hydrator;
            let index = &mut self.index;
            let next = page_pool.filled(|sealed| {
                if descriptors {
                    let (page, at) = index.take_dirty_page(sealed)?;
                    mark.note(sealed);
                    Some((PageJob::Descriptors(page), at))
                } else {
                    let (page, at) = index.take_dirty_blobs(sealed)?;
                    Some((PageJob::Blobs(page), at))
                }
            });
            let Some((buffer, (write, at))) = next else { return };
            let purpose = Purpose::Page(place);
            match self.submit(storage, purpose, JobKind::Write, at, Some(buffer)) {
                Ok(()) => {
                    if let Some(slot) = self.hydrator.page_jobs.get_mut(place) {
                        *slot = Some(write);
                    }
                }
                Err(buffer) => {
                    self.hydrator.page_pool.give(buffer);
                    self.page_written(write, None);
                    return;
                }
            }
        }
    }

    /// Takes in a page that was read in the background; `None` if the read failed. A reader may have
    /// brought the page in meanwhile, and changed it.
    pub(super) fn page_loaded(&mut self, page: u32, read: Option<&mut Buffer>) {
        let read = read.and_then(Buffer::get_mut).and_then(Page::of);
        if !self.index.has_page(page)
            && self.index.has_room()
            && !read.is_some_and(|read| self.index.install(page, read))
        {
            self.lose_page(page);
        }
    }

    /// Notes that a page write ended, or was refused by the device (`None`).
    pub(super) fn page_written(&mut self, write: PageJob, result: Option<Result<(), IoErrorKind>>) {
        let ok = result == Some(Ok(()));
        match write {
            PageJob::Load(_) => {}
            PageJob::Blobs(page) => self.index.blobs_written(page, ok),
            PageJob::Descriptors(page) => self.index.page_written(page, ok),
        }
    }

    /// Brings a page into memory, and waits for its read. Returns whether the page is there.
    pub(crate) fn load_page<S: Storage>(&mut self, storage: &S, page: u32) -> bool {
        if self.index.touch_page(page) {
            return true;
        }
        if !self.index.has_room() {
            return false;
        }
        match self.index.newest(page) {
            Newest::Nowhere => self.index.install_empty(page),
            Newest::Unreadable => false,
            Newest::Unknown => {
                self.scan_one(storage, page);
                self.index.touch_page(page)
            }
            Newest::In(copy) => {
                let mut read = Page::new_zeroed();
                let at = self.index.geometry().page_at(copy, page);
                if self.read_region(storage, at, read.as_mut_bytes())
                    && self.index.install(page, &mut read)
                {
                    return true;
                }
                self.lose_page(page);
                false
            }
        }
    }

    /// Notes that the newest copy of a page cannot be read any more, and ends writing: windows that
    /// the page described would be kept twice, and the next mount would give up one of the two.
    pub(super) fn lose_page(&mut self, page: u32) {
        self.stats.region_fault();
        self.index.lose_page(page);
        self.claim.stop_writing("a page of descriptors cannot be read");
    }
}
