//! The boot trace: which blocks the start of a boot read, in their order, kept for the next boot.
//!
//! Always: advice. A trace that is stale, torn or forged costs reads ahead that nobody needs, and
//! changes no byte of any read; it is written only by a mount that has announced itself.

use super::bytes::{put, u16_at, u32_at, u64_at};
use super::geometry::{Geometry, PAGE_HEADER_BYTES};
use super::hydrate::Armed;
use super::page::{self, PageKind};
use super::region::{Cache, Mode};
use super::{BLOCK_BYTES, BlobIndex};
use crate::storage::{Background, Storage, Transfer};
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Where the number of runs stands, and the first of them; FORMAT.md has the layout.
const COUNT: usize = PAGE_HEADER_BYTES;
const RUNS: usize = COUNT + 16;

mod run {
    pub const BLOB: usize = 0;
    pub const BLOCKS: usize = 2;
    pub const GENERATION: usize = 4;
    pub const FIRST: usize = 8;
    pub const BYTES: usize = 16;
}

/// The most runs that are kept.
pub const RUNS_MAX: usize = 251;
const _: () = assert!(RUNS + RUNS_MAX * run::BYTES <= BLOCK_BYTES);

/// So many runs back a read is looked for, so that a loop over a file's parts is one entry each.
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
    fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.blocks))
    }

    /// Grows by these blocks if they adjoin or overlap; false if not.
    fn take(&mut self, blob: BlobIndex, blocks: &Range<u64>) -> bool {
        if self.blob != blob || blocks.start < self.first || blocks.start > self.end() {
            return false;
        }
        match u16::try_from(blocks.end.max(self.end()).saturating_sub(self.first)) {
            Ok(grown) => {
                self.blocks = grown;
                true
            }
            Err(_) => false,
        }
    }
}

/// What this boot has read so far.
#[derive(Debug)]
pub(super) struct BootTrace {
    runs: Vec<BootRun>,
    /// What was written, or read, last.
    kept: Vec<BootRun>,
    page: Box<[u8]>,
}

impl BootTrace {
    /// Allocates all that it will need.
    pub fn new() -> Self {
        let room = || Vec::with_capacity(RUNS_MAX);
        Self { runs: room(), kept: room(), page: vec![0; BLOCK_BYTES].into_boxed_slice() }
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
        let count = blocks.end.saturating_sub(blocks.start).min(most);
        let blocks_of = u16::try_from(count).unwrap_or(u16::MAX);
        self.runs.push(BootRun { blob, first: blocks.start, blocks: blocks_of });
    }
}

impl Cache {
    /// What the start of an earlier boot read, of blobs that this mount reads; empty if none is
    /// known. One read of 4 KiB.
    pub fn boot_trace<S: Storage>(&mut self, storage: &mut S) -> Vec<BootRun> {
        let mut runs = Vec::with_capacity(RUNS_MAX);
        let mut raw = core::mem::take(&mut self.boot.page);
        if self.read_region(storage, Geometry::BOOT_TRACE_AT, &mut raw) {
            let known = |blob| Some(self.blobs.get(blob)?.generation);
            let attached = |run: &BootRun| self.blobs.is_attached(run.blob);
            runs.extend(parse(&self.superblock.uuid, &mut raw, known).filter(attached));
        }
        self.boot.page = raw;
        self.boot.kept.clone_from(&runs);
        runs
    }

