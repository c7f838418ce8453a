//! Fetching: turns extents into one batch of transfers over every device that they touch.
//!
//! Always: bytes land in the caller's buffer by DMA, except unaligned edges, which pass through a
//! bounce buffer, and bytes of a region's disk that may fall silent, which the storage copies. A
//! region read that fails or fails its check is repeated from the source. Bytes from a source are
//! offered to the layer while other transfers are still under way.

use super::pieces::{Extent, Origin, Piece, Source, cut};
use super::{Io, place_of};
use crate::cache::{BlobIndex, Layer, Verdict, Why};
use crate::error::Error;
use crate::num::{Bug, OrBug, narrow, wide};
use crate::read::stats::Stats;
use crate::storage::events::{Cause, Departure, Kind, Place, Recorder};
use crate::storage::{IoErrorKind, Lent, Storage, Transfer};
use crate::trace;
use crate::units::{BLOCK, ByteRange, DeviceSlot, Fill, count};

/// The most transfers of one batch. A read that needs more takes several batches. Without `alloc` a
/// batch lies on a short stack.
pub const BATCH_MAX: usize = if cfg!(feature = "alloc") { 128 } else { 8 };

type Pieces = heapless::Vec<Piece, BATCH_MAX>;

impl<S: Storage, L: Layer<S>> Io<S, L> {
    /// Fills `out` with the bytes of `extents`, whose lengths sum up to `out.len()`.
    pub fn fetch(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<(), Error> {
        for extent in extents {
            self.prepare(extent);
        }
        let mut out = Fill::new(out);
        let mut pieces = Pieces::new();
        let mut bounced: usize = 0;
        for extent in extents {
            let mut rest = ByteRange::first(extent.len());
            while let Some(here) = rest.non_empty() {
                let piece = cut(&self.layer, &self.sources, extent, here.start())?;
                let full = piece.is_bounced() && bounced >= self.bounce.len();
                if full || pieces.is_full() || self.repeats(&pieces, &piece) {
                    self.batch(&mut pieces, &mut out)?;
                    pieces.clear();
                    bounced = 0;
                    // The batch may have changed where the bytes are: cut the piece again.
                    continue;
                }
                bounced = bounced.checked_add(usize::from(piece.is_bounced())).or_bug()?;
                rest = here.skip(piece.want.len());
                pieces.push(piece).ok().or_bug()?;
            }
        }
        self.batch(&mut pieces, &mut out)?;
        out.finish()?;
        self.layer.progress(&mut self.storage);
        Ok(())
    }

    /// Returns whether `piece` would fetch bytes that this batch fetches already (a chunk that
    /// occurs twice in a file): after the batch the layer has them. At most [`BATCH_MAX`]
    /// comparisons.
    fn repeats(&self, pieces: &[Piece], piece: &Piece) -> bool {
        self.blob(piece.slot).is_some()
            && piece.origin == Origin::Source
            && pieces.iter().any(|other| {
                other.origin == Origin::Source
                    && other.slot == piece.slot
                    && other.cover.overlaps(piece.cover)
            })
    }

    fn blob(&self, slot: DeviceSlot) -> Option<BlobIndex> {
        self.source(slot)?.blob
    }

    fn prepare(&mut self, extent: &Extent) {
        let Extent::Blob { slot, range } = *extent else { return };
        if let Some(blob) = self.blob(slot) {
            self.layer.prepare(&mut self.storage, blob, BLOCK.numbers(range), Why::Read);
        }
    }

    /// Fills the next bytes of `out` with the wanted bytes of `pieces`, in one batch.
    fn batch(&mut self, pieces: &mut [Piece], out: &mut Fill<'_>) -> Result<(), Error> {
        let mut routes: Routes<'_> = Routes::new();
        let mut transfers: Transfers<'_> = Transfers::new();
        let mut bounces = self.bounce.iter_mut()?;
        for piece in pieces {
            let target = out.next(piece.want.len())?;
            let ((device, at), state) = match &piece.origin {
                Origin::Zeros => {
                    target.fill(0);
                    continue;
                }
                Origin::Staged => {
                    copy_staged(&self.layer, &self.sources, piece, target)?;
                    count(&mut self.stats.joins, 1);
                    self.stats.copied(target.len());
                    let (recorder, storage) = (&self.recorder, &self.storage);
                    let place = place_of(piece.slot, piece.want);
                    let joined =
                        || recorder.depart(storage).event(0, (Kind::Join, Cause::Demand), place);
                    recorder.add(joined);
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
                    let source = self.sources.get(usize::from(piece.slot.get())).or_bug()?;
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
        let mut runner = Runner {
            storage: &mut self.storage,
            layer: &mut self.layer,
            stats: &mut self.stats,
            sources: &self.sources,
            recorder: &self.recorder,
        };
        if runner.run(&mut transfers, &mut routes)? {
            runner.run_again(&mut transfers, &mut routes)?;
        }
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
    /// It reads the region, and was not settled yet.
    Region,
    /// It has read the region, and its bytes are right.
    Right,
    /// The region could not serve it: it has to read the source.
    Refused,
    /// Its bytes are in the reader's buffer.
    Delivered,
}

impl Route<'_> {
    /// Settles a read of the region that was not settled yet. What the region refuses comes from
    /// the source.
    fn settle<S: Storage, L: Layer<S>>(&mut self, layer: &mut L, read: Result<&[u8], IoErrorKind>) {
        let origin = core::mem::replace(&mut self.piece.origin, Origin::Source);
        let Origin::Region(ticket) = origin else { return };
        self.state = match layer.settle(ticket, read) {
            Verdict::Right => State::Right,
            Verdict::Wrong | Verdict::Stale | Verdict::Unread => State::Refused,
        };
    }
}

/// The runner of transfers: submits them, settles region reads, and delivers the bytes.
struct Runner<'f, S, L> {
    storage: &'f mut S,
    layer: &'f mut L,
    stats: &'f mut Stats,
    sources: &'f [Source],
    recorder: &'f Recorder,
}

impl<S: Storage, L: Layer<S>> Runner<'_, S, L> {
    /// Runs the transfers and delivers their bytes. Turns region reads that the region could not
    /// serve into reads of the source, and returns whether there are any.
    fn run<'o>(
        &mut self,
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<bool, Error> {
        if transfers.is_empty() {
            return Ok(false);
        }
        let mut is_left = false;
        let departure = self.recorder.depart(self.storage);
        self.submit(transfers, routes)?;
        count(&mut self.stats.batches, 1);
        for (transfer, route) in transfers.iter_mut().zip(routes.iter_mut()) {
            if let (State::Region, Lent::Read(data)) = (route.state, &transfer.lent) {
                // It failed: reads that succeeded were settled as they ended.
                let read = transfer.outcome().map(|()| &**data).map_err(|error| error.kind);
                route.settle(self.layer, read);
            }
            if self.recorder.is_on() {
                self.record(departure, transfer, route);
            }
            match route.state {
                State::Right => self.stats.hit(transfer.len()),
                State::Source => {
                    transfer.outcome().map_err(Error::Io)?;
                    self.stats.fetched(1, transfer.len());
                }
                State::Refused => {
                    let source = self.sources.get(usize::from(route.piece.slot.get())).or_bug()?;
                    redirect(transfer, route.piece.cover, source)?;
                    route.state = State::Source;
                    is_left = true;
                    continue;
                }
                State::Region | State::Delivered => return Err(Error::bug()),
            }
            deliver(transfer, route, self.stats)?;
            route.state = State::Delivered;
        }
        Ok(is_left)
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

    /// Runs the transfers. As each one ends, settles it if it read the region, and offers its bytes
    /// to the layer if it read a source.
    ///
    /// # Errors
    /// A [`Bug`] if the storage reports a transfer that the batch does not have.
    fn submit<'o>(
        &mut self,
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<(), Bug> {
        let (layer, sources) = (&mut *self.layer, self.sources);
        let clock = if self.recorder.is_on() { self.storage.clock() } else { None };
        let mut reported = Ok(());
        self.storage.run(transfers, &mut |index, transfer| {
            let route = match routes.get_mut(index).or_bug() {
                Ok(route) => route,
                Err(bug) => return reported = Err(bug),
            };
            if let Some(clock) = clock {
                route.end_ns = clock();
            }
            let (Some(Ok(())), Lent::Read(data)) = (transfer.result, &transfer.lent) else {
                return;
            };
            let source = sources.get(usize::from(route.piece.slot.get()));
            if route.state == State::Region {
                route.settle(layer, Ok(data));
            } else if route.state == State::Source
                && let Some(blob) = source.and_then(|source| source.blob)
            {
                layer.fill(blob, BLOCK.whole(route.piece.cover.start()), data);
            }
        });
        reported
    }
}

impl<S: Storage, L: Layer<S>> Runner<'_, S, L> {
    /// Records a transfer that ended; where the clock cannot say when, with its batch.
    #[cold]
    fn record(&self, departure: Departure, transfer: &Transfer<'_>, route: &Route<'_>) {
        let kind = match route.state {
            State::Right => Kind::Hit,
            State::Source if transfer.outcome().is_ok() => Kind::Fetch,
            State::Source => Kind::Failed,
            State::Refused => Kind::Refused,
            State::Region | State::Delivered => return,
        };
        let end_ns = if route.end_ns > 0 { route.end_ns } else { self.storage.now_ns() };
        let place =
            Place { len: wide(transfer.len()), ..place_of(route.piece.slot, route.piece.cover) };
        self.recorder.add(|| departure.event(end_ns, (kind, Cause::Demand), place));
    }
}

/// Copies staged bytes, which are not yet written to the region, to `target`. They stay staged
/// until [`Layer::progress`], which is not called between planning and this copy.
fn copy_staged<S: Storage, L: Layer<S>>(
    layer: &L,
    sources: &[Source],
    piece: &Piece,
    target: &mut [u8],
) -> Result<(), Bug> {
    let blob =
        sources.get(usize::from(piece.slot.get())).and_then(|source| source.blob).or_bug()?;
    let start = piece.want.start();
    let staged = layer.staged(blob, BLOCK.whole(start)).or_bug()?;
    let bytes = staged.get(narrow(BLOCK.offset(start))?..).or_bug()?;
    target.copy_from_slice(bytes.get(..target.len()).or_bug()?);
    Ok(())
}

/// Turns a region read into a read of the same bytes from `source`, into the same buffer.
fn redirect(transfer: &mut Transfer<'_>, cover: ByteRange, source: &Source) -> Result<(), Error> {
    let (device, at) = source.at(cover.start())?;
    let Lent::Read(out) = core::mem::replace(&mut transfer.lent, Lent::Flush) else {
        return Err(Error::bug());
    };
    let cover = source.clipped(cover).or_bug()?;
    *transfer = Transfer::read(device, at, Fill::new(out).next(cover.len())?);
    Ok(())
}

/// Copies the wanted bytes of a bounced transfer to its target; others are in place already.
fn deliver(transfer: &Transfer<'_>, route: &mut Route<'_>, stats: &mut Stats) -> Result<(), Error> {
    let Lent::Read(data) = &transfer.lent else { return Err(Error::bug()) };
    let wanted = route.piece.wanted()?.of(data)?;
    if let Some(target) = &mut route.target {
        if target.len() != wanted.len() {
            return Err(Error::bug());
        }
        target.copy_from_slice(wanted);
        stats.copied(target.len());
    }
    Ok(())
}
