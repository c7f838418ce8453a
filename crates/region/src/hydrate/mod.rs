//! Hydration: fetched bytes become resident, in groups, in the background.
//!
//! Always: a bit enters a descriptor page only after a flush that followed its data (O3); the
//! tombstone of a given-up slot is durable before the slot is used again (O1); nothing here
//! waits, so no reader waits for it. DESIGN.md draws the life of a group.

mod fill;
mod group;
mod jobs;
mod mark;
mod pages_io;
mod stage;

use self::jobs::Jobs;
use self::mark::Mark;
use self::stage::Stages;
use super::BLOCK_BYTES;
use super::block_set::BlockSet;
use super::geometry::SlotSize;
use crate::num;
use crate::storage::{Buffer, Ended};
use crate::units::{Count, Pow2, RegionSlot};
use alloc::vec::Vec;
use core::ops::Range;

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

/// Blocks that lie side by side in the region, in one slot or in several, on their way to
/// residency.
#[derive(Clone, Copy, Debug)]
struct Fill {
    /// Number of the first, counted through all slots.
    first: u64,
    blocks: usize,
    group: u64,
}

impl Fill {
    /// Returns the number of the block after the last.
    #[expect(clippy::arithmetic_side_effects, reason = "a region has fewer blocks than 2^40")]
    fn end(&self) -> u64 {
        self.first + num::wide(self.blocks)
    }

    /// Returns how many bytes the blocks have.
    #[expect(clippy::arithmetic_side_effects, reason = "they lie in one buffer")]
    fn bytes(&self) -> usize {
        self.blocks * BLOCK_BYTES
    }

    /// Returns the blocks, slot by slot, of slots that have `slot_blocks` blocks.
    fn parts(&self, slot_blocks: Pow2) -> impl Iterator<Item = (RegionSlot, Range<usize>)> + use<> {
        let (end, mut at) = (self.end(), self.first);
        core::iter::from_fn(move || {
            let first = num::clip(slot_blocks.offset(at), usize::MAX);
            let (slot, base) = (slot_blocks.whole(at), slot_blocks.floor(at));
            let left = end.checked_sub(base).filter(|_| at < end)?.min(slot_blocks.get());
            at = slot_blocks.times(slot.checked_add(1)?)?;
            Some((RegionSlot::new(num::low32(slot)), first..num::clip(left, usize::MAX)))
        })
    }
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
    page_pool: Vec<Buffer>,
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
    /// A flush of this mount failed, and may have dropped anything.
    flush_failed: bool,
    /// The final flush of `sync`; no group is closed while it is not `No`.
    seal: Seal,
    /// Bytes were offered while hardly a slot was free.
    starved: bool,
}

impl Hydrator {
    pub(super) fn new(
        buffers: usize,
        buffer_bytes: usize,
        pages: usize,
        slot_size: SlotSize,
    ) -> Self {
        let page_jobs = pages.clamp(1, PAGE_JOBS_MAX);
        let wanted = buffers.checked_mul(buffer_bytes >> 10);
        let fills_max = wanted.map_or(FILLS_MAX, |fills| fills.clamp(FILLS_MIN, FILLS_MAX));
        Self {
            jobs: Jobs::new(),
            stages: Stages::new(buffers, buffer_bytes),
            fills: Vec::with_capacity(fills_max),
            fills_max,
            parts: Count::ZERO,
            slot_blocks: slot_size.block_count(),
            page_pool: core::iter::repeat_with(|| Buffer::new(BLOCK_BYTES))
                .take(page_jobs)
                .collect(),
            page_jobs: core::iter::repeat_with(|| None).take(page_jobs).collect(),
            phase: Phase::Open,
            mark: Mark::new(),
            armed: Armed::No,
            group: 0,
            group_bytes: 0,
            opened_ns: 0,
            hurry: false,
            flush_failed: false,
            seal: Seal::No,
            starved: false,
        }
    }

    /// Returns the number of a block, counted through all slots.
    #[expect(clippy::arithmetic_side_effects, reason = "a region has fewer blocks than 2^40")]
    fn number(&self, slot: RegionSlot, block: usize) -> u64 {
        (u64::from(slot.get()) << self.slot_blocks.bits()) + num::wide(block)
    }

    /// Returns the blocks of `slot` whose data is written but not committed, and those still being
    /// written.
    #[expect(clippy::arithmetic_side_effects, reason = "a region has fewer blocks than 2^40")]
    pub(super) fn under_way(&self, slot: RegionSlot) -> (BlockSet, BlockSet) {
        let (mut written, mut writing) = (BlockSet::default(), BlockSet::default());
        let begin = self.number(slot, 0);
        let end = begin + self.slot_blocks.get();
        let add = |set: &mut BlockSet, fill: &Fill| {
            let here = fill.first.max(begin)..fill.end().min(end);
            here.for_each(|number| set.insert(num::clip(number - begin, usize::MAX)));
        };
        self.fills.iter().for_each(|fill| add(&mut written, fill));
        self.stages.fills().for_each(|fill| add(&mut writing, fill));
        (written, writing)
    }

    /// Returns the bytes of block `block` of `slot` up to the end of its fill, or of the slot,
    /// while they are being written.
    pub(super) fn staged(&self, slot: RegionSlot, block: usize) -> Option<&[u8]> {
        let number = self.number(slot, block);
        let (fill, bytes) = self.stages.holding(number)?;
        let slot_end = self.number(slot, 0).checked_add(self.slot_blocks.get())?;
        let end = fill.end().min(slot_end);
        let offset = |number: u64| {
            usize::try_from(number.checked_sub(fill.first)?).ok()?.checked_mul(BLOCK_BYTES)
        };
        bytes.get(offset(number)?..offset(end)?)
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

    /// Takes a page's buffer back, and drops one too many: its device has ended a job twice.
    fn give_back(&mut self, buffer: Option<Buffer>) {
        if self.page_pool.len() < self.page_jobs.len() {
            self.page_pool.extend(buffer);
        }
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

    #[test]
    #[should_panic(expected = "a write")]
    fn write_that_ends_twice_is_noticed() {
        let mut stages = Stages::new(1, BLOCK_BYTES);
        let Some(write) = stages.open(0, Fill { first: 0, blocks: 0, group: 0 }) else { return };
        assert_eq!(stages.close(write).blocks, 0);
        stages.close(write);
    }

    #[test]
    #[should_panic(expected = "started twice")]
    fn write_that_starts_twice_is_noticed() {
        let mut stages = Stages::new(1, BLOCK_BYTES);
        let Some(write) = stages.open(0, Fill { first: 0, blocks: 0, group: 0 }) else { return };
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

    #[test]
    fn buffers_that_come_back_twice_do_not_pile_up() {
        let mut hydrator = Hydrator::new(2, BLOCK_BYTES, 4, SlotSize::K64);
        let taken = hydrator.page_pool.pop();
        assert!(taken.is_some());
        for _ in 0..100 {
            hydrator.give_back(Some(Buffer::new(BLOCK_BYTES)));
        }
        assert_eq!(hydrator.page_pool.len(), 4);
    }
}
