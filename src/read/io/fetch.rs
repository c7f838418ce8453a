//! Fetching: turns extents into one batch of transfers over every device that they touch.
//!
//! Always: a batch is planned and settled under the lock, and runs without it. Bytes land in the
//! caller's buffer by DMA, except unaligned edges, which pass through a bounce buffer, and bytes of a
//! region's disk that may fall silent, which the storage copies. A region read that fails or fails
//! its check is repeated from the source, and does not ask the region again. Bytes from a source are
//! offered to the layer while other transfers are still under way, if the lock is free then.

use super::bounce::{self, BOUNCES, Bounce};
use super::pieces::{Extent, Origin, Piece, cut};
use super::place_of;
use crate::cache::{Layer, Verdict, Why};
use crate::error::Error;
use crate::num::{Bug, OrBug, narrow, wide};
use crate::read::guard::{Guard, Shared};
use crate::read::inner::Inner;
use crate::read::stop::Blocking;
use crate::storage::events::{Cause, Departure, Kind, Place};
use crate::storage::{IoErrorKind, Lent, Storage, Transfer, Vouch};
use crate::trace;
use crate::units::{BLOCK, ByteRange, Fill, count};

/// The most transfers of one batch. A read that needs more takes several batches. Without `alloc` a
/// batch lies on a short stack.
pub const BATCH_MAX: usize = if cfg!(feature = "alloc") { 128 } else { 8 };

