//! The events of a mount: a bounded ring, for a picture of a boot.
//!
//! Always: nothing is recorded unless the mount asks for it; recording changes no read, allocates
//! nothing and never fails. A full ring drops its oldest event, and counts it.
//!
//! A ring of *n* events takes 64 *n* bytes, allocated when it is made. An event costs a look at the
//! clock and a copy of its bytes; a ring that is off costs a branch. Events stand in the order in
//! which they ended.
//!
//! | kind | range | sums equal |
//! |-|-|-|
//! | [`Kind::Read`] | of a file | `reads`, `asked_bytes` of `rootlet::read::Stats` |
//! | [`Kind::Use`] | of a slot | none: neighbours are merged |
//! | [`Kind::Fetch`] | of a slot | `fetches`, `fetched_bytes` |
//! | [`Kind::Hit`], but for [`Cause::Prefetch`] | of a slot | `hits`, `hit_bytes` |
//! | [`Kind::Join`] | of a slot | `joins` |
//! | any, with [`Cause::Prefetch`] | of a slot | `prefetched_bytes` |
//! | [`Kind::Write`] | of the region | `written_bytes` of `rootlet::cache::CacheStats` |
//! | [`Kind::Flush`] | | `flushes` |
//! | [`Kind::Table`], [`Kind::Refused`], [`Kind::Failed`] | see there | none |
//!
//! The sums are those since the mount, if no event was dropped and no job is under way.

use crate::Storage;
#[cfg(feature = "alloc")]
use crate::atomic::Arc;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(feature = "alloc")]
use rootlet_base::num::index;
#[cfg(feature = "alloc")]
use rootlet_base::units::count;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A read of a file by a user; its time is that of the user's wait.
    Read,
    /// Bytes of a slot that a read of a file, or a search for one, needed, wherever they were.
    Use,
    /// A transfer from the source of a slot.
    Fetch,
    /// A transfer from the source of a slot that failed.
    Failed,
    /// A read of the region whose bytes were right.
    Hit,
    /// A read of the region that failed, or whose bytes were wrong. A fetch follows.
    Refused,
    /// Bytes of a slot that were on their way into the region, copied from their buffer.
    Join,
    /// A read of the region's own tables.
    Table,
    /// A write to the region.
    Write,
    /// A flush of the region.
    Flush,
}

/// The cause of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A reader waits.
    Demand,
    /// A stream reads ahead of its reader.
    Ahead,
    /// The start of an earlier boot read these bytes.
    Prefetch,
    /// The region keeps fetched bytes.
    Keep,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The kind.
    pub kind: Kind,
    /// The cause.
    pub cause: Cause,
    /// The device slot; `None` for a file's own bytes, and for the region's tables, writes and
    /// flushes.
    pub slot: Option<u16>,
    /// The time of its start, by [`Storage::now_ns`].
    pub start_ns: u64,
    /// The time at which its end was noticed.
    pub end_ns: u64,
    /// The first byte.
    pub at: u64,
    /// How many bytes.
    pub len: u64,
    /// The number of the inode that the bytes are for; `None` for metadata, for a prefetch and for
    /// the region's own work.
    pub nid: Option<u64>,
}

#[cfg(feature = "alloc")]
const _: () = assert!(size_of::<Event>() <= 64);

impl Event {
    /// Returns an event at the clock's beginning, for no inode.
    pub const fn new(kind: Kind, cause: Cause, place: Place) -> Self {
        let Place { slot, at, len } = place;
        Self { kind, cause, slot, start_ns: 0, end_ns: 0, at, len, nid: None }
    }

    /// Returns the same event with another start and end.
    #[must_use]
    pub const fn with_time(self, start_ns: u64, end_ns: u64) -> Self {
        Self { start_ns, end_ns, ..self }
    }

    /// Returns the same event for another inode.
    #[must_use]
    pub const fn with_nid(self, nid: Option<u64>) -> Self {
        Self { nid, ..self }
    }
}

/// The start of an event: its time, and the inode that it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    start_ns: u64,
    nid: Option<u64>,
}

impl Departure {
    /// Returns the event that begins here and ends at `end_ns`.
    pub fn event(self, end_ns: u64, (kind, cause): (Kind, Cause), range: Place) -> Event {
        let Self { start_ns, nid } = self;
        let Place { slot, at, len } = range;
        Event { kind, cause, slot, start_ns, end_ns: end_ns.max(start_ns), at, len, nid }
    }
}

/// Bytes of a slot, of a file or of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The slot, if they are of one.
    pub slot: Option<u16>,
    /// The first byte.
    pub at: u64,
    /// How many bytes.
    pub len: u64,
}

/// A handle on the ring that a mount and its region record into; without a ring, nothing is
/// recorded.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    #[cfg(feature = "alloc")]
    ring: Option<Arc<spin::mutex::SpinMutex<Ring>>>,
}

#[cfg(feature = "alloc")]
#[derive(Debug)]
struct Ring {
    events: Vec<Event>,
    most: usize,
    /// The place of the oldest event, once the ring is full.
    oldest: usize,
    /// The place of the last [`Kind::Use`].
    last_use: Option<usize>,
    dropped: u64,
    /// The inode that devices are read for.
    nid: Option<u64>,
}

#[cfg(feature = "alloc")]
impl Ring {
    fn add(&mut self, event: Event) {
        if event.kind == Kind::Use {
            if let Some(last) = self.last_use.and_then(|at| self.events.get_mut(at))
                && continues(last, &event)
                && let Some(len) = last.len.checked_add(event.len)
            {
                (last.len, last.end_ns) = (len, event.end_ns);
                return;
            }
            self.last_use = Some(if self.is_full() { self.oldest } else { self.events.len() });
        }
        if !self.is_full() {
            return self.events.push(event);
        }
        if let Some(oldest) = self.events.get_mut(self.oldest) {
            *oldest = event;
        }
        count(&mut self.dropped, 1);
        self.oldest = match self.oldest.checked_add(1) {
            Some(next) if next < self.most => next,
            _ => 0,
        };
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.most
    }
}