    /// Writes the trace of this boot, if it is another than the one that is there and this mount
    /// may write.
    pub(super) fn write_boot_trace<S: Background>(&mut self, storage: &mut S) {
        let may = self.mode == Mode::ReadWrite && self.hydrator.armed() == Armed::Yes;
        if !may || self.boot.runs.is_empty() || self.boot.runs == self.boot.kept {
            return;
        }
        let mut raw = core::mem::take(&mut self.boot.page);
        raw.fill(0);
        let mut count: u32 = 0;
        let places = raw.get_mut(RUNS..).unwrap_or_default().chunks_exact_mut(run::BYTES);
        let known = self.boot.runs.iter().filter_map(|run| Some((run, self.blobs.get(run.blob)?)));
        for (raw, (run, entry)) in places.zip(known) {
            put(raw, run::BLOB, &run.blob.0.to_le_bytes());
            put(raw, run::BLOCKS, &run.blocks.to_le_bytes());
            put(raw, run::GENERATION, &entry.generation.to_le_bytes());
            put(raw, run::FIRST, &run.first.to_le_bytes());
            count = count.saturating_add(1);
        }
        put(&mut raw, COUNT, &count.to_le_bytes());
        let generation = self.superblock.generation;
        page::seal(&self.superblock.uuid, PageKind::Boot, 0, generation, &mut raw);
        let at = self.start.saturating_add(Geometry::BOOT_TRACE_AT);
        let mut batch = [Transfer::write(self.device, at, &raw)];
        storage.run(&mut batch, &mut |_, _| {});
        let written = batch.iter().all(|transfer| transfer.outcome().is_ok());
        self.boot.page = raw;
        self.stats.written_bytes = self.stats.written_bytes.saturating_add(4096);
        self.stats.region_faults = self.stats.region_faults.saturating_add(u64::from(!written));
        if written {
            self.boot.kept.clone_from(&self.boot.runs);
        }
    }
}

/// The runs of a trace, if it is one of this region; without those of blobs whose generation is
/// another than `known`.
pub(super) fn parse<'r>(
    region: &[u8; 16],
    raw: &'r mut [u8],
    known: impl Fn(BlobIndex) -> Option<u32> + 'r,
) -> impl Iterator<Item = BootRun> + 'r {
    let valid = page::open(region, PageKind::Boot, 0, raw).is_some();
    let count = if valid { usize::try_from(u32_at(raw, COUNT)).unwrap_or(0) } else { 0 };
    let runs = raw.get(RUNS..).unwrap_or_default().chunks_exact(run::BYTES);
    runs.take(count.min(RUNS_MAX)).filter_map(move |raw| {
        let blob = BlobIndex(u16_at(raw, run::BLOB));
        known(blob).filter(|generation| *generation == u32_at(raw, run::GENERATION))?;
        Some(BootRun { blob, first: u64_at(raw, run::FIRST), blocks: u16_at(raw, run::BLOCKS) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_of_a_former_blob_is_left_out() {
        let mut raw = vec![0; BLOCK_BYTES];
        put(&mut raw, COUNT, &2u32.to_le_bytes());
        for (at, generation) in [(RUNS, 4u32), (RUNS + run::BYTES, 5)] {
            put(&mut raw, at + run::BLOB, &9u16.to_le_bytes());
            put(&mut raw, at + run::BLOCKS, &1u16.to_le_bytes());
            put(&mut raw, at + run::GENERATION, &generation.to_le_bytes());
            put(&mut raw, at + run::FIRST, &u64::from(generation).to_le_bytes());
        }
        page::seal(&[3; 16], PageKind::Boot, 0, 1, &mut raw);
        let runs: Vec<_> = parse(&[3; 16], &mut raw, |_| Some(5)).collect();
        assert_eq!(runs, [BootRun { blob: BlobIndex(9), first: 5, blocks: 1 }]);
    }

    #[test]
    fn reads_that_adjoin_are_one_run_and_the_trace_is_bounded() {
        let mut trace = BootTrace::new();
        for at in 0..10 {
            trace.note(BlobIndex(1), &(at..at + 2));
            trace.note(BlobIndex(2), &(100..101));
        }
        trace.note(BlobIndex(1), &(5..5));
        let runs = [(1, 0, 11), (2, 100, 1)].map(|(blob, first, blocks)| BootRun {
            blob: BlobIndex(blob),
            first,
            blocks,
        });
        assert_eq!(trace.runs, runs);
        for at in 0..1000 {
            trace.note(BlobIndex(3), &(at * 10..at * 10 + 200_000));
        }
        assert!(trace.runs.len() <= RUNS_MAX);
        assert_eq!(trace.runs.last().map(|run| run.blocks), Some(u16::MAX));
    }
}
