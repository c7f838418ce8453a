//! Prefetching what the start of an earlier boot read.
//!
//! Always: no fault fails a read here, and no read waits for more than [`FLIGHTS`] requests of it;
//! what the region holds is checked as for any reader before it is kept in memory.

use super::ahead::Kind;
use super::pool::Target;
use crate::cache::{BootRun, Layer, Residence, Verdict, Why};
use crate::num::{Bug, OrBug, wide};
use crate::read::inner::Inner;
use crate::read::io::Source;
use crate::storage::{Buffer, IoErrorKind, Storage};
use crate::trace;
use crate::units::{BLOCK, ByteRange, count};
use alloc::vec::Vec;

/// Requests under way at a time.
const FLIGHTS: usize = 2;
/// What is fetched from sources at most; as much as a region keeps for boots.
const SOURCE_BYTES_MAX: u64 = 256 << 20;

/// What is left to bring.
#[derive(Debug, Default)]
pub struct Prefetch {
    /// Whether there is more to bring, or some is on its way.
    is_on: bool,
    /// The next one last.
    runs: Vec<BootRun>,
    /// Bytes that may still go into the blocks in memory.
    memory_left: u64,
    /// Bytes that may still be fetched from sources.
    source_left: u64,
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Asks the layer what an earlier boot read, and begins with it.
    pub fn begin_prefetch(&mut self) {
        let mut runs = self.io.layer.boot_trace(&mut self.io.storage);
        runs.reverse();
        let memory_left = self.blocks.bytes() / 2;
        let source_left = SOURCE_BYTES_MAX;
        self.flights.prefetch = Prefetch { is_on: true, runs, memory_left, source_left };
        self.go_on_prefetching();
    }

    /// Takes what has come, and starts what there is room for, until all of it is brought.
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
        // The devices hear of it.
        self.poll();
    }

    /// Brings nothing more. Nobody waits for it, so the log has the reason.
    #[cold]
    fn end_prefetch(&mut self, bug: Bug) {
        trace::warn!("prefetch: {}", trace::Shown(&bug));
        self.flights.prefetch = Prefetch::default();
    }

    /// Starts one read of a run. Returns what is left of it; `None` for one that leads nowhere.
    fn prefetch_run(&mut self, run: BootRun) -> Result<Option<BootRun>, Bug> {
        let blob = Some(run.blob);
        let found = (0..).zip(self.io.sources()).find(|(_, source)| source.blob == blob);
        let Some((slot, source)) = found.map(|(slot, source)| (slot, *source)) else {
            return Ok(None);
        };
        // No more than one request takes: what the layer reads for it, a reader waits for, and a
        // run is as long as the region says.
        let most =
            wide(self.flights.pool.buffer_bytes()).min(u64::from(run.blocks) << BLOCK.bits());
        let start = BLOCK.times(run.first);
        let want = start.map(|at| ByteRange::first(source.bytes).skip(at).take(most));
        let Some(want) = want.and_then(ByteRange::non_empty) else { return Ok(None) };
        self.io.layer.prepare(&mut self.io.storage, run.blob, BLOCK.numbers(want), Why::Prefetch);
        let (residence, here) = source.locate(&self.io.layer, want)?;
        let is_wanted = match residence {
            Residence::Absent => self.flights.prefetch.source_left >= here.len(),
            Residence::Resident => self.flights.prefetch.memory_left >= here.len(),
            Residence::Staged => false,
        };
        let done = if is_wanted { self.prefetch_piece(&source, slot, want)? } else { here.len() };
        let done = u16::try_from(BLOCK.cover(done)).ok().or_bug()?;
        let blocks = run.blocks.checked_sub(done).or_bug()?;
        let first = run.first.checked_add(done.into()).or_bug()?;
        Ok(Some(BootRun { blob: run.blob, first, blocks }))
    }

    /// Starts a read of the front of `want`, and returns how many bytes of it need no other.
    fn prefetch_piece(&mut self, source: &Source, slot: u16, want: ByteRange) -> Result<u64, Bug> {
        let Some((len, kind)) = self.start_piece(source, slot, want, true)? else { return Ok(0) };
        if let Kind::Flying { flight, target, .. } = kind {
            self.flights.pool.abandon(flight);
            if target.ticket.is_none() {
                let left = self.flights.prefetch.source_left.checked_sub(len);
                self.flights.prefetch.source_left = left.or_bug()?;
            }
        }
        Ok(len)
    }

    /// Keeps what a read brought in memory, if it is right.
    pub(super) fn prefetched(&mut self, target: &Target, bytes: &Result<Buffer, IoErrorKind>) {
        let len = target.cover.len();
        count(&mut self.io.stats.prefetched_bytes, len);
        let read = bytes.as_deref().map_err(|kind| *kind);
        let is_right =
            target.ticket.is_none_or(|ticket| self.io.layer.settle(ticket, read) == Verdict::Right);
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
