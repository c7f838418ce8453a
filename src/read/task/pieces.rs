//! The pieces of a task: the ranges that it reads, from the start of a read to the copy of its bytes.
//!
//! Always: bytes are copied out of a buffer whose own read has ended, and only if they are right. A
//! piece that the region could not serve is read from its source, and does not ask the region again.

use super::table::TaskId;
use crate::cache::{Layer, Residence, Why};
use crate::error::Error;
use crate::num::{Bug, OrBug, narrow, wide};
use crate::read::guard::Guard;
use crate::read::inner::Inner;
use crate::read::io::{Extent, Source, source_of};
use crate::read::stop::Stop;
use crate::read::stream::{Flying, Reach};
use crate::storage::events::Cause;
use crate::storage::{Buffer, Storage};
use crate::units::{BLOCK, ByteRange, DeviceSlot, Fill, count};

/// The most pieces that hold bytes of the reader's own file ahead of it. The others are for the
/// metadata that finds further ones.
const AHEAD_MAX: usize = 6;

/// A part of a device slot that a task reads.
#[derive(Debug)]
pub struct Piece {
    /// The device slot.
    pub slot: DeviceSlot,
    /// The bytes of the slot.
    pub want: ByteRange,
    /// Who takes the bytes.
    pub taker: Taker,
    state: State,
}

/// Who takes the bytes of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// The reader, once and in order: they are bytes of the file.
    Reader,
    /// The step, as often as it is taken: they stay until it has succeeded.
    Step,
}

/// The state of a piece.
#[derive(Debug)]
#[cfg_attr(
    all(target_pointer_width = "32", not(target_arch = "x86")),
    expect(clippy::large_enum_variant, reason = "eight at most, and most are of the long one")
)]
enum State {
    /// A read is under way.
    Flying(Flying),
    /// The bytes are here, as a part of a buffer, and right.
    Landed(Buffer, ByteRange),
    /// The region could not serve them.
    Refused,
}

