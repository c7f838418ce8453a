//! The background jobs of a mount: reads of its streams and of prefetching, and ended jobs of its
//! embedder.
//!
//! Always: the bytes of a source read are offered to the layer exactly once, as it ends, whether or
//! not a reader still wants them; every wait ends; at most [`FOREIGN_MAX`] ended jobs wait for the
//! embedder.

use super::pool::{Arrival, Landed, Landing, Pool, Target, Waits};
use super::prefetch::Prefetch;
use crate::cache::{Layer, Ticket, Verdict};
use crate::error::Error;
use crate::num::{OrBug, narrow};
use crate::read::guard::Guard;
use crate::read::io::{Extent, Source};
use crate::storage::events::{Cause, Kind};
use crate::storage::{Buffer, Ended, IoError, IoErrorKind, Storage, Tag, Vouch, Wait};
use crate::trace;
use crate::units::{BLOCK, ByteRange, DeviceSlot, count};
use alloc::collections::VecDeque;

/// The most ended jobs that wait for the embedder.
const FOREIGN_MAX: usize = 64;

/// The background jobs of a mount.
#[derive(Debug)]
pub struct Flights {
    pub pool: Pool,
    /// Ended jobs of the embedder, until it asks for them.
    foreign: VecDeque<Ended>,
    /// The blocks that an earlier boot read, still to be prefetched.
    pub(super) prefetch: Prefetch,
}

impl Flights {
    /// Returns the state without jobs, with a pool for `bytes` bytes of buffers. Allocates all but
    /// the buffers.
    pub fn new(bytes: usize) -> Self {
        let foreign = VecDeque::with_capacity(FOREIGN_MAX);
        Self { pool: Pool::new(bytes), foreign, prefetch: Prefetch::default() }
    }

