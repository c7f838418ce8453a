//! A stream: reads a file from front to back, ahead of its reader, without a copy.
//!
//! Always: at each position the stream gives the bytes of [`File::read_at`](super::File::read_at),
//! or its error; reading ahead in vain costs time, never an error. Reads ahead are background jobs:
//! they continue while the reader works on earlier bytes.

mod ahead;
mod depart;
mod flights;
mod pool;
mod prefetch;

pub(super) use depart::{Flying, Reach};
pub(super) use flights::Flights;

use super::guard::Guard;
use super::stop::Blocking;
use super::{File, Root};
use crate::cache::Layer;
use crate::erofs::Inode;
use crate::error::{Error, PathError};
use crate::num::{OrBug, clip, narrow, wide};
use crate::storage::events::{Cause, Departure, Kind as EventKind, Place, Recorder};
use crate::storage::{Buffer, Storage};
use crate::units::{ByteRange, count};
use ahead::{Segment, SegmentKind};
use embedded_io::SeekFrom;
use pool::BUFFERS_MAX;

/// The bytes that are read ahead at first.
const WINDOW_BYTES_MIN: u64 = 128 << 10;
/// The most bytes that are read ahead, if there are buffers for them.
const WINDOW_BYTES_MAX: u64 = 2 << 20;
/// The shortest read that goes straight to the reader's memory where nothing was read ahead.
const DIRECT_BYTES: usize = 64 << 10;
const EDGE_BYTES: usize = 4096;

static ZEROS: [u8; EDGE_BYTES] = [0; EDGE_BYTES];

/// An open regular file that is read from front to back.
///
/// [`BufRead::fill_buf`](embedded_io::BufRead::fill_buf) lends bytes where they landed by DMA.
/// [`Read::read`](embedded_io::Read::read) copies them, except large reads where nothing was read
/// ahead. The bytes read ahead grow from 128 KiB to 2 MiB while nobody seeks, and are at most half
/// of [`Budget::stream_bytes`](super::Budget::stream_bytes). Compressed files are not read ahead:
/// they are decoded when the reader reaches their bytes.
///
/// ```
/// use rootlet::{cache::NoRegion, read::Root, storage::memory::MemoryStorage};
/// # let tiny = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny.erofs"));
/// # let mut storage = MemoryStorage::new();
/// # let device = storage.add_disk("root", tiny).ok_or("too many disks")?;
/// let root = Root::open_image(storage, NoRegion, device)?;
/// let mut stream = root.stream(b"/hello")?;
/// let mut sum = 0;
/// loop {
///     let bytes = stream.lend()?;
///     if bytes.is_empty() {
///         break;
///     }
///     sum += bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
///     let len = bytes.len();
///     stream.advance(len);
/// }
/// assert_eq!((sum, stream.position()), (542, 6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stream<'r, S: Storage, L: Layer<S>> {
    root: &'r Root<S, L>,
    inode: Inode,
    position: u64,
    /// The bytes from `position` on.
    here: Here,
    /// The range of `here` that the reader has not used yet; empty when it has used all.
    left: ByteRange,
    /// The segments after `here`, in the order of the file.
    segments: heapless::Deque<Segment, BUFFERS_MAX>,
    /// The byte of the file after the last segment.
    next: u64,
    window: u64,
    /// Bytes given to the reader that [`Stats`](super::Stats) does not count yet.
    asked: u64,
    /// The bytes of these that were copied for the reader.
    copied: u64,
    /// The reader's wait for the bytes at the position.
    waited: Waited,
    edge: [u8; EDGE_BYTES],
}

/// The memory that holds the bytes at the position.
#[derive(Debug)]
enum Here {
    Nowhere,
    Lent(Buffer),
    Zeros,
    /// [`Stream::edge`], if there was no buffer.
    Edge,
}

/// A reader's wait, for an event.
#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    departure: Departure,
    end_ns: u64,
    /// The bytes that came, where a read ahead brought them.
    brought: Option<Place>,
}

impl<'r, S: Storage, L: Layer<S>> Stream<'r, S, L> {
    pub(super) fn new(root: &'r Root<S, L>, inode: Inode) -> Self {
        Self {
            root,
            inode,
            position: 0,
            here: Here::Nowhere,
            left: ByteRange::default(),
            segments: heapless::Deque::new(),
            next: 0,
            window: WINDOW_BYTES_MIN,
            asked: 0,
            copied: 0,
            waited: Waited::default(),
            edge: [0; EDGE_BYTES],
        }
    }

