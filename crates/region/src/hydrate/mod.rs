//! Hydration: fetched bytes become resident, in groups, in the background.
//!
//! Always: a bit enters a descriptor page only after a flush that followed its data (O3); the
//! tombstone of a given-up slot is durable before the slot is used again (O1); nothing here
//! waits, so no reader waits for it. DESIGN.md draws the life of a group.

mod block;
mod fill;
mod group;
mod jobs;
mod mark;
mod page_pool;
mod pages_io;
mod stage;
mod sync;

pub use self::sync::{Round, Syncing};

use self::block::{Fill, RegionBlock};
use self::jobs::Jobs;
use self::mark::Mark;
use self::page_pool::PagePool;
use self::stage::Stages;
use super::BLOCK_BYTES;
use super::block_set::BlockSet;
use super::geometry::SlotSize;
use crate::num;
use crate::storage::Ended;
use crate::units::{Count, Pow2, RegionSlot};
use alloc::vec::Vec;

/// A group is closed when this many bytes wait for their flush.
const GROUP_BYTES_MAX: u64 = 16 << 20;
/// A group is closed when it has been open this long.
const GROUP_OPEN_NS_MAX: u64 = 1_000_000_000;
/// The least and the most runs of blocks that can be under way at once: one for each KiB of the
/// pool. A group is closed when half of them are.
const FILLS_MIN: usize = 1024;
const FILLS_MAX: usize = 4096;
/// Descriptor and blob pages that can be written at once.
const PAGE_JOBS_MAX: usize = 32;
/// How often `sync` offers its last flush to a device that has no room for it.
const SEAL_TRIES_MAX: u32 = 1000;
/// Slots given up at most in one tick.
const CULLS_PER_TICK_MAX: usize = 1024;

/// Where a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Collecting fills.
    Open,
    /// Closed; its data writes are still under way.
    Draining,
    /// Its data is written; the flush is under way.
    Flushing,
    /// Flushed; its descriptor pages are being written.
    Pages,
}

/// Whether this mount has announced itself as the region's writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Armed {
    No,
    /// What an earlier mount wrote is being made durable.
    Settling,
    Writing,
    Flushing,
    Yes,
}

/// Where the final flush of `sync` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seal {
    No,
    Flushing,
    /// It ended, well or not.
    Done(bool),
}

/// A transfer of one page.
#[derive(Clone, Copy, Debug)]
enum PageJob {
    /// A write of a descriptor page.
    Descriptors(u32),
    /// A write of a blob table page.
    Blobs(u32),
    /// A read of a descriptor page.
    Load(u32),
}

/// The hydration state of a mount.
#[derive(Debug)]
pub(super) struct Hydrator {
    jobs: Jobs,
    /// Fills that wait to be written or are being written.
    stages: Stages,
    /// Fills that wait for their flush.
    fills: Vec<Fill>,
    fills_max: usize,
    /// Slots of all fills; a slot of two fills counts twice.
    parts: Count,
    /// Blocks of a slot.
    slot_blocks: Pow2,
    page_pool: PagePool,
    page_jobs: Vec<Option<PageJob>>,
    phase: Phase,
    mark: Mark,
    armed: Armed,
    /// Number of the open group.
    group: u64,
    group_bytes: u64,
    opened_ns: u64,
    /// A reader asked for everything to be made durable.
    hurry: bool,
    /// A [`Syncing`] has its turn.
    is_syncing: bool,
    /// A flush of this mount failed, and may have dropped anything.
    flush_failed: bool,
    /// The final flush of `sync`; no group is closed while it is not `No`.
    seal: Seal,
    /// Bytes were offered while hardly a slot was free.
    starved: bool,
}

impl Hydrator {
    #[expect(clippy::arithmetic_side_effects, reason = "there is memory for each of these")]
    pub(super) fn new(
        buffers: usize,
        buffer_bytes: usize,
        pages: usize,
        slot_size: SlotSize,
    ) -> Self {
        let page_jobs = pages.clamp(1, PAGE_JOBS_MAX);
        let wanted = buffers.checked_mul(buffer_bytes >> 10);
        let fills_max = wanted.map_or(FILLS_MAX, |fills| fills.clamp(FILLS_MIN, FILLS_MAX));
        let stages = Stages::new(buffers, buffer_bytes);
        Self {
            // Each write of data, each transfer of a page, and two flushes.
            jobs: Jobs::new(stages.len() + page_jobs + 2),
            stages,
            fills: Vec::with_capacity(fills_max),
            fills_max,
            parts: Count::ZERO,
            slot_blocks: slot_size.block_count(),
            page_pool: PagePool::new(page_jobs),
            page_jobs: core::iter::repeat_with(|| None).take(page_jobs).collect(),
            phase: Phase::Open,
            mark: Mark::new(),
            armed: Armed::No,
            group: 0,
            group_bytes: 0,
            opened_ns: 0,
            hurry: false,
            is_syncing: false,
            flush_failed: false,
            seal: Seal::No,
            starved: false,
        }
    }

