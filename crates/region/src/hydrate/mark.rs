//! The mark: a number that this mount changes with each group. A machine that was resumed from the
//! same snapshot of memory has the same nonce; by their marks the two notice each other within a group.
//!
//! Always: nothing follows from a mark that cannot be written or read. A mark that this mount did
//! not write ends this mount's writing, not its hits.

use super::jobs::Purpose;
use crate::format::{MarkPage, Page};
use crate::geometry::Geometry;
use crate::page::{self, PageKind};
use crate::region::Cache;
use crate::storage::{Buffer, JobKind, Storage};
use twox_hash::XxHash3_64;
use zerocopy::FromZeros;

/// What stands in the place of the mark if nobody else writes the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// No mark of this mount; perhaps one of an earlier mount.
    Nothing,
    /// This number, when its write has ended.
    Writing(u64),
    /// This number.
    Number(u64),
    /// Nobody knows: a write failed.
    Unknown,
}

/// The mark of this mount.
#[derive(Debug)]
pub(super) struct Mark {
    stands: Stands,
    /// The last number, and the checks of all pages since, folded together.
    number: u64,
    /// A read of the mark is under way, and no write begins until it ends.
    looking: bool,
    /// The group whose mark was written last.
    group: u64,
}

impl Mark {
    /// Returns a mark that was not written.
    pub fn new() -> Self {
        Self { stands: Stands::Nothing, number: 0, looking: false, group: 0 }
    }

    /// Folds in the check of a page that this mount writes: machines that write different pages have
    /// different marks from then on.
    pub fn note(&mut self, sealed: &Page) {
        self.number = self.number.rotate_left(1) ^ sealed.check.get();
    }

    /// Returns whether another machine wrote a mark with this nonce and number.
    fn is_foreign(&self, own_nonce: u64, nonce: u64, number: u64) -> bool {
        match self.stands {
            Stands::Nothing => nonce == own_nonce,
            Stands::Number(own) => nonce != own_nonce || number != own,
            Stands::Writing(_) | Stands::Unknown => false,
        }
    }
}

impl Cache {
    /// Writes the mark of the group whose pages are written. Returns whether the group has to wait
    /// for the mark. One that finds no buffer or no room is left to the next group.
    pub(super) fn write_mark<S: Storage>(&mut self, storage: &S) -> bool {
        let group = self.hydrator.group;
        let mark = &self.hydrator.mark;
        if mark.group == group || mark.looking {
            return matches!(mark.stands, Stands::Writing(_));
        }
        let parts = [mark.number, storage.now_ns(), storage.unique()].map(u64::to_le_bytes);
        let number = XxHash3_64::oneshot(parts.as_flattened());
        let claim = &self.claim;
        let filled = self.hydrator.page_pool.filled(|page| {
            page.zero();
            let (nonce, number) = (claim.nonce().into(), number.into());
            page.rest.body = zerocopy::transmute!(MarkPage { nonce, number, rest: [0; _] });
            page::seal(claim.uuid(), PageKind::Mark, 0, group, page);
            Some(())
        });
        let Some((buffer, ())) = filled else { return false };
        let at = Geometry::MARK_AT;
        if let Err(buffer) = self.submit(storage, Purpose::Mark, JobKind::Write, at, Some(buffer)) {
            self.hydrator.page_pool.give(buffer);
            return false;
        }
        self.hydrator.mark =
            Mark { stands: Stands::Writing(number), number, group, looking: false };
        true
    }

    /// Notes that the write of the mark ended.
    pub(super) fn mark_written(&mut self, ok: bool) {
        let mark = &mut self.hydrator.mark;
        mark.stands = match mark.stands {
            Stands::Writing(number) if ok => Stands::Number(number),
            _ => Stands::Unknown,
        };
    }

    /// Reads the mark in the background, as [`Cache::look`] reads the superblocks.
    pub(super) fn look_for_mark<S: Storage>(&mut self, storage: &S) {
        if self.hydrator.mark.looking {
            return;
        }
        let Some(buffer) = self.hydrator.page_pool.take() else { return };
        let at = Geometry::MARK_AT;
        match self.submit(storage, Purpose::LookForMark, JobKind::Read, at, Some(buffer)) {
            Ok(()) => self.hydrator.mark.looking = true,
            Err(buffer) => self.hydrator.page_pool.give(buffer),
        }
    }

    /// Judges the mark as it was read; `None` if the read failed.
    pub(super) fn look_at_mark(&mut self, buffer: Option<&mut Buffer>) {
        self.hydrator.mark.looking = false;
        let Some(page) = buffer.and_then(Buffer::get_mut).and_then(Page::of) else { return };
        if page::open(self.claim.uuid(), PageKind::Mark, 0, page).is_some() {
            let mark: &MarkPage = zerocopy::transmute_ref!(&page.rest.body);
            let (nonce, number) = (mark.nonce.get(), mark.number.get());
            if self.hydrator.mark.is_foreign(self.claim.nonce(), nonce, number) {
                self.yield_to_another();
            }
        }
    }
}
