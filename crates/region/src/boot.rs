//! The boot trace: which blocks the start of a boot read, in their order, kept for the next boot.
//!
//! Always: advice. A trace that is stale, torn or forged costs reads ahead that nobody needs, and
//! changes no byte of any read; it is written only by a mount that has announced itself.

use super::format::{self, BootPage, Page};
use super::geometry::Geometry;
use super::hydrate::Armed;
use super::page::{self, PageKind};
use super::region::Cache;
use super::{BLOCK_BYTES, BlobIndex};
use crate::num;
use crate::storage::events::Kind;
use crate::storage::{Storage, Transfer};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use zerocopy::{FromZeros, IntoBytes};

/// The most runs that are kept.
pub const RUNS_MAX: usize = BootPage::RUNS;

/// How many runs back a read is looked for, so that a loop over a file's parts is one entry each.
const LOOK_BACK: usize = 16;

/// Adjacent blocks of one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootRun {
    /// The blob.
    pub blob: BlobIndex,
    /// Its first block, in units of 4 KiB.
    pub first: u64,
    /// How many.
    pub blocks: u16,
}

impl BootRun {
    /// Returns the block after the last; `None` beyond 64 bits, where no blob has blocks.
    fn end(&self) -> Option<u64> {
        self.first.checked_add(u64::from(self.blocks))
    }

    /// Grows by these blocks if they adjoin or overlap. Returns whether they are in the run now.
    fn take(&mut self, blob: BlobIndex, blocks: &Range<u64>) -> bool {
        let Some(end) = self.end() else { return false };
        if self.blob != blob || blocks.start < self.first || blocks.start > end {
            return false;
        }
        let grown = blocks.end.max(end).checked_sub(self.first).map(u16::try_from);
        let Some(Ok(grown)) = grown else { return false };
        self.blocks = grown;
        true
    }
}

/// What this boot has read so far.
#[derive(Debug)]
pub(super) struct BootTrace {
    runs: Vec<BootRun>,
    /// What was written, or read, last.
    kept: Vec<BootRun>,
    page: Box<Page>,
}

impl BootTrace {
    /// Allocates all that it will need.
    pub fn new() -> Self {
        let room = || Vec::with_capacity(RUNS_MAX);
        Self { runs: room(), kept: room(), page: Page::zeroed() }
    }

    /// Notes a read, while the start of the boot lasts.
    pub fn note(&mut self, blob: BlobIndex, blocks: &Range<u64>) {
        if self.runs.len() >= RUNS_MAX || blocks.is_empty() {
            return;
        }
        let mut recent = self.runs.iter_mut().rev().take(LOOK_BACK);
        if recent.any(|run| run.take(blob, blocks)) {
            return;
        }
        let most = u64::from(u16::MAX);
        let Some(count) = blocks.end.checked_sub(blocks.start) else { return };
        let blocks_of = num::low16(num::low32(count.min(most)));
        self.runs.push(BootRun { blob, first: blocks.start, blocks: blocks_of });
    }
}

impl Cache {
    /// Returns what the start of an earlier boot read, of blobs that this mount reads; nothing if
    /// that is not known. One read of 4 KiB.
    pub fn boot_trace<S: Storage>(&mut self, storage: &S) -> Vec<BootRun> {
        let mut runs = Vec::with_capacity(RUNS_MAX);
        let mut page = Page::zeroed();
        if self.read_region(storage, Geometry::BOOT_TRACE_AT, page.as_mut_bytes()) {
            let known = |blob| Some(self.index.blob(blob)?.generation);
            let attached = |run: &BootRun| self.index.is_attached(run.blob);
            runs.extend(parse(self.claim.uuid(), &mut page, known).filter(attached));
        }
        self.boot.kept.clone_from(&runs);
        runs
    }

