//! Prefetching: brings the blocks that the start of an earlier boot read.
//!
//! Always: no fault here fails a read, and no read waits for more than [`FLIGHTS`] prefetches;
//! bytes from the region are checked, as for any reader, before they are kept in memory.

use super::ahead::SegmentKind;
use super::depart::Flying;
use super::pool::Target;
use crate::cache::{BootRun, Layer, Residence, Ticket, Verdict, Why};
use crate::num::{Bug, OrBug, wide};
use crate::read::guard::Guard;
use crate::read::io::Source;
use crate::storage::events::{Cause, Kind as EventKind};
use crate::storage::{Buffer, IoErrorKind, Storage, Vouch};
use crate::trace;
use crate::units::{BLOCK, ByteRange, DeviceSlot, count};
use alloc::vec::Vec;

/// The most prefetches under way.
const FLIGHTS: usize = 2;
/// The most bytes that are fetched from sources: as many as a region keeps for boots.
const SOURCE_BYTES_MAX: u64 = 256 << 20;

/// The blocks that are still to be prefetched.
#[derive(Debug, Default)]
pub struct Prefetch {
    /// Whether blocks are left or under way.
    is_on: bool,
    /// The runs of blocks, the next one last.
    runs: Vec<BootRun>,
    /// The bytes that may still go into the blocks in memory.
    memory_left: u64,
    /// The bytes that may still be fetched from sources.
    source_left: u64,
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Asks the layer for the blocks that an earlier boot read, and begins to prefetch them.
    pub fn begin_prefetch(&mut self) {
        let storage = self.storage;
        let mut runs = self.io.layer.boot_trace(storage);
        runs.reverse();
        let memory_left = self.blocks.bytes() / 2;
        let source_left = SOURCE_BYTES_MAX;
        self.flights.prefetch = Prefetch { is_on: true, runs, memory_left, source_left };
        self.go_on_prefetching();
    }

    /// Handles prefetches that have ended, and starts others, up to [`FLIGHTS`] at a time.
    pub fn go_on_prefetching(&mut self) {
        if !self.flights.prefetch.is_on {
            return;
        }
        while self.poll() {}
        while self.flights.pool.prefetching() < FLIGHTS && !self.io.layer.pressed() {
            let Some(run) = self.flights.prefetch.runs.pop() else {
                if self.flights.pool.prefetching() == 0 {
                    self.flights.prefetch.is_on = false;
                }
                break;
            };
            match self.prefetch_run(run) {
                Ok(Some(rest)) if rest.blocks == run.blocks => {
                    // No buffer is free, or the device is busy with others.
                    self.flights.prefetch.runs.push(rest);
                    break;
                }
                Ok(Some(rest)) if rest.blocks > 0 => self.flights.prefetch.runs.push(rest),
                Ok(_) => {}
                Err(bug) => self.end_prefetch(bug),
            }
        }
        // Submits them to the devices.
        self.poll();
    }

    /// Ends prefetching for a bug. Nobody waits for it, so the reason goes to the log.
    #[cold]
    fn end_prefetch(&mut self, bug: Bug) {
        trace::warn!("prefetch: {}", trace::Shown(&bug));
        self.flights.prefetch = Prefetch::default();
    }

    /// Starts one read of the front of `run`. Returns the rest of the run; `None` if the run names
    /// no bytes of this mount.
    fn prefetch_run(&mut self, run: BootRun) -> Result<Option<BootRun>, Bug> {
        let blob = Some(run.blob);
        let found = (0..)
            .map(DeviceSlot::new)
            .zip(self.shared.sources.iter())
            .find(|(_, source)| source.blob == blob);
        let Some((slot, source)) = found.map(|(slot, source)| (slot, *source)) else {
            return Ok(None);
        };
        // At most one buffer: a reader waits while the layer prepares these blocks, and the length
        // of a run comes from the region.
        let most =
            wide(self.flights.pool.buffer_bytes()).min(u64::from(run.blocks) << BLOCK.bits());
        let start = BLOCK.times(run.first);
        let want = start.map(|at| ByteRange::first(source.bytes).skip(at).take(most));
        let Some(want) = want.and_then(ByteRange::non_empty) else { return Ok(None) };
        let storage = self.storage;
        self.io.layer.prepare(storage, run.blob, BLOCK.numbers(want), Why::Prefetch);
        let (residence, here) = source.locate(&self.io.layer, want)?;
        let is_wanted = match residence {
            // An object is found when its file is opened.
            Residence::Absent if self.shared.objects == Some(slot) => false,
            Residence::Absent => self.flights.prefetch.source_left >= here.len(),
            Residence::Resident(_) => self.flights.prefetch.memory_left >= here.len(),
            Residence::Staged => false,
        };
        let done = if is_wanted { self.prefetch_front(&source, slot, want)? } else { here.len() };
        let done = u16::try_from(BLOCK.cover(done)).ok().or_bug()?;
        let blocks = run.blocks.checked_sub(done).or_bug()?;
        let first = run.first.checked_add(done.into()).or_bug()?;
        Ok(Some(BootRun { blob: run.blob, first, blocks }))
    }

    /// Starts a read of the front of `want`. Returns the bytes that it brings or that are not worth
    /// a read; 0 if it could not be started.
    fn prefetch_front(
        &mut self,
        source: &Source,
        slot: DeviceSlot,
        want: ByteRange,
    ) -> Result<u64, Bug> {
        let Some((len, kind)) = self.start_segment(source, slot, want, Cause::Prefetch)? else {
            return Ok(0);
        };
        if let SegmentKind::Flying(Flying { flight, target, ticket, .. }) = kind {
            self.flights.pool.abandon(flight, ticket);
            if target.source {
                let left = self.flights.prefetch.source_left.checked_sub(len);
                self.flights.prefetch.source_left = left.or_bug()?;
            }
        }
        Ok(len)
    }

    /// Keeps the bytes of a prefetch in memory, if they are right.
    pub(super) fn prefetched(
        &mut self,
        target: &Target,
        ticket: Option<Ticket>,
        bytes: &Result<Buffer, IoErrorKind>,
    ) {
        let len = target.cover.len();
        count(&mut self.io.stats.prefetched_bytes, len);
        let read = bytes.as_deref().map_err(|kind| *kind);
        let shared = self.shared;
        let is_right = ticket.is_none_or(|ticket| {
            let vouch = match read {
                Ok(data) if shared.is_pinned => {
                    self.released(|_| shared.vouch(target.slot, target.cover, data))
                }
                _ => Vouch::Right,
            };
            self.settle(ticket, read, vouch) == Verdict::Right
        });
        if !target.source {
            let kind = if is_right { EventKind::Hit } else { EventKind::Refused };
            let storage = self.storage;
            self.io.recorder.add(|| target.event(storage.now_ns(), kind));
        }
        if let Ok(buffer) = bytes
            && is_right
            && let Some(left) = self.flights.prefetch.memory_left.checked_sub(len)
        {
            self.flights.prefetch.memory_left = left;
            if let Err(bug) = self.blocks.keep_ahead(target.slot, target.cover.start(), buffer) {
                self.end_prefetch(bug);
            }
        }
    }
}
