//! The pool of buffers that streams read ahead into, with their reads under way.
//!
//! Always: bounded. A buffer is given out only while nobody else has a handle on it, so bytes that
//! the region still writes from a buffer do not change. The bytes of a read are given out only if
//! they came with the job that started the read, and in full.

use crate::cache::Ticket;
use crate::num::wide;
use crate::read::io::place_of;
use crate::storage::events::{Cause, Departure, Event, Kind};
use crate::storage::{Buffer, Ended, IoErrorKind, Patience, Tag, UnderWay};
use crate::units::{ByteRange, DeviceSlot};
use alloc::vec::Vec;

const BUFFER_BYTES: usize = 256 << 10;
const SMALL_BUFFER_BYTES: usize = 64 << 10;
/// The most buffers, and the most reads under way.
pub const BUFFERS_MAX: usize = 32;

/// The bytes that a read under way brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The device slot.
    pub slot: DeviceSlot,
    /// The bytes of the slot.
    pub cover: ByteRange,
    /// Whether the slot's source is read, and not the region.
    pub source: bool,
    /// Why the bytes are read. Those of a prefetch go to the blocks in memory.
    pub cause: Cause,
    /// The start of the read, and the inode that it is for.
    pub departure: Departure,
}

impl Target {
    /// Returns the event of the read, which ended at `end_ns`.
    pub fn event(&self, end_ns: u64, kind: Kind) -> Event {
        self.departure.event(end_ns, (kind, self.cause), place_of(self.slot, self.cover))
    }
}

/// A read that has ended.
#[derive(Debug)]
pub struct Landing {
    pub target: Target,
    /// A handle on its buffer: the only handle if nobody waits for the read.
    pub bytes: Result<Buffer, IoErrorKind>,
    pub waits: Waits,
}

/// Who waits for a read.
#[derive(Debug)]
pub enum Waits {
    /// A reader does. What the region has to bring is in the reader's ticket.
    Reader,
    /// Nobody does. The ticket of a read of the region was left with it.
    Nobody(Option<Ticket>),
}

/// The pool's view of an ended job.
#[derive(Debug)]
pub enum Arrival {
    /// A read of the pool has ended.
    Landed(Landing),
    /// A read that was given up earlier has ended. Its buffer is back in the pool.
    Late,
    /// The job is not a read of the pool.
    Other(Ended),
}

#[derive(Debug)]
enum Flight {
    Flying(Target),
    /// A read that nobody waits for.
    Orphan(Target, Option<Ticket>),
    /// A read that took too long. Its device may still write to its buffer.
    Overdue,
    Landed(Landed),
}

/// What a read brought.
#[derive(Clone, Debug)]
pub struct Landed {
    pub bytes: Result<Buffer, IoErrorKind>,
    /// When it was noticed, where that is recorded.
    pub at_ns: u64,
}

/// The buffers and reads under way of a mount's streams.
#[derive(Debug)]
pub struct Pool {
    /// Buffers that are neither under way nor with a reader; the region may still write from some.
    idle: Vec<Buffer>,
    flights: UnderWay<Flight>,
    /// The reads that may be under way, and how long each may still take: from the first look on.
    watched: Vec<(Tag, Option<Patience>)>,
    made: usize,
    max: usize,
    buffer_bytes: usize,
}

impl Pool {
    /// Returns an empty pool for at most `bytes` bytes of buffers.
    pub fn new(bytes: usize) -> Self {
        let (buffer_bytes, max) = match bytes / BUFFER_BYTES {
            large @ 8.. => (BUFFER_BYTES, large),
            _ => (SMALL_BUFFER_BYTES, bytes / SMALL_BUFFER_BYTES),
        };
        let max = max.min(BUFFERS_MAX);
        let (flights, watched) = (UnderWay::with_capacity(max), Vec::new());
        Self { idle: Vec::new(), flights, watched, made: 0, max, buffer_bytes }
    }

    /// Returns the length of one buffer in bytes.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Returns the most bytes that one stream reads ahead: half the buffers. The other half is with
    /// readers or being written to the region.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 16 buffers of 256 KiB")]
    pub fn window_bytes(&self) -> u64 {
        wide(self.max.div_ceil(2) * self.buffer_bytes)
    }

