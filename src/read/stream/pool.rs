//! The buffers that streams read ahead into, and their reads under way.
//!
//! Always: bounded; a buffer is given out only while nobody else has a handle on it, so what the
//! region still writes from it stays as it is.

use crate::cache::Ended;
use crate::read::pieces::Origin;
use crate::storage::{Buffer, IoErrorKind, Owner};
use alloc::vec::Vec;

const BUFFER_BYTES: usize = 256 << 10;
const SMALL_BUFFER_BYTES: usize = 64 << 10;
/// Buffers at most; as many reads can be under way.
pub const BUFFERS_MAX: usize = 32;
/// What the tags of these jobs have in their upper half.
const KIND: u64 = 0x100;

/// What a read under way fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The device slot.
    pub slot: u16,
    /// First byte in it.
    pub start: u64,
    /// Bytes.
    pub len: usize,
    /// Whether it comes from the slot's source or from the region.
    pub origin: Origin,
    /// Whether it is for the blocks in memory, too.
    pub prefetch: bool,
}

/// A read that has ended.
#[derive(Debug)]
pub struct Landing {
    pub target: Target,
    /// Another handle on its buffer, or the only one if nobody waits for it.
    pub buffer: Buffer,
    pub result: Result<(), IoErrorKind>,
    /// Whether somebody waits for it.
    pub wanted: bool,
}

#[derive(Debug)]
enum Flight {
    Free,
    Flying(Target),
    /// Nobody waits for it any more.
    Orphan(Target),
    Landed(Buffer, Result<(), IoErrorKind>),
}

/// The buffers of a mount's streams.
#[derive(Debug)]
pub struct Pool {
    /// Not under way and not with a reader; the region may still write from some.
    idle: Vec<Buffer>,
    flights: Vec<Flight>,
    owner: Owner,
    generation: u32,
    made: usize,
    max: usize,
    buffer_bytes: usize,
}

impl Pool {
    /// No buffer yet; at most `bytes` of them.
    pub fn new(bytes: usize) -> Self {
        let large = bytes >= 8 * BUFFER_BYTES;
        let buffer_bytes = if large { BUFFER_BYTES } else { SMALL_BUFFER_BYTES };
        let max = bytes.checked_div(buffer_bytes).unwrap_or(0).min(BUFFERS_MAX);
        Self {
            idle: Vec::new(),
            flights: Vec::new(),
            owner: Owner::new(),
            generation: 0,
            made: 0,
            max,
            buffer_bytes,
        }
    }

    /// Bytes of one buffer.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// Bytes that one stream may have under way: half of all, the rest being with its reader or
    /// on the way to the region.
    pub fn window_bytes(&self) -> u64 {
        let bytes = self.max.div_ceil(2).saturating_mul(self.buffer_bytes);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Bytes that may still be allocated.
    pub fn reserve_bytes(&self) -> usize {
        let left = self.max.saturating_sub(self.made);
        // A buffer is aligned within what it takes.
        left.saturating_mul(self.buffer_bytes.saturating_add(8 << 10))
    }

    /// A buffer that nobody else sees, at its full length.
    pub fn take(&mut self) -> Option<Buffer> {
        // The one used last is the likeliest to be in the processor's caches.
        if let Some(at) = self.idle.iter_mut().rposition(|buffer| buffer.get_mut().is_some()) {
            let mut buffer = self.idle.swap_remove(at);
            return buffer.set_len(self.buffer_bytes).then_some(buffer);
        }
        if self.made == self.max {
            return None;
        }
        if self.made == 0 {
            self.idle.reserve(self.max);
            self.flights.resize_with(self.max, || Flight::Free);
        }
        self.made = self.made.saturating_add(1);
        Some(Buffer::new(self.buffer_bytes))
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: Buffer) {
        if self.idle.len() < self.max {
            self.idle.push(buffer);
        }
    }

    /// Whether the region may keep a handle on one more buffer: not on more than half of them.
    pub fn can_lend(&mut self) -> bool {
        let lent =
            self.idle.iter_mut().filter_map(|buffer| buffer.get_mut().is_none().then_some(()));
        lent.count() < self.max / 2
    }

    /// A place for a read, and the tag of its job.
    pub fn depart(&mut self, target: Target) -> Option<(usize, u64)> {
        let index = self.flights.iter().position(|flight| matches!(flight, Flight::Free))?;
        *self.flights.get_mut(index)? = Flight::Flying(target);
        self.generation = self.generation.wrapping_add(1) & 0xff_ffff;
        let low = (u64::from(self.generation) << 8) | u64::try_from(index).ok()?;
        Some((index, self.owner.tag((KIND << 32) | low)))
    }

    /// A read did not start.
    pub fn cancel(&mut self, index: usize) {
        if let Some(flight) = self.flights.get_mut(index) {
            *flight = Flight::Free;
        }
    }

    /// A job ended that is not the region's.
    pub fn land(&mut self, (job, result): Ended) -> Option<Landing> {
        let bits = self.owner.bits(job.tag).filter(|bits| bits >> 32 == KIND)?;
        let index = usize::try_from(bits & 0xff).unwrap_or(usize::MAX);
        let buffer = job.buffer?;
        let flight = self.flights.get_mut(index)?;
        let (target, wanted) = match flight {
            Flight::Flying(target) => (*target, true),
            Flight::Orphan(target) => (*target, false),
            _ => return None,
        };
        *flight = if wanted { Flight::Landed(buffer.clone(), result) } else { Flight::Free };
        Some(Landing { target, buffer, result, wanted })
    }

    /// What a read brought, if it has landed.
    pub fn landed(&mut self, index: usize) -> Option<(Buffer, Result<(), IoErrorKind>)> {
        let flight = self.flights.get_mut(index)?;
        if !matches!(flight, Flight::Landed(..)) {
            return None;
        }
        match core::mem::replace(flight, Flight::Free) {
            Flight::Landed(buffer, result) => Some((buffer, result)),
            _ => None,
        }
    }

    /// Nobody waits for this read any more.
    pub fn abandon(&mut self, index: usize) {
        let Some(flight) = self.flights.get_mut(index) else { return };
        match core::mem::replace(flight, Flight::Free) {
            Flight::Flying(target) => *flight = Flight::Orphan(target),
            Flight::Landed(buffer, _) => self.give(buffer),
            _ => {}
        }
    }

    /// Reads under way for which nobody waits but a later boot's reader.
    pub fn prefetching(&self) -> usize {
        let ahead = |flight: &&Flight| matches!(flight, Flight::Orphan(target) if target.prefetch);
        self.flights.iter().filter(ahead).count()
    }

    /// Whether a read of a source that is under way overlaps.
    pub fn overlaps(&self, slot: u16, start: u64, len: usize) -> bool {
        let end = |start: u64, len| start.saturating_add(u64::try_from(len).unwrap_or(u64::MAX));
        self.flights.iter().any(|flight| match flight {
            Flight::Flying(other) | Flight::Orphan(other) => {
                other.origin == Origin::Source
                    && other.slot == slot
                    && other.start < end(start, len)
                    && start < end(other.start, other.len)
            }
            _ => false,
        })
    }
}