    /// Returns the bytes at the position: at least one, or none at the end of the file.
    ///
    /// # Errors
    /// As [`File::read_at`](super::File::read_at); the position stays, and the next call tries
    /// again.
    pub fn lend(&mut self) -> Result<&[u8], Error> {
        if self.left.is_empty() && !self.rest().is_empty() {
            self.fetch()?;
        }
        // A range outside the memory is an error: an empty slice would be the end of the file.
        Ok(match &self.here {
            Here::Nowhere => &[],
            Here::Lent(buffer) => self.left.of(buffer)?,
            Here::Zeros => ZEROS.get(..clip(self.left.len(), ZEROS.len())).or_bug()?,
            Here::Edge => self.left.of(&self.edge)?,
        })
    }

    /// Advances the position by `bytes` bytes, or by all lent bytes if they are fewer.
    #[expect(clippy::arithmetic_side_effects, reason = "what is lent ends within the file")]
    pub fn advance(&mut self, bytes: usize) {
        let (taken, left) = self.left.split(wide(bytes));
        self.left = left;
        self.position += taken.len();
        count(&mut self.asked, taken.len());
    }

    /// Returns the bytes of the file from the position on.
    fn rest(&self) -> ByteRange {
        ByteRange::first(self.inode.size()).skip(self.position)
    }

    /// Returns the position: the byte of the file that is lent next.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the inode of the file.
    pub fn inode(&self) -> &Inode {
        &self.inode
    }

    /// Brings the bytes at the position to `here`, and reads ahead.
    fn fetch(&mut self) -> Result<(), Error> {
        let root = self.root;
        let inner = &mut root.lock();
        self.settle(inner);
        inner.set_file(Some(self.inode.nid().0));
        self.waited.departure = inner.io.recorder.depart(inner.storage);
        let result = self.bring_next(inner);
        match result {
            Ok(()) => inner.note_first_byte(),
            Err(_) => self.abandon(inner),
        }
        inner.set_file(None);
        self.waited.end_ns = inner.io.recorder.now_ns(inner.storage);
        result
    }

    fn bring_next(&mut self, inner: &mut Guard<'_, S, L>) -> Result<(), Error> {
        if self.segments.is_empty() {
            self.next = self.position;
            self.look_ahead(inner)?;
        }
        match self.segments.pop_front() {
            Some(segment) => self.bring(inner, segment),
            None => self.read_here(inner, self.rest().len()),
        }
    }

    fn bring(&mut self, inner: &mut Guard<'_, S, L>, segment: Segment) -> Result<(), Error> {
        let Flying { flight, part: lent, target, ticket } = match segment.kind {
            SegmentKind::Flying(flying) => flying,
            SegmentKind::Zeros => {
                (self.here, self.left) = (Here::Zeros, ByteRange::first(segment.len));
                return Ok(());
            }
            SegmentKind::Later => return self.read_here(inner, segment.len),
        };
        let landed = inner.wait_for(flight);
        // The bytes after these arrive while these are checked and read.
        self.look_ahead(inner)?;
        match inner.judge(&target, ticket, landed)? {
            Some(buffer) => {
                (self.here, self.left) = (Here::Lent(buffer), lent.non_empty().or_bug()?);
                let at = target.cover.start().checked_add(lent.start()).or_bug()?;
                let slot = Some(target.slot.get());
                self.waited.brought = Some(Place { slot, at, len: lent.len() });
                Ok(())
            }
            None => self.read_here(inner, segment.len),
        }
    }