    /// Returns the bytes that the pool may still allocate.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 32 buffers of 256 KiB")]
    pub fn reserve_bytes(&self) -> usize {
        // Each buffer is aligned within an allocation that is 8 KiB longer.
        (self.max - self.made) * (self.buffer_bytes + (8 << 10))
    }

    /// Returns a buffer at its full length that nobody else has a handle on.
    #[expect(clippy::arithmetic_side_effects, reason = "fewer than `max` were made")]
    pub fn take(&mut self) -> Option<Buffer> {
        // The buffer used last is the likeliest to be in the processor's caches.
        if let Some(at) = self.idle.iter_mut().rposition(|buffer| buffer.get_mut().is_some()) {
            return Some(self.idle.swap_remove(at));
        }
        if self.made == self.max {
            return None;
        }
        if self.made == 0 {
            self.idle.reserve(self.max);
        }
        self.made += 1;
        Some(Buffer::new(self.buffer_bytes))
    }

    /// Takes back a buffer that [`Pool::take`] returned.
    ///
    /// # Panics
    /// If the buffer is shorter than those of the pool.
    pub fn give(&mut self, mut buffer: Buffer) {
        assert!(buffer.set_len(self.buffer_bytes), "{buffer:?} is not one of the pool's");
        self.idle.push(buffer);
    }

    /// Parts with a buffer that [`Pool::take`] returned: another one takes its place.
    #[expect(clippy::arithmetic_side_effects, reason = "the buffer was made")]
    pub fn part_with(&mut self) {
        self.made -= 1;
    }

    /// Returns whether the region may keep a handle on another buffer: it may keep half of them.
    pub fn can_lend(&mut self) -> bool {
        let lent =
            self.idle.iter_mut().filter_map(|buffer| buffer.get_mut().is_none().then_some(()));
        lent.count() < self.max / 2
    }

    /// Registers a read, and returns the tag for its job; `None` if too many are under way.
    pub fn depart(&mut self, target: Target) -> Option<Tag> {
        if self.flights.iter().count() >= self.max {
            return None;
        }
        let tag = self.flights.depart(Flight::Flying(target))?;
        if self.watched.len() >= self.max {
            // At most `max` reads are under way.
            self.watched.retain(|(tag, _)| self.flights.get_mut(*tag).is_some());
        }
        self.watched.push((tag, None));
        Some(tag)
    }

    /// Removes a read that did not start, and takes its buffer back.
    pub fn cancel(&mut self, tag: Tag, buffer: Option<Buffer>) {
        self.flights.end(tag);
        self.take_back(buffer);
    }

    /// Takes a job that ended at `at_ns`, and returns the pool's view of the job.
    pub fn land(&mut self, (job, result): Ended, at_ns: u64) -> Arrival {
        let (target, waits) = match self.flights.get_mut(job.tag) {
            Some(Flight::Flying(target)) => (*target, Waits::Reader),
            Some(Flight::Orphan(target, ticket)) => (*target, Waits::Nobody(ticket.take())),
            Some(Flight::Overdue) => {
                self.cancel(job.tag, job.buffer);
                return Arrival::Late;
            }
            Some(Flight::Landed(_)) | None => return Arrival::Other((job, result)),
        };
        let bytes = match (result, self.own(job.buffer)) {
            (Ok(()), Some(buffer)) if wide(buffer.len()) == target.cover.len() => Ok(buffer),
            (result, buffer) => {
                self.take_back(buffer);
                Err(result.err().unwrap_or(IoErrorKind::Protocol))
            }
        };
        match (&waits, self.flights.get_mut(job.tag)) {
            (Waits::Reader, Some(flight)) => {
                *flight = Flight::Landed(Landed { bytes: bytes.clone(), at_ns });
            }
            _ => drop(self.flights.end(job.tag)),
        }
        Arrival::Landed(Landing { target, bytes, waits })
    }

    /// Takes the buffer of a job back. A buffer that its device keeps for good is not replaced: its
    /// memory is still in use, and the budget has no more.
    fn take_back(&mut self, buffer: Option<Buffer>) {
        if let Some(buffer) = self.own(buffer) {
            self.give(buffer);
        }
    }

    /// Returns the buffer that came with a job, unless it is shorter than those of the pool: then
    /// the device has kept the pool's.
    fn own(&self, buffer: Option<Buffer>) -> Option<Buffer> {
        buffer.filter(|buffer| buffer.len_max() >= self.buffer_bytes)
    }