/// Returns whether a use follows the one before it in the same slot, for the same file.
#[cfg(feature = "alloc")]
fn continues(last: &Event, next: &Event) -> bool {
    let key = |event: &Event| (event.kind, event.slot, event.nid);
    key(last) == key(next) && last.at.checked_add(last.len) == Some(next.at)
}

impl Recorder {
    /// Returns a ring for at most `most` events, all of its memory allocated; for none, nothing.
    #[cfg(feature = "alloc")]
    pub fn new(most: u32) -> Self {
        let most = index(most);
        let ring = || Ring {
            events: Vec::with_capacity(most),
            most,
            oldest: 0,
            last_use: None,
            dropped: 0,
            nid: None,
        };
        Self { ring: (most > 0).then(|| Arc::new(spin::mutex::SpinMutex::new(ring()))) }
    }

    /// Returns whether anything is recorded.
    pub fn is_on(&self) -> bool {
        #[cfg(feature = "alloc")]
        {
            self.ring.is_some()
        }
        #[cfg(not(feature = "alloc"))]
        {
            false
        }
    }

    /// Returns the storage's clock; 0 where nothing is recorded.
    pub fn now_ns<S: Storage>(&self, storage: &S) -> u64 {
        if self.is_on() { storage.now_ns() } else { 0 }
    }

    /// Returns the start of an event.
    pub fn depart<S: Storage>(&self, storage: &S) -> Departure {
        #[cfg(feature = "alloc")]
        if let Some(ring) = &self.ring {
            return Departure { start_ns: storage.now_ns(), nid: ring.lock().nid };
        }
        let _ = storage;
        Departure::default()
    }

    /// Notes the inode that devices are read for from now on.
    pub fn set_file(&self, nid: Option<u64>) {
        #[cfg(feature = "alloc")]
        if let Some(ring) = &self.ring {
            ring.lock().nid = nid;
        }
        let _ = nid;
    }

    /// Records the event that `event` returns. Does not call `event` where nothing is recorded.
    pub fn add(&self, event: impl FnOnce() -> Event) {
        #[cfg(feature = "alloc")]
        if let Some(ring) = &self.ring {
            let event = event();
            ring.lock().add(event);
        }
        #[cfg(not(feature = "alloc"))]
        let _ = event;
    }

    /// Calls `each` with every event that is kept, the oldest first. Nothing is recorded meanwhile.
    pub fn each(&self, each: impl FnMut(&Event)) {
        #[cfg(feature = "alloc")]
        if let Some(ring) = &self.ring {
            let ring = ring.lock();
            let (newer, older) = ring.events.split_at(ring.oldest);
            older.iter().chain(newer).for_each(each);
        }
        #[cfg(not(feature = "alloc"))]
        let _ = each;
    }

    /// Returns how many events were dropped for want of room.
    pub fn dropped(&self) -> u64 {
        #[cfg(feature = "alloc")]
        if let Some(ring) = &self.ring {
            return ring.lock().dropped;
        }
        0
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]

    use super::*;
    use alloc::vec;

    fn event(kind: Kind, at: u64, len: u64) -> Event {
        let slot = Some(1);
        let (start_ns, end_ns) = (at, at + 1);
        Event { kind, cause: Cause::Demand, slot, start_ns, end_ns, at, len, nid: Some(36) }
    }

    fn kept(recorder: &Recorder) -> Vec<(u64, u64)> {
        let mut kept = vec![];
        recorder.each(|event| kept.push((event.at, event.len)));
        kept
    }

    #[test]
    fn full_ring_drops_its_oldest_and_counts_it() {
        let recorder = Recorder::new(4);
        for at in 0..11 {
            recorder.add(|| event(Kind::Fetch, at, 1));
            let first = if at < 4 { 0 } else { at - 3 };
            assert_eq!(kept(&recorder), (first..=at).map(|at| (at, 1)).collect::<Vec<_>>());
            assert_eq!(recorder.dropped(), first);
        }
    }

    #[test]
    fn uses_side_by_side_are_one_whatever_happens_between() {
        let recorder = Recorder::new(3);
        recorder.add(|| event(Kind::Use, 0, 10));
        recorder.add(|| event(Kind::Fetch, 10, 4));
        recorder.add(|| event(Kind::Use, 10, 20));
        assert_eq!(kept(&recorder), [(0, 30), (10, 4)]);
        // Of another file, or elsewhere.
        recorder.add(|| Event { nid: None, ..event(Kind::Use, 30, 1) });
        recorder.add(|| event(Kind::Use, 40, 1));
        assert_eq!(kept(&recorder), [(10, 4), (30, 1), (40, 1)]);
        // Its place is another's by now.
        (0..3).for_each(|_| recorder.add(|| event(Kind::Fetch, 40, 1)));
        recorder.add(|| event(Kind::Use, 41, 1));
        assert_eq!(kept(&recorder), [(40, 1), (40, 1), (41, 1)]);
        assert_eq!(recorder.dropped(), 5);
    }

    #[test]
    fn recorder_that_is_off_makes_no_event() {
        let recorder = Recorder::new(0);
        recorder.add(|| unreachable!());
        assert!(!recorder.is_on() && recorder.dropped() == 0 && kept(&recorder).is_empty());
    }
}
