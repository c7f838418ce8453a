//! Reads under way of a mount: those of its streams, of prefetching, and jobs of its embedder.
//!
//! Always: what a read brought is offered to the layer once, at once, whether or not its reader still
//! wants it; every wait ends; at most [`FOREIGN_MAX`] ended jobs wait for the embedder.

use super::pool::{Arrival, Landing, Pool, Target};
use super::prefetch::Prefetch;
use crate::cache::{Layer, Verdict};
use crate::error::Error;
use crate::num::{OrBug, narrow};
use crate::read::inner::Inner;
use crate::read::io::{Extent, Source};
use crate::storage::{Buffer, Ended, IoError, IoErrorKind, Storage, Tag, Wait};
use crate::trace;
use crate::units::{BLOCK, count};
use alloc::collections::VecDeque;

/// Ended jobs of an embedder that wait for it at most.
const FOREIGN_MAX: usize = 64;

/// The reads under way.
#[derive(Debug)]
pub struct Flights {
    pub(super) pool: Pool,
    /// Ended jobs of an embedder, until it asks for them.
    foreign: VecDeque<Ended>,
    /// What an earlier boot read.
    pub(super) prefetch: Prefetch,
}

impl Flights {
    /// Returns no reads, and a pool for `bytes` bytes of buffers.
    pub fn new(bytes: usize) -> Self {
        Self { pool: Pool::new(bytes), foreign: VecDeque::new(), prefetch: Prefetch::default() }
    }

    /// Returns the bytes that may still be allocated.
    pub fn reserve_bytes(&self) -> usize {
        self.pool.reserve_bytes()
    }
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Waits for a read under way, and returns what it brought. One that takes longer than the
    /// storage says is given up.
    pub(super) fn wait_for(&mut self, flight: Tag) -> Result<Buffer, IoErrorKind> {
        let mut wait = Wait::for_job(&self.io.storage);
        loop {
            if let Some(landed) = self.flights.pool.landed(flight) {
                return landed;
            }
            if !self.wait_on(&mut wait) {
                self.flights.pool.give_up(flight);
            }
        }
    }

    /// Moves background work on, in a loop that has nothing else to do. Returns whether there is
    /// time for more.
    fn wait_on(&mut self, wait: &mut Wait) -> bool {
        let ended = self.poll();
        wait.rest(&mut self.io.storage, ended);
        wait.lasts(&self.io.storage)
    }

    /// Moves background work on; false if no job has ended.
    pub(super) fn poll(&mut self) -> bool {
        let Some(ended) = self.io.layer.poll(&mut self.io.storage) else { return false };
        match self.flights.pool.land(ended) {
            Arrival::Landed(landing) => self.landed(landing),
            Arrival::Late => self.drop_stray(),
            Arrival::Other(ended) if ended.0.tag.number().is_some() => {
                if self.flights.foreign.len() < FOREIGN_MAX {
                    self.flights.foreign.push_back(ended);
                } else {
                    self.drop_stray();
                }
            }
            Arrival::Other(_) => self.drop_stray(),
        }
        true
    }

    /// Keeps what a read brought for all who want it, at once, whether or not its reader still
    /// does.
    fn landed(&mut self, Landing { target, bytes, wanted }: Landing) {
        if let Ok(buffer) = &bytes
            && target.ticket.is_none()
        {
            self.offer(&target, buffer);
        }
        if target.prefetch {
            self.prefetched(&target, &bytes);
        }
        if !wanted && let Ok(buffer) = bytes {
            self.flights.pool.give(buffer);
        }
    }

    /// Counts a job that came back and that nobody here waits for.
    fn drop_stray(&mut self) {
        if self.io.stats.stray_jobs == 0 {
            trace::warn!("background: dropped a job that came back twice, too late or unasked for");
        }
        count(&mut self.io.stats.stray_jobs, 1);
    }

    /// Moves background work on, and takes an ended job that an embedder had started.
    pub fn poll_foreign(&mut self) -> Option<Ended> {
        // Ends: each round takes a job that has ended.
        while self.flights.foreign.is_empty() && self.poll() {}
        self.flights.foreign.pop_front()
    }

    /// Waits for what is on its way from a source already, where the layer will have it then. What
    /// takes too long is given up: then whoever waits reads it.
    pub fn join(&mut self, extents: &[Extent]) {
        for extent in extents {
            let Extent::Blob { slot, range } = *extent else { continue };
            let kept = |source: &Source| source.blob.is_some();
            // Most reads overlap none, and need no look at the clock.
            if !self.io.source(slot).is_some_and(kept) || !self.flights.pool.overlaps(slot, range) {
                continue;
            }
            let mut wait = Wait::for_job(&self.io.storage);
            while self.flights.pool.overlaps(slot, range) {
                if !self.wait_on(&mut wait) {
                    self.flights.pool.give_up_overlaps(slot, range);
                }
            }
        }
    }

    /// Counts what came from a source, and offers it to the layer.
    fn offer(&mut self, target: &Target, buffer: &Buffer) {
        self.io.stats.fetched(1, buffer.len());
        let source = self.io.source(target.slot);
        if let Some(blob) = source.and_then(|source| source.blob) {
            let lend = self.flights.pool.can_lend();
            self.io.layer.fill_from(blob, BLOCK.whole(target.cover.start()), buffer, lend);
        }
    }

    /// Judges what a read brought. Returns `None` if the region could not serve it, so that its
    /// source has to.
    pub(super) fn judge(
        &mut self,
        target: &Target,
        landed: Result<Buffer, IoErrorKind>,
    ) -> Result<Option<Buffer>, Error> {
        let Some(ticket) = target.ticket else {
            let source = self.io.source(target.slot).or_bug()?;
            let ((device, at), len) =
                (source.at(target.cover.start())?, narrow(target.cover.len())?);
            return landed.map(Some).map_err(|kind| IoError { device, at, len, kind }.into());
        };
        let read = landed.as_deref().map_err(|kind| *kind);
        let verdict = self.io.layer.settle(ticket, read);
        match landed {
            Ok(buffer) if verdict == Verdict::Right => {
                self.io.stats.hit(buffer.len());
                Ok(Some(buffer))
            }
            landed => {
                landed.into_iter().for_each(|buffer| self.flights.pool.give(buffer));
                Ok(None)
            }
        }
    }
}