    /// Takes the result of a read; `None` if it is still under way. The result of a read that was
    /// given up is a timeout.
    pub fn landed(&mut self, tag: Tag) -> Option<Landed> {
        match self.flights.get_mut(tag) {
            Some(Flight::Flying(_) | Flight::Orphan(..)) => None,
            Some(Flight::Overdue) | None => {
                Some(Landed { bytes: Err(IoErrorKind::Timeout), at_ns: 0 })
            }
            Some(Flight::Landed(landed)) => {
                let landed = landed.clone();
                self.flights.end(tag);
                Some(landed)
            }
        }
    }

    /// Records that nobody waits for this read any more.
    pub fn abandon(&mut self, tag: Tag, ticket: Option<Ticket>) {
        let Some(flight) = self.flights.get_mut(tag) else { return };
        if let Flight::Flying(target) = *flight {
            *flight = Flight::Orphan(target, ticket);
        } else if let Flight::Landed(_) = flight
            && let Some(Flight::Landed(Landed { bytes: Ok(buffer), .. })) = self.flights.end(tag)
        {
            self.give(buffer);
        }
    }

    /// Gives up a read that took too long: its bytes will not be used.
    pub fn give_up(&mut self, tag: Tag) {
        if let Some(flight @ (Flight::Flying(_) | Flight::Orphan(..))) = self.flights.get_mut(tag) {
            *flight = Flight::Overdue;
        }
    }

    /// Gives up the reads that have been under way for more than `patience_ns` of the looks so far, this
    /// one at `now_ns` included. Returns whether there were any.
    pub fn give_up_late(&mut self, now_ns: u64, patience_ns: u64) -> bool {
        let mut is_any = false;
        self.watched.retain_mut(|(tag, patience)| {
            let flight = self.flights.get_mut(*tag);
            let Some(flight @ (Flight::Flying(_) | Flight::Orphan(..))) = flight else {
                return false;
            };
            let patience = patience.get_or_insert_with(|| Patience::new(now_ns, patience_ns));
            let lasts = patience.lasts(now_ns);
            if !lasts {
                *flight = Flight::Overdue;
                is_any = true;
            }
            lasts
        });
        is_any
    }

    /// Gives up every source read under way that overlaps the bytes `range` of a device slot.
    pub fn give_up_overlaps(&mut self, slot: DeviceSlot, range: ByteRange) {
        for flight in self.flights.iter_mut() {
            if flight.overlaps(slot, range) {
                *flight = Flight::Overdue;
            }
        }
    }

    /// Returns the number of prefetches under way.
    pub fn prefetching(&self) -> usize {
        let ahead = |flight: &&Flight| matches!(flight, Flight::Orphan(target, _) if target.cause == Cause::Prefetch);
        self.flights.iter().filter(ahead).count()
    }

    /// Returns whether a buffer can be had.
    pub fn has_idle(&mut self) -> bool {
        self.made < self.max || self.idle.iter_mut().any(|buffer| buffer.get_mut().is_some())
    }

    /// Returns whether a read is under way that may bring its buffer back.
    pub fn is_flying(&self) -> bool {
        let is_flying = |flight: &Flight| matches!(flight, Flight::Flying(_) | Flight::Orphan(..));
        self.flights.iter().any(is_flying)
    }

    /// Returns whether a source read under way overlaps the bytes `range` of a device slot.
    pub fn overlaps(&self, slot: DeviceSlot, range: ByteRange) -> bool {
        self.flights.iter().any(|flight| flight.overlaps(slot, range))
    }
}

