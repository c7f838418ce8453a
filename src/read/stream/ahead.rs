//! The reads ahead of a stream: plans them and starts them.
//!
//! Always: only a bug is an error here. Bytes that cannot be read ahead are read, and fail, when
//! the reader reaches them.

use super::depart::Flying;
use super::{Stream, WINDOW_BYTES_MAX};
use crate::cache::{Layer, Residence, Why};
use crate::erofs::Layout;
use crate::num::{Bug, OrBug};
use crate::read::guard::Guard;
use crate::read::io::{Extent, Source};
use crate::read::plan::{Plan, in_tail};
use crate::storage::Storage;
use crate::storage::events::Cause;
use crate::units::{BLOCK, ByteRange, DeviceSlot};

/// One of the next stretches of the file, in the order of the file.
#[derive(Debug)]
pub struct Segment {
    /// The bytes of the file in it.
    pub len: u64,
    pub kind: SegmentKind,
}

/// The way a segment gets to the reader.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "32 at most, and most are of this one")]
pub enum SegmentKind {
    /// A read is under way, whose part is the segment.
    Flying(Flying),
    /// It is a hole.
    Zeros,
    /// It is read when the reader reaches it.
    Later,
}

impl<S: Storage, L: Layer<S>> Stream<'_, S, L> {
    /// Starts reads of the bytes after `next`, until a window of bytes is read ahead. Does nothing
    /// while more than half a window is left, so that reads go to their devices several at a time.
    pub(super) fn look_ahead(&mut self, inner: &mut Guard<'_, S, L>) -> Result<(), Bug> {
        let most = inner.flights.pool.window_bytes().min(WINDOW_BYTES_MAX);
        let window = self.window.min(most);
        if !self.segments.is_empty() {
            let ahead = self.next.checked_sub(self.position).or_bug()?;
            if ahead > window / 2 {
                return Ok(());
            }
        }
        // At most 2 MiB before the shift.
        self.window = (window << 1).min(most);
        let end = self.rest().take(window).end();
        let mut plan = Plan::new();
        while let Some(want) = ByteRange::new(self.next, end).and_then(ByteRange::non_empty)
            && !self.segments.is_full()
        {
            if self.is_later(inner)? || !inner.plans_again(&self.inode, want, &mut plan) {
                // Only when it comes next: a later call plans it again.
                if self.segments.is_empty() {
                    self.push(self.rest().len(), SegmentKind::Later)?;
                }
                break;
            }
            let mut is_started = true;
            for extent in plan.extents() {
                is_started = is_started && self.start(inner, extent)?;
            }
            if !is_started {
                break;
            }
        }
        // Submits all of them to the devices at once.
        inner.poll();
        Ok(())
    }

    /// Returns whether the bytes at `next` cannot be read ahead.
    fn is_later(&self, inner: &Guard<'_, S, L>) -> Result<bool, Bug> {
        match self.inode.layout() {
            Layout::Compressed(_) | Layout::Object { .. } => Ok(true),
            Layout::Inline { .. } => Ok(in_tail(&self.inode, self.next)?.is_some()),
            _ => Ok(inner.flights.pool.window_bytes() == 0),
        }
    }

    fn push(&mut self, len: u64, kind: SegmentKind) -> Result<(), Bug> {
        self.next = self.next.checked_add(len).or_bug()?;
        self.segments.push_back(Segment { len, kind }).ok().or_bug()
    }

    /// Starts reads of an extent. Returns false if a part of the extent could not be started.
    fn start(&mut self, inner: &mut Guard<'_, S, L>, extent: &Extent) -> Result<bool, Bug> {
        let (slot, range) = match *extent {
            Extent::Hole(_) if self.segments.is_full() => return Ok(false),
            Extent::Hole(len) => return self.push(len, SegmentKind::Zeros).map(|()| true),
            Extent::Blob { slot, range } => (slot, range),
        };
        let source = inner.source(slot).copied();
        let Some(source) = source.filter(|source| range.end() <= source.bytes) else {
            return Ok(false);
        };
        if let Some(blob) = source.blob {
            let storage = inner.storage;
            inner.io.layer.prepare(storage, blob, BLOCK.numbers(range), Why::Read);
        }
        let mut rest = range;
        while let Some(want) = rest.non_empty() {
            // Checked first: nobody would wait for a read without a segment.
            if self.segments.is_full() {
                return Ok(false);
            }
            let Some((len, kind)) = inner.start_segment(&source, slot, want, Cause::Ahead)? else {
                return Ok(false);
            };
            let is_later = matches!(kind, SegmentKind::Later);
            if is_later && !self.segments.is_empty() {
                return Ok(false);
            }
            self.push(len, kind)?;
            if is_later {
                return Ok(false);
            }
            rest = want.skip(len);
        }
        Ok(true)
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Replaces `plan` by one for the front of `want`. Returns false if that fails: the read of
    /// these bytes will return the error.
    fn plans_again(
        &mut self,
        inode: &crate::erofs::Inode,
        want: ByteRange,
        plan: &mut Plan,
    ) -> bool {
        *plan = Plan::new();
        self.plan(inode, want, plan).is_ok()
    }

    /// Starts one read of the front of `want`, or finds that it has to be read later. Returns the
    /// bytes of `want` in the segment, and its kind; `None` if there is no buffer, or no room on
    /// the device.
    pub(super) fn start_segment(
        &mut self,
        source: &Source,
        slot: DeviceSlot,
        want: ByteRange,
        cause: Cause,
    ) -> Result<Option<(u64, SegmentKind)>, Bug> {
        let (residence, part) = source.locate(&self.io.layer, want)?;
        let later = Ok(Some((part.len(), SegmentKind::Later)));
        let reach = match residence {
            Residence::Staged => None,
            Residence::Resident(_) | Residence::Absent => {
                self.reach(source, slot, part, residence)?
            }
        };
        let Some(reach) = reach else { return later };
        if residence == Residence::Absent && self.flights.pool.overlaps(slot, reach.cover) {
            return later;
        }
        let flying = self.depart(source, reach, cause)?;
        Ok(flying.map(|flying| (reach.want.len(), SegmentKind::Flying(flying))))
    }
}