impl Piece {
    /// Returns whether the piece has a buffer that the reader could do without for now.
    pub fn can_give(&self) -> bool {
        self.taker == Taker::Reader && matches!(self.state, State::Flying(_) | State::Landed(..))
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Fills `out` with the bytes of `extents`, whose lengths sum up to `out.len()`.
    ///
    /// # Errors
    /// [`Stop::Wait`] while some are on their way.
    // Not inlined: a reader that blocks does not need this code.
    #[inline(never)]
    pub fn fetch_by(&mut self, id: TaskId, extents: &[Extent], out: &mut [u8]) -> Result<(), Stop> {
        let filled = self.fill_front(id, extents, out, Taker::Step)?;
        if filled == out.len() { Ok(()) } else { Err(Stop::Wait) }
    }

    /// Fills the front of `out`, at least a byte, with bytes of `extents`, which the reader wants once
    /// and in order. Returns the number of bytes.
    ///
    /// # Errors
    /// [`Stop::Wait`] while the first byte is on its way.
    pub fn fetch_front(
        &mut self,
        id: TaskId,
        extents: &[Extent],
        out: &mut [u8],
    ) -> Result<usize, Stop> {
        match self.fill_front(id, extents, out, Taker::Reader)? {
            0 => Err(Stop::Wait),
            filled => {
                self.note_use(extents, wide(filled));
                Ok(filled)
            }
        }
    }

    /// Fills `out` with the first bytes of `extents`, as far as they are here without a gap, and
    /// starts reads of further ones. Returns the number of bytes.
    fn fill_front(
        &mut self,
        id: TaskId,
        extents: &[Extent],
        out: &mut [u8],
        taker: Taker,
    ) -> Result<usize, Stop> {
        let all = out.len();
        let mut out = Fill::new(out);
        let mut has_gap = false;
        for extent in extents {
            let Extent::Blob { slot, range } = *extent else {
                if !has_gap {
                    out.next(extent.len())?.fill(0);
                }
                continue;
            };
            let source = *source_of(&self.shared.sources, slot, range)?;
            let mut rest = range;
            while let Some(want) = rest.non_empty() {
                if !has_gap
                    && let Some(taken) = self.take(id, &source, slot, want, &mut out, taker)?
                {
                    rest = want.skip(taken);
                    continue;
                }
                let is_first = !core::mem::replace(&mut has_gap, true);
                match self.send(id, &source, slot, want, taker, is_first)? {
                    Some(sent) => rest = want.skip(sent),
                    None => return Ok(all.checked_sub(narrow(out.left())?).or_bug()?),
                }
            }
        }
        self.tasks.leave_line(id);
        Ok(all.checked_sub(narrow(out.left())?).or_bug()?)
    }

    /// Copies the front of `want` to the next bytes of `out`. Returns the number of bytes; `None` if
    /// they are not here.
    fn take(
        &mut self,
        id: TaskId,
        source: &Source,
        slot: DeviceSlot,
        want: ByteRange,
        out: &mut Fill<'_>,
        taker: Taker,
    ) -> Result<Option<u64>, Stop> {
        if let Some(bytes) = self.view(slot, want) {
            let out = out.next(want.len())?;
            let copied = out.len();
            self.released(|_| out.copy_from_slice(bytes));
            self.io.stats.copied(copied);
            self.io.stats.fetched(1, copied);
            return Ok(Some(want.len()));
        }
        let Some(index) = self.tasks.get(id).piece_at(slot, want.start()) else {
            return Ok(self.take_staged(source, want, out)?);
        };
        let Some(piece) = self.land(id, index)? else { return Ok(None) };
        let State::Landed(buffer, part) = &piece.state else {
            self.keep(id, piece)?;
            return Ok(None);
        };
        let skip = want.start().checked_sub(piece.want.start()).or_bug()?;
        let here = part.skip(skip).take(want.len());
        let to = out.next(here.len())?;
        let from = here.of(buffer)?;
        let copied = to.len();
        self.released(|_| to.copy_from_slice(from));
        self.io.stats.copied(copied);
        let is_over = piece.want.end() <= want.skip(here.len()).start();
        if taker == Taker::Reader && piece.taker == Taker::Reader && is_over {
            self.drop_piece(piece);
        } else {
            self.keep(id, piece)?;
        }
        Ok(Some(here.len()))
    }

    /// Takes the buffer with the first bytes of `extents` out of the pool. Returns what the buffer has
    /// of them; `None` if no buffer of a read has them.
    ///
    /// # Errors
    /// [`Stop::Wait`] while they are on their way.
    pub fn take_buffer(&mut self, id: TaskId, extents: &[Extent]) -> Result<Option<Buffer>, Stop> {
        let Some(Extent::Blob { slot, range }) = extents.first().copied() else { return Ok(None) };
        let source = *source_of(&self.shared.sources, slot, range)?;
        if self.view(slot, range).is_some() {
            return Ok(None);
        }
        let known = self.tasks.get(id).piece_at(slot, range.start());
        let landed = match known {
            Some(index) => self.land(id, index)?,
            None if self.is_staged(&source, range)? => return Ok(None),
            None => None,
        };
        if let Some(piece) = landed {
            if let State::Landed(buffer, part) = &piece.state
                && piece.taker == Taker::Reader
            {
                let skip = range.start().checked_sub(piece.want.start()).or_bug()?;
                let part = part.skip(skip).take(range.len());
                let handle = buffer.slice(narrow(part.start())?..narrow(part.end())?).or_bug()?;
                self.flights.pool.part_with();
                self.tasks.move_line();
                return Ok(Some(handle));
            }
            self.keep(id, piece)?;
        }
        self.send(id, &source, slot, range, Taker::Reader, true)?;
        Err(Stop::Wait)
    }

    /// Returns whether the first byte of `want` waits to be written to the region.
    fn is_staged(&mut self, source: &Source, want: ByteRange) -> Result<bool, Bug> {
        let Some(blob) = source.blob else { return Ok(false) };
        let near = want.take(wide(self.flights.pool.buffer_bytes()));
        let storage = self.storage;
        self.io.layer.prepare(storage, blob, BLOCK.numbers(near), Why::Read);
        Ok(source.locate(&self.io.layer, near)?.0 == Residence::Staged)
    }

    /// Copies the front of `want` to the next bytes of `out` if it waits to be written to the region.
    fn take_staged(
        &mut self,
        source: &Source,
        want: ByteRange,
        out: &mut Fill<'_>,
    ) -> Result<Option<u64>, Bug> {
        let Some(blob) = source.blob else { return Ok(None) };
        let storage = self.storage;
        // Not more than a read brings: the region may read its tables for them.
        let near = want.take(wide(self.flights.pool.buffer_bytes()));
        self.io.layer.prepare(storage, blob, BLOCK.numbers(near), Why::Read);
        let (residence, part) = source.locate(&self.io.layer, near)?;
        if residence != Residence::Staged {
            return Ok(None);
        }
        let staged = self.io.layer.staged(blob, BLOCK.whole(part.start())).or_bug()?;
        let staged = staged.get(narrow(BLOCK.offset(part.start()))?..).or_bug()?;
        let to = out.next(part.len())?;
        to.copy_from_slice(staged.get(..to.len()).or_bug()?);
        let copied = to.len();
        count(&mut self.io.stats.joins, 1);
        self.io.stats.copied(copied);
        Ok(Some(part.len()))
    }

    /// Takes a piece out of a task, after a check of its bytes if its read has just ended. Returns
    /// `None`, and leaves the piece, while the read is under way.
    fn land(&mut self, id: TaskId, index: usize) -> Result<Option<Piece>, Error> {
        let state: &mut Inner<L> = self;
        let pieces = &mut state.tasks.get(id).pieces;
        let landed = match &pieces.get(index).or_bug()?.state {
            State::Flying(flying) => match state.flights.pool.landed(flying.flight) {
                Some(landed) => landed,
                None => return Ok(None),
            },
            State::Landed(..) | State::Refused => return Ok(Some(pieces.swap_remove(index))),
        };
        let Piece { slot, want, taker, state } = pieces.swap_remove(index);
        let State::Flying(Flying { part, target, ticket, .. }) = state else {
            return Err(Error::bug());
        };
        let state = match self.judge(&target, ticket, landed)? {
            Some(buffer) => State::Landed(buffer, part),
            None => State::Refused,
        };
        Ok(Some(Piece { slot, want, taker, state }))
    }

    /// Has the front of `want` on its way: as a piece of the task, by another reader, or in no need
    /// of a read. Returns the number of bytes; `None` if that has to wait. `is_first` says that these
    /// are the first bytes that the step lacks.
    fn send(
        &mut self,
        id: TaskId,
        source: &Source,
        slot: DeviceSlot,
        want: ByteRange,
        taker: Taker,
        is_first: bool,
    ) -> Result<Option<u64>, Bug> {
        if self.view(slot, want).is_some() {
            return Ok(Some(want.len()));
        }
        if let Some(index) = self.tasks.get(id).piece_at(slot, want.start()) {
            return self.send_again(id, source, index, want, is_first);
        }
        let near = want.take(wide(self.flights.pool.buffer_bytes()));
        if let Some(blob) = source.blob
            && !is_first
        {
            let storage = self.storage;
            self.io.layer.prepare(storage, blob, BLOCK.numbers(near), Why::Read);
        }
        let (residence, part) = source.locate(&self.io.layer, near)?;
        if residence == Residence::Staged {
            return Ok(Some(part.len()));
        }
        let Some(reach) = self.reach(source, slot, part, residence)? else {
            self.tasks.get(id).blocks = true;
            return Ok(None);
        };
        if residence == Residence::Absent
            && source.blob.is_some()
            && self.joins(id, reach, is_first)?
        {
            return Ok(Some(reach.want.len()));
        }
        if !self.has_room(id, taker, is_first) {
            // A task that may take no further buffer keeps nobody from one.
            self.tasks.leave_line(id);
            return Ok(None);
        }
        let Some(flying) = self.take_off(id, source, reach, is_first)? else { return Ok(None) };
        let task = self.tasks.get(id);
        let piece = Piece { slot, want: reach.want, taker, state: State::Flying(flying) };
        task.pieces.push(piece).ok().or_bug()?;
        if is_first {
            task.wait_for(slot, reach.want);
        }
        Ok(Some(reach.want.len()))
    }

    /// As [`Guard::send`], of bytes that a piece of the task has. Reads them from their source if the
    /// region could not serve them.
    fn send_again(
        &mut self,
        id: TaskId,
        source: &Source,
        index: usize,
        want: ByteRange,
        is_first: bool,
    ) -> Result<Option<u64>, Bug> {
        let piece = self.tasks.get(id).pieces.get(index).or_bug()?;
        let (slot, all) = (piece.slot, piece.want);
        if matches!(piece.state, State::Refused) {
            let reach = self.reach(source, slot, all, Residence::Absent)?.or_bug()?;
            let mut piece = self.tasks.get(id).pieces.swap_remove(index);
            let flying = self.take_off(id, source, reach, is_first)?;
            let is_started = flying.is_some();
            if let Some(flying) = flying {
                (piece.want, piece.state) = (reach.want, State::Flying(flying));
            }
            self.keep(id, piece)?;
            if !is_started {
                return Ok(None);
            }
        }
        if is_first {
            self.tasks.get(id).wait_for(slot, all);
        }
        let skip = want.start().checked_sub(all.start()).or_bug()?;
        Ok(Some(all.skip(skip).take(want.len()).len()))
    }

    /// Returns whether another reader brings some of these bytes, so that the task waits for them: once.
    fn joins(&mut self, id: TaskId, reach: Reach, is_first: bool) -> Result<bool, Bug> {
        let Reach { slot, want, cover, .. } = reach;
        let first = Some((slot, want.start()));
        if self.tasks.get(id).joined == first {
            return Ok(false);
        }
        let last = self.io.under_way.last();
        let by_task = self.flights.pool.overlaps(slot, cover);
        let by_other = self.io.under_way.overlaps(slot, cover, last);
        if is_first && (by_task || by_other) {
            let task = self.tasks.get(id);
            task.joined = first;
            if by_task {
                task.wait_for(slot, cover);
            } else {
                self.tasks.wait_for_others(id);
            }
        }
        Ok(by_task || by_other)
    }

    /// Returns whether the task may have another piece. What the step lacks first has room in place of
    /// what lies further ahead.
    fn has_room(&mut self, id: TaskId, taker: Taker, is_first: bool) -> bool {
        let task = self.tasks.get(id);
        let ahead = task.pieces.iter().filter(|piece| piece.taker == Taker::Reader).count();
        let has_room = match taker {
            Taker::Reader => ahead < AHEAD_MAX && !task.pieces.is_full(),
            Taker::Step => !task.pieces.is_full(),
        };
        if has_room || !is_first || self.make_room(id) {
            return has_room || is_first;
        }
        self.tasks.get(id).blocks = true;
        false
    }

    /// Drops the piece that lies furthest ahead of the reader. Returns false if there is none.
    fn make_room(&mut self, id: TaskId) -> bool {
        let pieces = &mut self.tasks.get(id).pieces;
        let ahead = pieces.iter().enumerate().filter(|(_, piece)| piece.taker == Taker::Reader);
        let last = ahead.max_by_key(|(_, piece)| (piece.slot.get(), piece.want.start()));
        let Some((at, _)) = last else { return false };
        let piece = pieces.swap_remove(at);
        self.drop_piece(piece);
        true
    }

    /// Starts a read of a task if it is the task's turn to take a buffer, and there is one. Else has
    /// the task wait in the line; but not if nobody would give a buffer back.
    fn take_off(
        &mut self,
        id: TaskId,
        source: &Source,
        reach: Reach,
        is_first: bool,
    ) -> Result<Option<Flying>, Bug> {
        if self.tasks.is_next(id)
            && let Some(flying) = self.depart(source, reach, Cause::Demand)?
        {
            return Ok(Some(flying));
        }
        let lacks_buffer = !self.flights.pool.has_idle();
        self.tasks.stand_in_line(id, lacks_buffer);
        if self.flights.pool.is_flying() || self.tasks.moves_beside(id) {
            return Ok(None);
        }
        // Nothing that ends will wake the line. What lies further ahead of a reader gives its buffer
        // to what the reader lacks first.
        while lacks_buffer && is_first && self.make_room(id) {
            if let Some(flying) = self.depart(source, reach, Cause::Demand)? {
                return Ok(Some(flying));
            }
        }
        if !lacks_buffer || !self.tasks.wake_holder(id) {
            self.tasks.get(id).blocks = true;
        }
        Ok(None)
    }

    /// Gives a piece back to its task.
    fn keep(&mut self, id: TaskId, piece: Piece) -> Result<(), Bug> {
        self.tasks.get(id).pieces.push(piece).ok().or_bug()
    }

    /// Ends a piece. A read under way continues, and its bytes are offered to the layer.
    pub fn drop_piece(&mut self, piece: Piece) {
        match piece.state {
            State::Flying(Flying { flight, ticket, .. }) => {
                self.flights.pool.abandon(flight, ticket);
            }
            State::Landed(buffer, _) => self.flights.pool.give(buffer),
            State::Refused => {}
        }
        self.tasks.move_line();
    }

    /// Ends a step of a task: what the step has kept goes.
    pub fn end_step(&mut self, id: TaskId) {
        self.drop_pieces(id, |piece| piece.taker == Taker::Step);
        self.tasks.end_step(id);
    }

    /// Ends the pieces of a task that `is_over` says.
    pub fn drop_pieces(&mut self, id: TaskId, is_over: impl Fn(&Piece) -> bool) {
        loop {
            let pieces = &mut self.tasks.get(id).pieces;
            let Some(at) = pieces.iter().position(&is_over) else { break };
            let piece = pieces.swap_remove(at);
            self.drop_piece(piece);
        }
    }
}