    /// Reads at most `len` bytes at the position into `here`, and waits for them.
    fn read_here(&mut self, inner: &mut Guard<'_, S, L>, len: u64) -> Result<(), Error> {
        let want = self.rest().take(len);
        let storage = inner.storage;
        inner.io.layer.progress(storage);
        let mut buffer = inner.flights.pool.take();
        let out = match &mut buffer {
            Some(buffer) => buffer.get_mut().or_bug()?,
            None => &mut self.edge,
        };
        let here = want.take(wide(out.len()));
        let result = match out.get_mut(..narrow(here.len())?) {
            Some(out) => inner.data(&self.inode, here.start(), out).blocking(),
            None => Err(Error::bug()),
        };
        // The next segments begin after `want`, not after `here`: they do not fit any more.
        if here != want {
            self.abandon(inner);
        }
        match (result, buffer) {
            (Ok(()), Some(buffer)) => self.here = Here::Lent(buffer),
            (Ok(()), None) => self.here = Here::Edge,
            (Err(error), buffer) => {
                buffer.into_iter().for_each(|buffer| inner.flights.pool.give(buffer));
                return Err(error);
            }
        }
        self.left = ByteRange::first(here.len());
        Ok(())
    }

    /// Gives the lent buffer back, and counts the bytes that were used.
    fn settle(&mut self, inner: &mut Guard<'_, S, L>) {
        if let Here::Lent(buffer) = core::mem::replace(&mut self.here, Here::Nowhere) {
            inner.flights.pool.give(buffer);
        }
        self.left = ByteRange::default();
        if inner.io.recorder.is_on() {
            self.record(&inner.io.recorder);
        }
        self.waited.brought = None;
        let stats = &mut inner.io.stats;
        count(&mut stats.reads, u64::from(self.asked > 0));
        count(&mut stats.asked_bytes, core::mem::take(&mut self.asked));
        count(&mut stats.copied_bytes, core::mem::take(&mut self.copied));
    }

    /// Records what the reader took of the bytes that came last.
    #[cold]
    fn record(&self, recorder: &Recorder) {
        let Waited { departure, end_ns, brought } = self.waited;
        let len = self.asked;
        let Some(at) = self.position.checked_sub(len).filter(|_| len > 0) else { return };
        if let Some(place) = brought {
            let place = Place { len: place.len.min(len), ..place };
            recorder.add(|| departure.event(0, (EventKind::Use, Cause::Demand), place));
        }
        let place = Place { slot: None, at, len };
        recorder.add(|| departure.event(end_ns, (EventKind::Read, Cause::Demand), place));
    }

    /// Drops all segments, and abandons their reads.
    fn abandon(&mut self, inner: &mut Guard<'_, S, L>) {
        while let Some(segment) = self.segments.pop_front() {
            if let SegmentKind::Flying(Flying { flight, ticket, .. }) = segment.kind {
                inner.flights.pool.abandon(flight, ticket);
            }
        }
    }
}

impl<S: Storage, L: Layer<S>> Drop for Stream<'_, S, L> {
    fn drop(&mut self) {
        let root = self.root;
        let inner = &mut root.lock();
        self.settle(inner);
        self.abandon(inner);
    }
}

impl<S: Storage, L: Layer<S>> embedded_io::ErrorType for Stream<'_, S, L> {
    type Error = Error;
}

impl<S: Storage, L: Layer<S>> embedded_io::BufRead for Stream<'_, S, L> {
    fn fill_buf(&mut self) -> Result<&[u8], Error> {
        self.lend()
    }

    fn consume(&mut self, bytes: usize) {
        self.advance(bytes);
    }
}

impl<S: Storage, L: Layer<S>> embedded_io::Read for Stream<'_, S, L> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if out.len() >= DIRECT_BYTES && self.left.is_empty() && self.segments.is_empty() {
            // Opening the stream has checked the inode.
            let file = File::new(self.root, self.inode);
            let len = file.read_at(self.position, out)?;
            self.position = self.position.checked_add(wide(len)).or_bug()?;
            return Ok(len);
        }
        if out.is_empty() {
            return Ok(0);
        }
        let bytes = self.lend()?;
        let len = bytes.len().min(out.len());
        out.get_mut(..len).or_bug()?.copy_from_slice(bytes.get(..len).or_bug()?);
        count(&mut self.copied, wide(len));
        self.advance(len);
        Ok(len)
    }
}

impl<S: Storage, L: Layer<S>> embedded_io::Seek for Stream<'_, S, L> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, Error> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.inode.size().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let position = position.ok_or(PathError::BeforeStart)?;
        if position != self.position {
            let root = self.root;
            let inner = &mut root.lock();
            self.settle(inner);
            self.abandon(inner);
            self.window = WINDOW_BYTES_MIN;
            self.position = position;
        }
        Ok(self.position)
    }
}
