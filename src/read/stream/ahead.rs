//! Planning what a stream reads ahead, and starting it.
//!
//! Always: nothing here fails; what cannot be read ahead is read, and fails, when it is its turn.
//! Only a bug is an error here.

use super::pool::Target;
use super::{Stream, WINDOW_BYTES_MAX};
use crate::cache::{Layer, Residence, Why};
use crate::erofs::Layout;
use crate::num::{Bug, OrBug, narrow, wide};
use crate::read::inner::Inner;
use crate::read::io::{Extent, Source, wanted};
use crate::read::plan::{Plan, in_tail};
use crate::storage::{Job, JobKind, Storage, Tag};
use crate::units::{BLOCK, ByteRange};

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
    /// A read is under way; `piece` says which of its bytes are the piece.
    Flying { flight: Tag, piece: ByteRange, target: Target },
    /// A hole.
    Zeros,
    /// Read when it is its turn.
    Later,
}

impl<S: Storage, L: Layer<S>> Stream<'_, S, L> {
    /// Starts reads of what follows, until as much as the window is on its way. Waits until half
    /// of it is used up, so that reads go to their devices several at a time.
    pub(super) fn look_ahead(&mut self, inner: &mut Inner<S, L>) -> Result<(), Bug> {
        let most = inner.flights.pool.window_bytes().min(WINDOW_BYTES_MAX);
        let window = self.window.min(most);
        if !self.pieces.is_empty() {
            let ahead = self.next.checked_sub(self.position).or_bug()?;
            if ahead > window / 2 {
                return Ok(());
            }
        }
        // At most 2 MiB before.
        self.window = (window << 1).min(most);
        let end = self.rest().take(window).end();
        let mut plan = Plan::new();
        while let Some(want) = ByteRange::new(self.next, end).and_then(ByteRange::non_empty)
            && !self.pieces.is_full()
        {
            if self.is_later(inner)? || !inner.plans_again(&self.inode, want, &mut plan) {
                // Not after others, whose turn it is first.
                if self.pieces.is_empty() {
                    self.push(self.rest().len(), Kind::Later)?;
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
        // The devices hear of all of it at once.
        inner.poll();
        Ok(())
    }

    /// Returns whether the bytes at `next` are read only when it is their turn.
    fn is_later(&self, inner: &Inner<S, L>) -> Result<bool, Bug> {
        match self.inode.layout {
            Layout::Compressed(_) => Ok(true),
            Layout::Inline { .. } => Ok(in_tail(&self.inode, self.next)?.is_some()),
            _ => Ok(inner.flights.pool.window_bytes() == 0),
        }
    }

    fn push(&mut self, len: u64, kind: Kind) -> Result<(), Bug> {
        self.next = self.next.checked_add(len).or_bug()?;
        self.pieces.push_back(Piece { len, kind }).ok().or_bug()
    }

    /// Starts reads of an extent. Returns false if not all of it could be started.
    fn start(&mut self, inner: &mut Inner<S, L>, extent: &Extent) -> Result<bool, Bug> {
        let (slot, range) = match *extent {
            Extent::Hole(_) if self.pieces.is_full() => return Ok(false),
            Extent::Hole(len) => return self.push(len, Kind::Zeros).map(|()| true),
            Extent::Blob { slot, range } => (slot, range),
        };
        let source = inner.io.source(slot).copied();
        let Some(source) = source.filter(|source| range.end() <= source.bytes) else {
            return Ok(false);
        };
        if let Some(blob) = source.blob {
            inner.io.layer.prepare(&mut inner.io.storage, blob, BLOCK.numbers(range), Why::Read);
        }
        let mut rest = range;
        while let Some(want) = rest.non_empty() {
            // Before a read is started, which nobody would wait for.
            if self.pieces.is_full() {
                return Ok(false);
            }
            let Some((len, kind)) = inner.start_piece(&source, slot, want, false)? else {
                return Ok(false);
            };
            let is_later = matches!(kind, Kind::Later);
            if is_later && !self.pieces.is_empty() {
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

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Plans anew. Returns false if that fails: the read of the bytes has the error.
    fn plans_again(
        &mut self,
        inode: &crate::erofs::Inode,
        want: ByteRange,
        plan: &mut Plan,
    ) -> bool {
        *plan = Plan::new();
        self.plan(inode, want, plan).is_ok()
    }

    /// Starts one read of the front of `want`. Returns how many bytes of `want` it brings, and how;
    /// `None` if there is no buffer or no room for it.
    pub(super) fn start_piece(
        &mut self,
        source: &Source,
        slot: u16,
        want: ByteRange,
        prefetch: bool,
    ) -> Result<Option<(u64, Kind)>, Bug> {
        let (residence, part) = source.locate(&self.io.layer, want)?;
        let later = Ok(Some((part.len(), Kind::Later)));
        let room = wide(self.flights.pool.buffer_bytes()).min(source.transfer_max);
        let room = match residence {
            Residence::Resident => room.min(self.io.layer.transfer_bytes_max()),
            Residence::Absent => room,
            Residence::Staged => return later,
        };
        let granule = source.granule();
        let room = granule.floor(room).checked_sub(granule.offset(part.start()));
        let Some(want) = room.and_then(|room| part.take(room).non_empty()) else { return later };
        let cover = source.cover(want, residence).or_bug()?;
        if residence == Residence::Absent && self.flights.pool.overlaps(slot, cover) {
            return later;
        }
        let Some(mut buffer) = self.flights.pool.take() else { return Ok(None) };
        let ticket = source.ticket(&self.io.layer, cover, residence)?;
        let (device, at) = match &ticket {
            Some(ticket) => ticket.place(),
            None => source.at(cover.start())?,
        };
        let target = Target { slot, cover, ticket, prefetch };
        let fits = buffer.set_len(narrow(cover.len())?);
        let Some(flight) = fits.then(|| self.flights.pool.depart(target)).flatten() else {
            self.flights.pool.give(buffer);
            return Ok(None);
        };
        let job = Job { tag: flight, device, at, kind: JobKind::Read, buffer: Some(buffer) };
        if let Err(job) = self.io.storage.start(job) {
            self.flights.pool.cancel(flight, job.buffer);
            return Ok(None);
        }
        let piece = wanted(want, cover)?;
        Ok(Some((want.len(), Kind::Flying { flight, piece, target })))
    }
}
