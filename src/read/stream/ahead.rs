//! Planning what a stream reads ahead, and starting it.
//!
//! Always: nothing here fails; what cannot be read ahead is read, and its fault told, when it is
//! its turn.

use super::pool::Target;
use super::{Stream, WINDOW_BYTES_MAX};
use crate::cache::{Layer, Why};
use crate::erofs::Layout;
use crate::num::wide;
use crate::read::inner::Inner;
use crate::read::pieces::{BLOCK, BLOCK_SHIFT, Extent, Origin, Source, origin};
use crate::read::plan::Plan;
use crate::storage::{Job, JobKind, Storage, Tag};

/// A part of the file that follows what the reader has.
#[derive(Debug)]
pub struct Piece {
    /// Bytes of the file.
    pub len: u64,
    pub kind: Kind,
}

/// How a piece gets to the reader.
#[derive(Debug)]
pub enum Kind {
    /// A read is under way; the piece begins `skip` bytes after the first byte of its target.
    Flying { flight: Tag, skip: usize, target: Target },
    /// A hole.
    Zeros,
    /// Read when it is its turn.
    Later,
}

impl<S: Storage, L: Layer<S>> Stream<'_, S, L> {
    /// Starts reads of what follows, until as much as the window is on its way. Waits until half
    /// of it is used up, so that reads go to their devices several at a time.
    pub(super) fn look_ahead(&mut self, inner: &mut Inner<S, L>) {
        let ahead = |next: u64, pieces: &heapless::Deque<Piece, _>| match pieces.front() {
            None => 0,
            Some(_) => next.saturating_sub(self.position),
        };
        let most = inner.pool.window_bytes().min(WINDOW_BYTES_MAX);
        let window = self.window.min(most);
        if ahead(self.next, &self.pieces) > window / 2 {
            return;
        }
        self.window = window.saturating_mul(2).min(most);
        let end = self.position.saturating_add(window).min(self.inode.size);
        let mut plan = Plan::new();
        while self.next < end && !self.pieces.is_full() {
            let want = end.saturating_sub(self.next);
            if self.is_later(inner) || inner.plan_again(&self.inode, self.next, want, &mut plan) {
                // Not behind others, whose turn it is first.
                if self.pieces.is_empty() {
                    self.push(u64::MAX, Kind::Later);
                }
                break;
            }
            if !plan.extents().iter().all(|extent| self.start(inner, extent)) {
                break;
            }
        }
        // The devices hear of all of it at once.
        inner.poll();
    }

    /// Whether the bytes at `next` are read only when it is their turn.
    fn is_later(&self, inner: &Inner<S, L>) -> bool {
        match self.inode.layout {
            Layout::Compressed(_) => true,
            Layout::Inline { tail, .. } => self.next >= self.inode.size.saturating_sub(tail.len),
            _ => inner.pool.window_bytes() == 0,
        }
    }

    fn push(&mut self, len: u64, kind: Kind) -> bool {
        self.next = self.next.saturating_add(len);
        self.pieces.push_back(Piece { len, kind }).is_ok()
    }

    /// Starts reads of an extent; false if not all of it could be.
    fn start(&mut self, inner: &mut Inner<S, L>, extent: &Extent) -> bool {
        let (slot, at, len) = match *extent {
            Extent::Hole(len) => return !self.pieces.is_full() && self.push(len, Kind::Zeros),
            Extent::Blob { slot, range } => (slot, range.start(), range.len()),
        };
        let Some(source) = inner.sources.get(usize::from(slot)).copied() else { return false };
        if at.checked_add(len).is_none_or(|end| end > source.bytes) {
            return false;
        }
        if let Some(blob) = source.blob {
            let blocks = at / BLOCK..at.saturating_add(len).div_ceil(BLOCK);
            inner.layer.prepare(&mut inner.storage, blob, blocks, Why::Read);
        }
        let mut done: u64 = 0;
        while done < len {
            // Before a read is started, which nobody would wait for.
            if self.pieces.is_full() {
                return false;
            }
            let (at, left) = (at.saturating_add(done), len.saturating_sub(done));
            let Some((len, kind)) = inner.start_piece(&source, slot, at, left, false) else {
                return false;
            };
            let later = matches!(kind, Kind::Later);
            if later && !self.pieces.is_empty() {
                return false;
            }
            self.push(len, kind);
            if later {
                return false;
            }
            done = done.saturating_add(len);
        }
        true
    }
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Plans anew; true if that fails, or if there is nothing to plan.
    fn plan_again(
        &mut self,
        inode: &crate::erofs::Inode,
        at: u64,
        want: u64,
        plan: &mut Plan,
    ) -> bool {
        *plan = Plan::new();
        crate::units::ByteRange::sized(at, want)
            .is_none_or(|want| self.plan(inode, want, plan).is_err())
            || plan.bytes() == 0
    }

    /// Starts one read of up to `left` bytes at byte `at` of a slot. `None` if there is no buffer
    /// or no room for it.
    pub(super) fn start_piece(
        &mut self,
        source: &Source,
        slot: u16,
        at: u64,
        left: u64,
        prefetch: bool,
    ) -> Option<(u64, Kind)> {
        let granule = source.granule();
        let (start, skip) = (granule.floor(at), granule.offset(at));
        let (origin, run_end) = origin(&self.layer, source, start, at.saturating_add(left));
        let left = left.min(run_end.checked_sub(at)?);
        let room = wide(self.pool.buffer_bytes()).min(source.transfer_max);
        let room = match origin {
            Origin::Region { .. } => room.min(self.layer.transfer_bytes_max()),
            Origin::Source => room,
            _ => return Some((left, Kind::Later)),
        };
        let len = left.min(granule.floor(room).saturating_sub(skip));
        let span = granule.ceil(skip.checked_add(len)?)?;
        let from_source = origin == Origin::Source;
        let span = if from_source { source.clipped(start, span)? } else { span };
        let span = usize::try_from(span).ok()?;
        if len == 0 || from_source && self.pool.overlaps(slot, start, span) {
            return Some((left, Kind::Later));
        }
        let (device, byte) = match origin {
            Origin::Region { slot, block } => self.layer.place(slot, block),
            _ => source.at(start).ok()?,
        };
        let ticket = match (origin, source.blob) {
            (Origin::Region { slot, block }, Some(blob)) => {
                let (number, blocks) = (start >> BLOCK_SHIFT, span >> BLOCK_SHIFT);
                Some(self.layer.ticket(blob, number, (slot, block), blocks)?)
            }
            _ => None,
        };
        let skip = usize::try_from(skip).ok()?;
        let mut buffer = self.pool.take()?;
        let target = Target { slot, start, len: span, origin, ticket, prefetch };
        let tag = if buffer.set_len(span) { self.pool.depart(target) } else { None };
        let Some(tag) = tag else {
            self.pool.give(buffer);
            return None;
        };
        let job = Job { tag, device, at: byte, kind: JobKind::Read, buffer: Some(buffer) };
        if let Err(job) = self.storage.start(job) {
            self.pool.cancel(tag, job.buffer);
            return None;
        }
        Some((len, Kind::Flying { flight: tag, skip, target }))
    }
}