/// The pieces of a batch, and the bounce buffers that its edges land in.
#[derive(Debug)]
struct Batch<'b> {
    pieces: &'b mut heapless::Vec<Piece, BATCH_MAX>,
    bounces: &'b mut heapless::Vec<Bounce, BOUNCES>,
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Fills `out` with the bytes of `extents`, whose lengths sum up to `out.len()`.
    pub fn fetch_pieces(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<(), Error> {
        for extent in extents {
            self.prepare(extent);
        }
        // Two variables: the compiler would clear a struct of both, which costs more than the read.
        let (mut pieces, mut bounces) = (heapless::Vec::new(), heapless::Vec::new());
        let mut batch = Batch { pieces: &mut pieces, bounces: &mut bounces };
        let fetched = self.fetch_batches(extents, &mut batch, Fill::new(out));
        self.put_bounces(&mut batch);
        fetched?;
        let storage = self.storage;
        self.io.layer.progress(storage);
        Ok(())
    }

    fn prepare(&mut self, extent: &Extent) {
        let Extent::Blob { slot, range } = *extent else { return };
        if let Some(blob) = self.source(slot).and_then(|source| source.blob) {
            let storage = self.storage;
            self.io.layer.prepare(storage, blob, BLOCK.numbers(range), Why::Read);
        }
    }

    fn fetch_batches(
        &mut self,
        extents: &[Extent],
        batch: &mut Batch<'_>,
        mut out: Fill<'_>,
    ) -> Result<(), Error> {
        for extent in extents {
            let mut rest = ByteRange::first(extent.len());
            while let Some(here) = rest.non_empty() {
                let piece = cut(&self.io.layer, &self.shared.sources, extent, here.start())?;
                let ends = batch.pieces.is_full() || self.repeats(batch.pieces, &piece);
                if ends || piece.is_bounced() && !self.take_bounce(batch) {
                    if batch.pieces.is_empty() {
                        let take = |state: &mut Inner<L>| state.io.bounces.take(bounce::make);
                        let bounce = self.wait_for_one(take).blocking()?;
                        self.io.bounces.put(bounce);
                    }
                    self.run_batch(batch, &mut out)?;
                    // Meanwhile the bytes may have moved: cut the piece again.
                    continue;
                }
                rest = here.skip(piece.want.len());
                batch.pieces.push(piece).ok().or_bug()?;
            }
        }
        self.run_batch(batch, &mut out)?;
        Ok(out.finish()?)
    }

    /// Returns whether `piece` would fetch bytes that this batch fetches already (a chunk that
    /// occurs twice in a file): after the batch the layer has them. At most [`BATCH_MAX`]
    /// comparisons.
    fn repeats(&self, pieces: &[Piece], piece: &Piece) -> bool {
        self.source(piece.slot).is_some_and(|source| source.blob.is_some())
            && piece.origin == Origin::Source
            && pieces.iter().any(|other| {
                other.origin == Origin::Source
                    && other.slot == piece.slot
                    && other.cover.overlaps(piece.cover)
            })
    }

    /// Takes a bounce buffer for another edge of the batch. Returns false if there is none.
    fn take_bounce(&mut self, batch: &mut Batch<'_>) -> bool {
        let room = !batch.bounces.is_full();
        let bounce = room.then(|| self.io.bounces.take(bounce::make)).flatten();
        bounce.is_some_and(|bounce| batch.bounces.push(bounce).is_ok())
    }

    fn put_bounces(&mut self, batch: &mut Batch<'_>) {
        while let Some(bounce) = batch.bounces.pop() {
            self.io.bounces.put(bounce);
        }
    }

    /// Fills the next bytes of `out` with the wanted bytes of the batch, and empties the batch.
    fn run_batch(&mut self, batch: &mut Batch<'_>, out: &mut Fill<'_>) -> Result<(), Error> {
        let Batch { pieces, bounces } = batch;
        self.run_pieces(pieces, bounces, out)?;
        batch.pieces.clear();
        self.put_bounces(batch);
        Ok(())
    }

    fn run_pieces(
        &mut self,
        pieces: &mut [Piece],
        bounces: &mut [Bounce],
        out: &mut Fill<'_>,
    ) -> Result<(), Error> {
        let (mut routes, mut transfers) = (Routes::new(), Transfers::new());
        let mut bounces = bounces.iter_mut();
        let mut zeros: heapless::Vec<&mut [u8], BATCH_MAX> = heapless::Vec::new();
        for piece in pieces {
            let target = out.next(piece.want.len())?;
            let ((device, at), state) = match &piece.origin {
                Origin::Zeros => {
                    zeros.push(target).ok().or_bug()?;
                    continue;
                }
                Origin::Staged => {
                    self.copy_staged(piece, target)?;
                    continue;
                }
                Origin::Region(ticket) => (ticket.place(), State::Region),
                Origin::Source => {
                    trace::debug!(
                        "demand read of device slot {}: bytes {}..{}",
                        piece.slot.get(),
                        piece.cover.start(),
                        piece.cover.end()
                    );
                    let source = self.source(piece.slot).or_bug()?;
                    (source.at(piece.cover.start())?, State::Source)
                }
            };
            let (lent, target) = if piece.is_bounced() {
                let bounce = bounces.next().or_bug()?;
                (Fill::new(bounce).next(piece.cover.len())?, Some(target))
            } else {
                (target, None)
            };
            transfers.push(Transfer::read(device, at, lent)).ok().or_bug()?;
            routes.push(Route { piece, target, state, end_ns: 0 }).ok().or_bug()?;
        }
        if !zeros.is_empty() {
            self.released(|_| zeros.iter_mut().for_each(|zeros| zeros.fill(0)));
        }
        if transfers.is_empty() {
            return Ok(());
        }
        self.run_all(&mut transfers, &mut routes)
    }

    /// Copies staged bytes, which are not yet written to the region, to `target`. They stay staged
    /// while the lock is held and [`Layer::progress`] is not called.
    fn copy_staged(&mut self, piece: &Piece, target: &mut [u8]) -> Result<(), Error> {
        let blob = self.source(piece.slot).and_then(|source| source.blob).or_bug()?;
        let start = piece.want.start();
        let staged = self.io.layer.staged(blob, BLOCK.whole(start)).or_bug()?;
        let bytes = staged.get(narrow(BLOCK.offset(start))?..).or_bug()?;
        target.copy_from_slice(bytes.get(..target.len()).or_bug()?);
        count(&mut self.io.stats.joins, 1);
        self.io.stats.copied(target.len());
        let (recorder, place) = (&self.io.recorder, place_of(piece.slot, piece.want));
        recorder.add(|| recorder.depart(self.storage).event(0, (Kind::Join, Cause::Demand), place));
        Ok(())
    }
}

type Transfers<'o> = heapless::Vec<Transfer<'o>, BATCH_MAX>;
type Routes<'o> = heapless::Vec<Route<'o>, BATCH_MAX>;

/// The piece that a transfer serves, and the buffer for its wanted bytes if it is bounced.
struct Route<'o> {
    piece: &'o mut Piece,
    target: Option<&'o mut [u8]>,
    state: State,
    /// When the transfer ended, where that is recorded.
    end_ns: u64,
}

/// The progress of a transfer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It reads the source.
    Source,
    /// It has read the source, and its bytes were offered to the layer.
    Offered,
    /// It reads the region, or has failed to.
    Region,
    /// It has read the region, and its bytes are right.
    Right,
    /// It has read the region, and its bytes are not right.
    Doubtful,
    /// It has read the region, whose own check found its bytes right; the storage did not.
    Vouched(Vouch),
    /// The region could not serve it: it has to read the source.
    Refused,
    /// Its bytes are in the reader's buffer.
    Delivered,
}