    /// Writes the trace of this boot, if it is another than the one that is there and this mount
    /// may write.
    pub(super) fn write_boot_trace<S: Storage>(&mut self, storage: &S) {
        let may = self.claim.writes() && self.hydrator.armed() == Armed::Yes;
        if !may || self.boot.runs.is_empty() || self.boot.runs == self.boot.kept {
            return;
        }
        let at = self.area.byte(Geometry::BOOT_TRACE_AT);
        let page = &mut self.boot.page;
        page.zero();
        let body: &mut BootPage = zerocopy::transmute_mut!(&mut page.rest.body);
        let known = self.boot.runs.iter().filter_map(|run| Some((run, self.index.blob(run.blob)?)));
        let mut count = 0_u32;
        for (number, (raw, (run, entry))) in (1..).zip(body.runs.iter_mut().zip(known)) {
            *raw = format::BootRun {
                blob: run.blob.get().into(),
                blocks: run.blocks.into(),
                blob_generation: entry.generation.into(),
                first: run.first.into(),
            };
            count = number;
        }
        body.count = count.into();
        page::seal(self.claim.uuid(), PageKind::Boot, 0, self.claim.superblock().generation, page);
        let departure = self.recorder.depart(storage);
        let mut batch = [Transfer::write(self.area.device, at, page.as_bytes())];
        storage.run(&mut batch, &mut |_, _| {});
        let written = batch.iter().all(|transfer| transfer.outcome().is_ok());
        self.stats.wrote(BLOCK_BYTES, written);
        self.record(storage, departure, Kind::Write, (at, num::wide(BLOCK_BYTES)));
        if written {
            self.boot.kept.clone_from(&self.boot.runs);
        }
    }
}

/// Returns the runs of a trace, if it is one of this region; without those of blobs whose
/// generation is another than `known`.
pub(super) fn parse<'p>(
    region: &[u8; 16],
    page: &'p mut Page,
    known: impl Fn(BlobIndex) -> Option<u32> + 'p,
) -> impl Iterator<Item = BootRun> + 'p {
    let valid = page::open(region, PageKind::Boot, 0, page).is_some();
    let body: &BootPage = zerocopy::transmute_ref!(&page.rest.body);
    let count = if valid { num::clip(body.count.get().into(), RUNS_MAX) } else { 0 };
    body.runs.iter().take(count).filter_map(move |run| {
        let blob = BlobIndex::new(run.blob.get());
        known(blob).filter(|generation| *generation == run.blob_generation.get())?;
        Some(BootRun { blob, first: run.first.get(), blocks: run.blocks.get() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_of_a_former_blob_is_left_out() {
        let mut page = Page::zeroed();
        let body: &mut BootPage = zerocopy::transmute_mut!(&mut page.rest.body);
        body.count = 2.into();
        for (run, generation) in body.runs.iter_mut().zip([4_u32, 5]) {
            *run = format::BootRun {
                blob: 9.into(),
                blocks: 1.into(),
                blob_generation: generation.into(),
                first: u64::from(generation).into(),
            };
        }
        page::seal(&[3; 16], PageKind::Boot, 0, 1, &mut page);
        let runs: Vec<_> = parse(&[3; 16], &mut page, |_| Some(5)).collect();
        assert_eq!(runs, [BootRun { blob: BlobIndex::new(9), first: 5, blocks: 1 }]);
    }

    #[test]
    fn reads_that_adjoin_are_one_run_and_the_trace_is_bounded() {
        let mut trace = BootTrace::new();
        for at in 0..10 {
            trace.note(BlobIndex::new(1), &(at..at + 2));
            trace.note(BlobIndex::new(2), &(100..101));
        }
        trace.note(BlobIndex::new(1), &(5..5));
        let runs = [(1, 0, 11), (2, 100, 1)].map(|(blob, first, blocks)| BootRun {
            blob: BlobIndex::new(blob),
            first,
            blocks,
        });
        assert_eq!(trace.runs, runs);
        for at in 0..1000 {
            trace.note(BlobIndex::new(3), &(at * 10..at * 10 + 200_000));
        }
        assert!(trace.runs.len() <= RUNS_MAX);
        assert_eq!(trace.runs.last().map(|run| run.blocks), Some(u16::MAX));
    }
}
