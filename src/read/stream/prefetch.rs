//! Prefetching what the start of an earlier boot read.
//!
//! Always: nothing here fails, and no read waits for more than [`FLIGHTS`] requests of it; what
//! the region holds is checked as for any reader before it is kept in memory.

use super::ahead::Kind;
use super::pool::Target;
use crate::cache::{BootRun, Layer, Residence, Why};
use crate::read::inner::Inner;
use crate::read::pieces::BLOCK;
use crate::storage::{Buffer, IoErrorKind, Storage};
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
        let mut runs = self.layer.boot_trace(&mut self.storage);
        runs.reverse();
        let memory_left = self.blocks.bytes() / 2;
        self.prefetch = Prefetch { is_on: true, runs, memory_left, source_left: SOURCE_BYTES_MAX };
        self.go_on_prefetching();
    }

    /// Takes what has come, and starts what there is room for, until all of it is brought.
    pub fn go_on_prefetching(&mut self) {
        if !self.prefetch.is_on {
            return;
        }
        while self.poll() {}
        while self.pool.prefetching() < FLIGHTS && !self.layer.pressed() {
            let Some(run) = self.prefetch.runs.pop() else {
                if self.pool.prefetching() == 0 {
                    self.prefetch.is_on = false;
                }
                break;
            };
            match self.prefetch_run(run) {
                Some(rest) if rest.blocks == run.blocks => {
                    // No buffer is free, or the device is busy with others.
                    self.prefetch.runs.push(rest);
                    break;
                }
                Some(rest) if rest.blocks > 0 => self.prefetch.runs.push(rest),
                _ => {}
            }
        }
        // The devices hear of it.
        self.poll();
    }

    /// Starts one read of a run. Returns what is left of it; `None` for one that leads nowhere.
    fn prefetch_run(&mut self, run: BootRun) -> Option<BootRun> {
        let blob = Some(run.blob);
        let slot = self.sources.iter().position(|source| source.blob == blob)?;
        let source = self.sources.get(slot).copied()?;
        let slot = u16::try_from(slot).ok()?;
        let at = run.first.checked_mul(BLOCK)?;
        // No more than one request takes: what the layer reads for it, a reader waits for, and a
        // run is as long as the region says.
        let most = u64::try_from(self.pool.buffer_bytes()).unwrap_or(u64::MAX);
        let left = u64::from(run.blocks).saturating_mul(BLOCK).min(most);
        let left = Some(left.min(source.bytes.checked_sub(at)?)).filter(|left| *left > 0)?;
        let end = run.first.checked_add(left.div_ceil(BLOCK))?;
        self.layer.prepare(&mut self.storage, run.blob, run.first..end, Why::Prefetch);
        let (residence, blocks) = self.layer.locate(run.blob, run.first);
        let here = u64::try_from(blocks).unwrap_or(u64::MAX).saturating_mul(BLOCK).min(left);
        let wanted = match residence {
            Residence::Absent => self.prefetch.source_left >= here,
            Residence::Resident { .. } => self.prefetch.memory_left >= here,
            Residence::Staged { .. } => false,
        };
        let done = if wanted {
            match self.start_piece(&source, slot, at, left, true) {
                Some((len, Kind::Flying { flight, .. })) => {
                    self.pool.abandon(flight);
                    if residence == Residence::Absent {
                        let left = self.prefetch.source_left.saturating_sub(len);
                        self.prefetch.source_left = left;
                    }
                    len
                }
                Some((len, _)) => len,
                None => 0,
            }
        } else {
            here
        };
        let done = done.div_ceil(BLOCK).min(u64::from(run.blocks));
        let blocks = run.blocks.saturating_sub(u16::try_from(done).unwrap_or(run.blocks));
        Some(BootRun { blob: run.blob, first: run.first.saturating_add(done), blocks })
    }

    /// Keeps what a read brought in memory, if it is right.
    pub(super) fn prefetched(&mut self, target: &Target, bytes: &Result<Buffer, IoErrorKind>) {
        let Target { slot, start, len, ticket, .. } = *target;
        let len = u64::try_from(len).unwrap_or(0);
        self.stats.prefetched_bytes = self.stats.prefetched_bytes.saturating_add(len);
        let landed = bytes.as_deref().map_err(|kind| *kind);
        let right = ticket.is_none_or(|ticket| self.is_right(&ticket, landed));
        if let Ok(buffer) = bytes
            && right
            && let Some(left) = self.prefetch.memory_left.checked_sub(len)
        {
            self.prefetch.memory_left = left;
            let _ = self.blocks.keep_ahead(slot, start, buffer);
        }
    }
}
