//! What a region did in one mount.
//!
//! Always: counters only go up; nobody decides by them but by the number of faults.

use crate::num;
use crate::units::count;

/// What the region did in this mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Bytes made resident.
    pub kept_bytes: u64,
    /// Bytes offered but not kept, for want of a buffer or a slot.
    pub dropped_bytes: u64,
    /// Bytes written to the region, descriptors and all.
    pub written_bytes: u64,
    /// Flushes of the region.
    pub flushes: u64,
    /// Reads, writes and flushes of the region that failed.
    pub region_faults: u64,
    /// Slots that a read found wrong: the checksum of a block differed.
    pub check_failures: u64,
    /// Reads of the region that could not be judged, because what they read was given up meanwhile.
    /// They were done again from their sources.
    pub stale_reads: u64,
    /// Slots given up to make room.
    pub culled_slots: u64,
    /// Background jobs that came back twice, or that nobody asked for. They were dropped.
    pub stray_jobs: u64,
    /// Superblocks found that another machine had written since this one announced itself.
    pub foreign_writers: u64,
}

impl CacheStats {
    /// Counts `blocks` blocks that became resident.
    pub(super) fn kept(&mut self, blocks: u16) {
        count(&mut self.kept_bytes, u64::from(blocks) << 12);
    }

    /// Counts `bytes` bytes that were offered and not kept.
    pub(super) fn dropped(&mut self, bytes: usize) {
        count(&mut self.dropped_bytes, num::wide(bytes));
    }

    /// Counts a write of `bytes` bytes that began.
    pub(super) fn writes(&mut self, bytes: usize) {
        count(&mut self.written_bytes, num::wide(bytes));
    }

    /// Counts a write of `bytes` bytes that ended, and a fault if it failed.
    pub(super) fn wrote(&mut self, bytes: usize, ok: bool) {
        self.writes(bytes);
        count(&mut self.region_faults, (!ok).into());
    }

    /// Counts a flush that began.
    pub(super) fn flushes(&mut self) {
        count(&mut self.flushes, 1);
    }

    /// Counts a flush that ended, and a fault if it failed.
    pub(super) fn flushed(&mut self, ok: bool) {
        self.flushes();
        count(&mut self.region_faults, (!ok).into());
    }

    /// Counts a read, write or flush that failed.
    pub(super) fn region_fault(&mut self) {
        count(&mut self.region_faults, 1);
    }

    /// Counts a slot that a read found wrong.
    pub(super) fn check_failed(&mut self) {
        count(&mut self.check_failures, 1);
    }

    /// Counts a read that could not be judged.
    pub(super) fn stale_read(&mut self) {
        count(&mut self.stale_reads, 1);
    }

    /// Counts a slot that was given up to make room.
    pub(super) fn culled(&mut self) {
        count(&mut self.culled_slots, 1);
    }

    /// Counts a job that was dropped. Returns whether it was the first.
    pub(super) fn stray_job(&mut self) -> bool {
        count(&mut self.stray_jobs, 1);
        self.stray_jobs == 1
    }

    /// Counts a superblock of another machine.
    pub(super) fn foreign_writer(&mut self) {
        count(&mut self.foreign_writers, 1);
    }
}