    /// Returns the bytes that may still be allocated.
    pub fn reserve_bytes(&self) -> usize {
        self.pool.reserve_bytes()
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Waits for a read under way, and returns its buffer, with the time of its end. Gives the read
    /// up, with a timeout, if it takes longer than the storage says.
    pub(super) fn wait_for(&mut self, flight: Tag) -> Landed {
        let mut wait = Wait::for_job(self.storage);
        loop {
            if let Some(landed) = self.flights.pool.landed(flight) {
                return landed;
            }
            if !self.wait_on(&mut wait) {
                self.flights.pool.give_up(flight);
            }
        }
    }

    /// Advances background work, in a loop that only waits, and lets go of the lock for a moment.
    /// Returns false when the time is up.
    fn wait_on(&mut self, wait: &mut Wait) -> bool {
        let ended = self.poll();
        self.released(|storage| {
            wait.rest(storage, ended);
            wait.lasts(storage)
        })
    }

    /// Advances background work, and handles at most one ended job. Returns false if none has
    /// ended.
    pub fn poll(&mut self) -> bool {
        let Some(ended) = self.ended() else { return false };
        let now_ns = self.io.recorder.now_ns(self.storage);
        match self.flights.pool.land(ended, now_ns) {
            Arrival::Landed(landing) => {
                let Target { slot, cover, .. } = landing.target;
                if self.io.recorder.is_on() {
                    self.record_landing(&landing, now_ns);
                }
                self.landed(landing);
                self.tasks.landed(slot, cover);
            }
            Arrival::Late => {
                self.drop_stray();
                self.tasks.move_line();
            }
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

    /// Returns a job that has ended. Lets go of the lock while the bytes of one are checked.
    fn ended(&mut self) -> Option<Ended> {
        let storage = self.storage;
        let ended = self.io.layer.poll(storage);
        if ended.is_some() || !self.shared.is_pinned || !storage.has_work() {
            return ended;
        }
        self.released(Storage::work);
        self.io.layer.poll(storage)
    }

    /// Handles a read that has ended: offers its bytes to the layer, keeps them if they were
    /// prefetched, and gives the buffer back if no reader wants it.
    fn landed(&mut self, Landing { target, bytes, waits }: Landing) {
        if let Ok(buffer) = &bytes
            && target.source
        {
            self.offer(&target, buffer);
        }
        let Waits::Nobody(ticket) = waits else { return };
        if target.cause == Cause::Prefetch {
            self.prefetched(&target, ticket, &bytes);
        }
        if let Ok(buffer) = bytes {
            self.flights.pool.give(buffer);
        }
    }

    /// Records a read from a source. One from the region is recorded when it is judged.
    #[cold]
    fn record_landing(&self, landing: &Landing, now_ns: u64) {
        if landing.target.source {
            let kind = if landing.bytes.is_ok() { Kind::Fetch } else { Kind::Failed };
            self.io.recorder.add(|| landing.target.event(now_ns, kind));
        }
    }

    /// Counts a job that came back though nobody waits for it.
    fn drop_stray(&mut self) {
        if self.io.stats.stray_jobs == 0 {
            trace::warn!("background: dropped a job that came back twice, too late or unasked for");
        }
        count(&mut self.io.stats.stray_jobs, 1);
    }

    /// Advances background work, and returns an ended job that the embedder had started.
    pub fn poll_foreign(&mut self) -> Option<Ended> {
        // Ends, as each round takes a job that has ended.
        while self.flights.foreign.is_empty() && self.poll() {}
        self.flights.foreign.pop_front()
    }

    /// Waits for source reads under way that overlap `extents`, of streams and of other readers, where
    /// the layer keeps their bytes afterwards. Gives up reads that take too long: the caller then
    /// reads the bytes itself. Waits for no reader that began later, so that nobody waits for ever.
    pub fn join(&mut self, extents: &[Extent]) {
        let last = self.io.under_way.last();
        for extent in extents {
            let Extent::Blob { slot, range } = *extent else { continue };
            let kept = |source: &Source| source.blob.is_some();
            // Most extents overlap no read under way, and need no look at the clock.
            if !self.source(slot).is_some_and(kept) || !self.is_coming(slot, range, last) {
                continue;
            }
            let mut wait = Wait::for_job(self.storage);
            while self.is_coming(slot, range, last) {
                if !self.wait_on(&mut wait) {
                    self.flights.pool.give_up_overlaps(slot, range);
                    self.tasks.wake_all();
                    break;
                }
            }
        }
    }

    /// Returns whether a stream, or a demand read that began with batch `last` or earlier, brings some
    /// of the bytes `range` of a device slot.
    fn is_coming(&self, slot: DeviceSlot, range: ByteRange, last: u64) -> bool {
        self.flights.pool.overlaps(slot, range) || self.io.under_way.overlaps(slot, range, last)
    }

    /// Counts the bytes of a source read, and offers them to the layer.
    fn offer(&mut self, target: &Target, buffer: &Buffer) {
        self.io.stats.fetched(1, buffer.len());
        let source = self.source(target.slot);
        if let Some(blob) = source.and_then(|source| source.blob) {
            let lend = self.flights.pool.can_lend();
            self.io.layer.fill_from(blob, BLOCK.whole(target.cover.start()), buffer, lend);
        }
    }

    /// Settles a read of the region whose bytes the storage has judged, if the read succeeded. Bytes
    /// that the storage does not know are left where they are.
    pub(super) fn settle(
        &mut self,
        ticket: Ticket,
        read: Result<&[u8], IoErrorKind>,
        vouch: Vouch,
    ) -> Verdict {
        match (vouch, read) {
            (Vouch::Wrong, Ok(data)) if ticket.is_right(data) => {
                self.io.layer.settle(ticket, Err(IoErrorKind::Untrue))
            }
            (Vouch::Unknown, Ok(data)) if ticket.is_right(data) => Verdict::Stale,
            (_, read) => self.io.layer.settle(ticket, read),
        }
    }

    /// Settles a read that has ended, and returns its buffer. Returns `None` if the region could
    /// not serve the read, so that its source has to.
    pub fn judge(
        &mut self,
        target: &Target,
        ticket: Option<Ticket>,
        Landed { bytes: landed, at_ns }: Landed,
    ) -> Result<Option<Buffer>, Error> {
        let Some(ticket) = ticket else {
            let source = self.source(target.slot).or_bug()?;
            let ((device, at), len) =
                (source.at(target.cover.start())?, narrow(target.cover.len())?);
            return landed.map(Some).map_err(|kind| IoError::new(device, at, len, kind).into());
        };
        let read = landed.as_deref().map_err(|kind| *kind);
        let shared = self.shared;
        let judge = |data: &[u8]| {
            let vouch = || shared.vouch(target.slot, target.cover, data);
            ticket.is_right(data).then(vouch)
        };
        let vouch = match read {
            Ok(data) => self.released(|_| judge(data)),
            Err(_) => None,
        };
        let verdict = match vouch {
            Some(Vouch::Right) => Verdict::Right,
            Some(vouch) => self.settle(ticket, read, vouch),
            None => self.io.layer.settle(ticket, read),
        };
        let kind = if verdict == Verdict::Right { Kind::Hit } else { Kind::Refused };
        self.io.recorder.add(|| target.event(at_ns, kind));
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