    /// Returns the number that no other region of this program has.
    pub(super) fn user(&self) -> u32 {
        self.jobs.user()
    }

    /// Returns a block of a slot, as one of the region.
    fn block(&self, slot: RegionSlot, block: usize) -> RegionBlock {
        RegionBlock::of(slot, block, self.slot_blocks)
    }

    /// Returns the blocks of `slot` whose data is written but not committed, and those still being
    /// written.
    pub(super) fn under_way(&self, slot: RegionSlot) -> (BlockSet, BlockSet) {
        let (mut written, mut writing) = (BlockSet::default(), BlockSet::default());
        let add = |set: &mut BlockSet, fill: &Fill| {
            fill.in_slot(slot, self.slot_blocks).for_each(|block| set.insert(block));
        };
        self.fills.iter().for_each(|fill| add(&mut written, fill));
        self.stages.fills().for_each(|fill| add(&mut writing, fill));
        (written, writing)
    }

    /// Returns the bytes of block `block` of `slot` up to the end of its fill, or of the slot,
    /// while they are being written.
    pub(super) fn staged(&self, slot: RegionSlot, block: usize) -> Option<&[u8]> {
        let slot_end = self.block(slot, num::clip(self.slot_blocks.get(), usize::MAX));
        let block = self.block(slot, block);
        let (fill, bytes) = self.stages.holding(block)?;
        let end = fill.end().min(slot_end);
        let offset = |block: RegionBlock| block.since(fill.first)?.checked_mul(BLOCK_BYTES);
        bytes.get(offset(block)?..offset(end)?)
    }

    /// Returns the number of fills under way, and the most that there is room for.
    #[expect(clippy::arithmetic_side_effects, reason = "both have room for so few")]
    fn filled(&self) -> (usize, usize) {
        (self.fills.len() + self.stages.busy(), self.fills_max)
    }

    /// Removes the transfer of a page that has ended, and returns it.
    ///
    /// # Panics
    /// If there is none in this place: it ended twice.
    #[expect(clippy::expect_used, reason = "a transfer that does not exist has ended")]
    fn end_page_job(&mut self, place: usize) -> PageJob {
        self.page_jobs.get_mut(place).and_then(Option::take).expect("a transfer of a page")
    }

    /// Returns whether more than half of the buffers or of the places for writes are in use, or
    /// nearly all of those for fills, half of which may wait for a flush.
    #[expect(clippy::arithmetic_side_effects, reason = "an eighth of it")]
    pub(super) fn pressed(&self) -> bool {
        let (fills, room) = self.filled();
        self.stages.pressed() || fills >= room - room / 8
    }

    /// Returns whether half of the fills that there is room for are under way: their group is closed.
    fn is_full(&self) -> bool {
        let (fills, room) = self.filled();
        fills >= room / 2
    }

    /// Returns whether no fill is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.filled().0 == 0
    }

    /// Returns how far this mount has announced itself.
    pub(super) fn armed(&self) -> Armed {
        self.armed
    }

    /// Makes the next write announce this mount anew.
    pub(super) fn disarm(&mut self) {
        self.armed = Armed::No;
    }

    /// Returns the job of somebody else that ended last, and keeps it no longer.
    pub(super) fn take_stray(&mut self) -> Option<Ended> {
        self.jobs.take_stray()
    }

    /// Returns whether nothing was offered and nothing is under way.
    fn at_rest(&self) -> bool {
        self.idle() && !self.hurry && !self.starved
    }

    /// Returns whether nothing is under way.
    pub(super) fn idle(&self) -> bool {
        self.is_empty() && self.phase == Phase::Open && self.seal == Seal::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Fill = Fill { first: RegionBlock::FIRST, blocks: 0, group: 0 };

    #[test]
    #[should_panic(expected = "a write")]
    fn write_that_ends_twice_is_noticed() {
        let mut stages = Stages::new(1, BLOCK_BYTES);
        let Some(write) = stages.open(0, EMPTY) else { return };
        assert_eq!(stages.close(write).blocks, 0);
        stages.close(write);
    }

    #[test]
    #[should_panic(expected = "started twice")]
    fn write_that_starts_twice_is_noticed() {
        let mut stages = Stages::new(1, BLOCK_BYTES);
        let Some(write) = stages.open(0, EMPTY) else { return };
        stages.started(write);
        stages.started(write);
    }

    #[test]
    #[should_panic(expected = "a transfer of a page")]
    fn page_job_that_ends_twice_is_noticed() {
        let mut hydrator = Hydrator::new(2, BLOCK_BYTES, 4, SlotSize::K64);
        hydrator.page_jobs = alloc::vec![Some(PageJob::Load(7))];
        assert!(matches!(hydrator.end_page_job(0), PageJob::Load(7)));
        hydrator.end_page_job(0);
    }
}