impl Flight {
    fn overlaps(&self, slot: DeviceSlot, range: ByteRange) -> bool {
        match self {
            Self::Flying(other) | Self::Orphan(other, _) => {
                other.source && other.slot == slot && other.cover.overlaps(range)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, clippy::unwrap_used, reason = "a test that panics has failed")]
    use super::*;
    use crate::storage::{DeviceId, Job, JobKind};

    const BUFFERS: usize = 8;

    fn pool() -> Pool {
        Pool::new(BUFFERS * SMALL_BUFFER_BYTES)
    }

    fn bytes(start: u64, len: u64) -> ByteRange {
        ByteRange::sized(start, len).unwrap()
    }

    fn target(start: u64) -> Target {
        Target {
            slot: DeviceSlot::new(1),
            cover: bytes(start, 4096),
            source: true,
            cause: Cause::Ahead,
            departure: Departure::default(),
        }
    }

    /// Starts a read and returns its job.
    fn start(pool: &mut Pool, start: u64) -> Job {
        let Some(mut buffer) = pool.take() else { panic!("no buffer") };
        assert!(buffer.set_len(4096));
        let Some(tag) = pool.depart(target(start)) else { panic!("no place") };
        let (device, buffer) = (DeviceId(0), Some(buffer));
        Job { tag, device, at: start, kind: JobKind::Read, buffer }
    }

    /// Takes all buffers that can be had, and gives them back; how many.
    fn free(pool: &mut Pool) -> usize {
        let taken: Vec<Buffer> = core::iter::from_fn(|| pool.take()).collect();
        assert!(taken.iter().all(|buffer| buffer.len() == SMALL_BUFFER_BYTES));
        let free = taken.len();
        taken.into_iter().for_each(|buffer| pool.give(buffer));
        free
    }

    #[test]
    fn read_that_comes_back_without_its_buffer_or_with_another_has_failed() {
        for len in [None, Some(0), Some(4095), Some(4096), Some(8192), Some(SMALL_BUFFER_BYTES)] {
            let mut pool = pool();
            let job = start(&mut pool, 0);
            let tag = job.tag;
            let landed = pool.land((Job { buffer: len.map(Buffer::new), ..job }, Ok(())), 0);
            assert!(matches!(landed, Arrival::Landed(Landing { waits: Waits::Reader, .. })));
            let bytes = pool.landed(tag).map(|landed| landed.bytes.map(|_| ()));
            assert_eq!(bytes, Some(Err(IoErrorKind::Protocol)));
            // One that did not come back is its device's; one as long stands in for it.
            let is_back = len == Some(SMALL_BUFFER_BYTES);
            assert_eq!(free(&mut pool), BUFFERS - usize::from(!is_back), "{len:?}");
        }
    }

    #[test]
    fn read_that_was_given_up_brings_nothing_and_its_buffer_comes_back_with_it() {
        let mut pool = pool();
        let job = start(&mut pool, 0);
        let tag = job.tag;
        assert!(pool.landed(tag).is_none() && pool.overlaps(DeviceSlot::new(1), bytes(4000, 4096)));
        pool.give_up(tag);
        let timeout = |landed: Option<Landed>| {
            let bytes = landed.map(|landed| landed.bytes.map(|_| ()));
            assert_eq!(bytes, Some(Err(IoErrorKind::Timeout)));
        };
        timeout(pool.landed(tag));
        assert!(!pool.overlaps(DeviceSlot::new(1), bytes(4000, 4096)), "nobody waits for it");
        assert_eq!(free(&mut pool), BUFFERS - 1, "it is lent still");
        assert!(matches!(pool.land((job, Ok(())), 0), Arrival::Late));
        timeout(pool.landed(tag));
        assert_eq!(free(&mut pool), BUFFERS);
    }

    #[test]
    fn readers_give_up_what_overlaps_and_nothing_else() {
        let mut pool = pool();
        let tags = [0, 4096, 8192].map(|at| start(&mut pool, at).tag);
        pool.give_up_overlaps(DeviceSlot::new(1), bytes(4096, 4096));
        let over = tags.map(|tag| pool.landed(tag).is_some());
        assert_eq!(over, [false, true, false]);
        pool.give_up_overlaps(DeviceSlot::new(2), bytes(0, 1 << 20));
        assert!(pool.landed(tags[0]).is_none(), "another slot");
    }

    #[test]
    fn read_that_nobody_waits_for_any_more_is_offered_all_the_same() {
        let mut pool = pool();
        let job = start(&mut pool, 0);
        pool.abandon(job.tag, None);
        let Arrival::Landed(Landing { bytes: Ok(buffer), waits: Waits::Nobody(None), .. }) =
            pool.land((job, Ok(())), 0)
        else {
            panic!("it was under way")
        };
        pool.give(buffer);
        assert_eq!(free(&mut pool), BUFFERS);
    }
}