impl Route<'_> {
    /// Looks at a transfer that has ended well, while others are under way and the lock is free.
    fn ended<S: Storage, L: Layer<S>>(&mut self, shared: &Shared<S, L>, data: &[u8]) {
        match (self.state, &self.piece.origin) {
            (State::Region, Origin::Region(ticket)) => {
                self.state = if ticket.is_right(data) { State::Right } else { State::Doubtful };
            }
            // Never waits for the lock: the storage may hold locks of its own.
            (State::Source, _) if shared.keeps() => {
                if let Some(mut state) = shared.try_lock() {
                    self.offer(shared, &mut state.io.layer, data);
                }
            }
            _ => {}
        }
    }

    /// Offers bytes of a source to the layer.
    fn offer<S: Storage, L: Layer<S>>(
        &mut self,
        shared: &Shared<S, L>,
        layer: &mut L,
        data: &[u8],
    ) {
        if let Some(blob) = shared.source(self.piece.slot).and_then(|source| source.blob) {
            layer.fill(blob, BLOCK.whole(self.piece.cover.start()), data);
        }
        self.state = State::Offered;
    }

    /// Settles a transfer that has ended: blames what the region did wrong, and offers to the layer
    /// what was not offered yet.
    fn settle<S: Storage, L: Layer<S>>(
        &mut self,
        shared: &Shared<S, L>,
        layer: &mut L,
        read: Result<&[u8], IoErrorKind>,
    ) {
        match (self.state, read) {
            (State::Region | State::Doubtful, read) => {
                let origin = core::mem::replace(&mut self.piece.origin, Origin::Source);
                let Origin::Region(ticket) = origin else { return };
                self.state = match layer.settle(ticket, read) {
                    Verdict::Right => State::Right,
                    Verdict::Wrong | Verdict::Stale | Verdict::Unread => State::Refused,
                };
            }
            (State::Vouched(vouch), _) => {
                let origin = core::mem::replace(&mut self.piece.origin, Origin::Source);
                let Origin::Region(ticket) = origin else { return };
                if vouch == Vouch::Wrong {
                    let _ = layer.settle(ticket, Err(IoErrorKind::Untrue));
                }
                self.state = State::Refused;
            }
            (State::Source, Ok(data)) => self.offer(shared, layer, data),
            _ => {}
        }
    }

    /// Has the storage judge bytes of the region that the region's own check found right.
    #[cold]
    fn vouch<S: Storage, L: Layer<S>>(&mut self, shared: &Shared<S, L>, transfer: &Transfer<'_>) {
        let (State::Right, Lent::Read(data)) = (self.state, &transfer.lent) else { return };
        match shared.vouch(self.piece.slot, self.piece.cover, data) {
            Vouch::Right => {}
            vouch => self.state = State::Vouched(vouch),
        }
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Runs the transfers and delivers their bytes. Turns region reads that the region could not
    /// serve into reads of the source, and returns whether there are any.
    fn run<'o>(
        &mut self,
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<bool, Error> {
        let mut is_left = false;
        let departure = self.io.recorder.depart(self.storage);
        self.submit(transfers, routes)?;
        count(&mut self.io.stats.batches, 1);
        let shared = self.shared;
        for (transfer, route) in transfers.iter_mut().zip(routes.iter_mut()) {
            if let Lent::Read(data) = &transfer.lent {
                let read = transfer.outcome().map(|()| &**data).map_err(|error| error.kind);
                route.settle(shared, &mut self.io.layer, read);
            }
            if self.io.recorder.is_on() {
                self.record(departure, transfer, route);
            }
            match route.state {
                State::Right => self.io.stats.hit(transfer.len()),
                State::Source | State::Offered => {
                    transfer.outcome().map_err(Error::Io)?;
                    self.io.stats.fetched(1, transfer.len());
                }
                State::Refused => {
                    redirect(transfer, route.piece, shared)?;
                    route.state = State::Source;
                    is_left = true;
                    continue;
                }
                State::Region | State::Doubtful | State::Vouched(_) | State::Delivered => {
                    return Err(Error::bug());
                }
            }
            self.deliver(transfer, route)?;
            route.state = State::Delivered;
        }
        Ok(is_left)
    }

    /// Runs the transfers and delivers their bytes, from the sources what the region could not serve.
    #[cfg(feature = "alloc")]
    fn run_all<'o>(
        &mut self,
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<(), Error> {
        let shared = self.shared;
        if !shared.keeps() {
            return self.run_twice(transfers, routes);
        }
        let kept = |route: &&Route<'_>| {
            let source = shared.source(route.piece.slot);
            route.state == State::Source && source.is_some_and(|source| source.blob.is_some())
        };
        let pieces = routes.iter().filter(kept).map(|route| (route.piece.slot, route.piece.cover));
        let batch = self.io.under_way.begin(pieces);
        let result = self.run_twice(transfers, routes);
        self.io.under_way.end(batch);
        result
    }

    /// Runs the transfers and delivers their bytes.
    #[cfg(not(feature = "alloc"))]
    fn run_all<'o>(
        &mut self,
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<(), Error> {
        self.run_twice(transfers, routes)
    }

    fn run_twice<'o>(
        &mut self,
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<(), Error> {
        let is_left = self.run(transfers, routes)?;
        if is_left { self.run_again(transfers, routes) } else { Ok(()) }
    }

    /// Runs the transfers that were not delivered, which read their sources now.
    #[cold]
    fn run_again<'o>(
        &mut self,
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<(), Error> {
        let mut states = routes.iter().map(|route| route.state);
        transfers.retain(|_| states.next() != Some(State::Delivered));
        routes.retain(|route| route.state != State::Delivered);
        let is_left = self.run(transfers, routes)?;
        if is_left { Err(Error::bug()) } else { Ok(()) }
    }

    /// Runs the transfers while the lock is free. As each one ends, checks its bytes if it read the
    /// region, and offers them to the layer if it read a source.
    ///
    /// # Errors
    /// A [`Bug`] if the storage reports a transfer that the batch does not have.
    fn submit<'o>(
        &mut self,
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<(), Bug> {
        let clock = if self.io.recorder.is_on() { self.storage.clock() } else { None };
        let shared = self.shared;
        let mut reported = Ok(());
        self.released(|storage| {
            storage.run(transfers, &mut |index, transfer| {
                let route = match routes.get_mut(index).or_bug() {
                    Ok(route) => route,
                    Err(bug) => return reported = Err(bug),
                };
                if let Some(clock) = clock {
                    route.end_ns = clock();
                }
                if let (Some(Ok(())), Lent::Read(data)) = (transfer.result, &transfer.lent) {
                    route.ended(shared, data);
                }
            });
            if shared.is_pinned {
                let ended = transfers.iter().zip(routes.iter_mut());
                ended.for_each(|(transfer, route)| route.vouch(shared, transfer));
            }
        });
        reported
    }

    /// Records a transfer that ended; where the clock cannot say when, with its batch.
    #[cold]
    fn record(&self, departure: Departure, transfer: &Transfer<'_>, route: &Route<'_>) {
        let kind = match route.state {
            State::Right => Kind::Hit,
            State::Source | State::Offered if transfer.outcome().is_ok() => Kind::Fetch,
            State::Source | State::Offered => Kind::Failed,
            State::Refused => Kind::Refused,
            State::Region | State::Doubtful | State::Vouched(_) | State::Delivered => return,
        };
        let end_ns = if route.end_ns > 0 { route.end_ns } else { self.storage.now_ns() };
        let place =
            Place { len: wide(transfer.len()), ..place_of(route.piece.slot, route.piece.cover) };
        self.io.recorder.add(|| departure.event(end_ns, (kind, Cause::Demand), place));
    }

    /// Copies the wanted bytes of a bounced transfer to its target; others are in place already.
    fn deliver(&mut self, transfer: &Transfer<'_>, route: &mut Route<'_>) -> Result<(), Error> {
        let Lent::Read(data) = &transfer.lent else { return Err(Error::bug()) };
        let wanted = route.piece.wanted()?.of(data)?;
        if let Some(target) = &mut route.target {
            if target.len() != wanted.len() {
                return Err(Error::bug());
            }
            target.copy_from_slice(wanted);
            self.io.stats.copied(target.len());
        }
        Ok(())
    }
}

/// Turns a region read into a read of the same bytes from their source, into the same buffer.
fn redirect<S, L>(
    transfer: &mut Transfer<'_>,
    piece: &Piece,
    shared: &Shared<S, L>,
) -> Result<(), Error> {
    let source = shared.source(piece.slot).or_bug()?;
    let (device, at) = source.at(piece.cover.start())?;
    let Lent::Read(out) = core::mem::replace(&mut transfer.lent, Lent::Flush) else {
        return Err(Error::bug());
    };
    let cover = source.clipped(piece.cover).or_bug()?;
    *transfer = Transfer::read(device, at, Fill::new(out).next(cover.len())?);
    Ok(())
}
