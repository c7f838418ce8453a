//! Fetching: extents of blobs become one batch over every device they touch.
//!
//! Always: bytes land by DMA where the caller wants them, but for unaligned edges, which pass
//! through a bounce buffer, and for those of a region's disk that may fall silent, which a storage
//! copies there; a region read that fails or was not found right is done again from the source;
//! what came from a source is offered to the layer while the rest is still in flight.

use super::bounce::Bounce;
use super::pieces::{BLOCK_SHIFT, Extent, Origin, Piece, Source, cut};
use super::stats::Stats;
use crate::cache::{Layer, Ticket, Why};
use crate::error::Error;
use crate::num::{OrBug, wide};
use crate::storage::{Lent, Storage, Transfer};
use crate::trace;
use crate::units::{BLOCK, Fill, count};

/// Requests of one batch at most. A read that needs more is several batches.
pub const BATCH_MAX: usize = 128;

type Pieces = heapless::Vec<Piece, BATCH_MAX>;

/// What a fetch works with.
pub(super) struct Fetch<'f, S, L> {
    pub storage: &'f mut S,
    pub layer: &'f mut L,
    pub stats: &'f mut Stats,
    pub bounce: &'f mut Bounce,
    pub sources: &'f [Source],
}

impl<S: Storage, L: Layer<S>> Fetch<'_, S, L> {
    /// Fills `out` with the bytes of `extents`, whose lengths sum up to `out.len()`.
    pub fn run(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<(), Error> {
        for extent in extents {
            self.prepare(extent);
        }
        let mut out = Fill::new(out);
        let mut pieces = Pieces::new();
        let mut bounced: usize = 0;
        for extent in extents {
            let mut done: u64 = 0;
            while done < extent.len() {
                let piece = cut(self.layer, self.sources, extent, done)?;
                let full = piece.span.is_some() && bounced >= self.bounce.len();
                if full || pieces.is_full() || self.repeats(&pieces, &piece) {
                    self.batch(&mut pieces, &mut out)?;
                    pieces.clear();
                    bounced = 0;
                    // The batch may have changed where things are.
                    continue;
                }
                bounced = bounced.checked_add(usize::from(piece.span.is_some())).or_bug()?;
                done = done.checked_add(wide(piece.len)).or_bug()?;
                pieces.push(piece).ok().or_bug()?;
            }
        }
        self.batch(&mut pieces, &mut out)?;
        out.finish()?;
        self.layer.progress(self.storage);
        Ok(())
    }

    /// Whether `piece` would fetch what this batch fetches already (a chunk that occurs twice in
    /// a file): behind the batch the layer has it. At most [`BATCH_MAX`] comparisons.
    fn repeats(&self, pieces: &[Piece], piece: &Piece) -> bool {
        let kept = self.source(piece.slot).is_some_and(|source| source.blob.is_some());
        let (start, end) = (piece.start, piece.end());
        kept && piece.origin == Origin::Source
            && pieces.iter().any(|other| {
                other.origin == Origin::Source
                    && other.slot == piece.slot
                    && other.start < end
                    && start < other.end()
            })
    }

    fn source(&self, slot: u16) -> Option<&Source> {
        self.sources.get(usize::from(slot))
    }

    fn prepare(&mut self, extent: &Extent) {
        let Extent::Blob { slot, range } = *extent else { return };
        if let Some(blob) = self.source(slot).and_then(|source| source.blob) {
            self.layer.prepare(self.storage, blob, BLOCK.numbers(range), Why::Read);
        }
    }

    /// Fills the next bytes of `out` with what `pieces` cover, in one batch.
    fn batch(&mut self, pieces: &mut [Piece], out: &mut Fill<'_>) -> Result<(), Error> {
        let mut routes: Routes<'_> = Routes::new();
        let mut transfers: Transfers<'_> = Transfers::new();
        let mut bounces = self.bounce.iter_mut()?;
        for (index, piece) in pieces.iter().enumerate() {
            let target = out.next(wide(piece.len))?;
            let place = match piece.origin {
                Origin::Zeros => {
                    target.fill(0);
                    continue;
                }
                Origin::Staged { slot, block } => {
                    let staged = self.layer.staged(slot, block);
                    let bytes =
                        staged.and_then(|staged| staged.get(piece.skip..)?.get(..target.len()));
                    // What was staged stays so until `progress`, which is not called in between.
                    target.copy_from_slice(bytes.or_bug()?);
                    count(&mut self.stats.joins, 1);
                    self.stats.copied(target.len());
                    continue;
                }
                Origin::Region { slot, block } => self.layer.place(slot, block),
                Origin::Source => {
                    trace::debug!(
                        "demand read of device slot {}: bytes {}..{}",
                        piece.slot,
                        piece.start,
                        piece.end()
                    );
                    let source = self.sources.get(usize::from(piece.slot)).or_bug()?;
                    source.at(piece.start)?
                }
            };
            let (lent, target) = match piece.span {
                None => (target, None),
                Some(span) => {
                    let bounce = bounces.next().and_then(|bounce| bounce.get_mut(..span));
                    (bounce.or_bug()?, Some(target))
                }
            };
            let ticket = match piece.origin {
                Origin::Region { slot, block } => {
                    let source = self.sources.get(usize::from(piece.slot)).or_bug()?;
                    let (number, blocks) = (piece.start >> BLOCK_SHIFT, lent.len() >> BLOCK_SHIFT);
                    let ticket = source
                        .blob
                        .and_then(|blob| self.layer.ticket(blob, number, (slot, block), blocks));
                    // It was there when the piece was cut, and nothing came in between.
                    Some(ticket.or_bug()?)
                }
                _ => None,
            };
            let route = Route { piece: index, target, ticket, state: State::Absent };
            transfers.push(Transfer::read(place.0, place.1, lent)).ok().or_bug()?;
            routes.push(route).ok().or_bug()?;
        }
        let mut runner = Runner {
            storage: &mut *self.storage,
            layer: &mut *self.layer,
            stats: &mut *self.stats,
            sources: self.sources,
        };
        if runner.run(pieces, &mut transfers, &mut routes)? {
            runner.run_again(pieces, &mut transfers, &mut routes)?;
        }
        Ok(())
    }
}

type Transfers<'o> = heapless::Vec<Transfer<'o>, BATCH_MAX>;
type Routes<'o> = heapless::Vec<Route<'o>, BATCH_MAX>;

/// Which piece a transfer serves and, if it is bounced, where the piece's bytes go.
struct Route<'o> {
    piece: usize,
    target: Option<&'o mut [u8]>,
    /// What a read of the region has to bring.
    ticket: Option<Ticket>,
    state: State,
}

/// What became of the bytes of a transfer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// They did not come, or nobody looked at them.
    Absent,
    /// They are right.
    Right,
    /// They are not what the region should hold.
    Wrong,
    /// They are where the reader wants them.
    Delivered,
}

/// What runs transfers and judges what arrived.
struct Runner<'f, S, L> {
    storage: &'f mut S,
    layer: &'f mut L,
    stats: &'f mut Stats,
    sources: &'f [Source],
}

impl<S: Storage, L: Layer<S>> Runner<'_, S, L> {
    /// Runs the transfers and delivers what arrived. Whether something is left: what the region
    /// could not serve, turned into reads of its source.
    fn run<'o>(
        &mut self,
        pieces: &mut [Piece],
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<bool, Error> {
        if transfers.is_empty() {
            return Ok(false);
        }
        let mut is_left = false;
        self.submit(pieces, transfers, routes);
        count(&mut self.stats.batches, 1);
        for (transfer, route) in transfers.iter_mut().zip(routes.iter_mut()) {
            let piece = pieces.get_mut(route.piece).or_bug()?;
            match (route.ticket, transfer.outcome(), route.state) {
                (Some(_), Ok(()), State::Right) => {
                    self.stats.hit(transfer.len());
                }
                (Some(ticket), outcome, state) => {
                    match (&transfer.lent, state) {
                        (Lent::Read(data), State::Wrong) => self.layer.reject(&ticket, data),
                        _ if outcome.is_err() => self.layer.fault(&ticket),
                        _ => {}
                    }
                    route.ticket = None;
                    piece.origin = Origin::Source;
                    let source = self.sources.get(usize::from(piece.slot)).or_bug()?;
                    redirect(transfer, piece, source)?;
                    route.state = State::Absent;
                    is_left = true;
                    continue;
                }
                (_, Ok(()), _) => {
                    self.stats.fetched(1, transfer.len());
                }
                (_, Err(error), _) => return Err(Error::Io(error)),
            }
            deliver(transfer, route, piece, self.stats)?;
            route.state = State::Delivered;
        }
        Ok(is_left)
    }

    /// Runs what is left, which comes from its sources now.
    #[cold]
    fn run_again<'o>(
        &mut self,
        pieces: &mut [Piece],
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) -> Result<(), Error> {
        // Backwards: the last one takes the place of what goes.
        for index in (0..transfers.len()).rev() {
            if routes.get(index).is_some_and(|route| route.state == State::Delivered) {
                transfers.swap_remove(index);
                routes.swap_remove(index);
            }
        }
        let is_left = self.run(pieces, transfers, routes)?;
        if is_left { Err(Error::bug()) } else { Ok(()) }
    }

    /// Runs the transfers; as each one ends, checks what came from the region and offers to the
    /// layer what came from a source.
    fn submit<'o>(
        &mut self,
        pieces: &[Piece],
        transfers: &mut Transfers<'o>,
        routes: &mut Routes<'o>,
    ) {
        let (layer, sources) = (&mut *self.layer, self.sources);
        self.storage.run(transfers, &mut |index, transfer| {
            let Some(route) = routes.get_mut(index) else { return };
            let Some(piece) = pieces.get(route.piece) else { return };
            let (Some(Ok(())), Lent::Read(data)) = (transfer.result, &transfer.lent) else {
                return;
            };
            let Some(blob) = sources.get(usize::from(piece.slot)).and_then(|source| source.blob)
            else {
                return;
            };
            route.state = match route.ticket {
                Some(ticket) if layer.check(&ticket, data) => State::Right,
                Some(_) => State::Wrong,
                None => {
                    layer.fill(blob, piece.start >> BLOCK_SHIFT, data);
                    State::Absent
                }
            };
        });
    }
}

/// Turns a transfer from the region into one from its source, into the same buffer.
fn redirect(transfer: &mut Transfer<'_>, piece: &Piece, source: &Source) -> Result<(), Error> {
    let (device, at) = source.at(piece.start)?;
    let Lent::Read(out) = core::mem::replace(&mut transfer.lent, Lent::Flush) else {
        return Err(Error::bug());
    };
    let len = source.clipped(piece.start, wide(out.len())).or_bug()?;
    *transfer = Transfer::read(device, at, Fill::new(out).next(len)?);
    Ok(())
}

/// Puts the bytes of a transfer where its piece is wanted: a bounced one's are copied out.
fn deliver(
    transfer: &Transfer<'_>,
    route: &mut Route<'_>,
    piece: &Piece,
    stats: &mut Stats,
) -> Result<(), Error> {
    let Lent::Read(data) = &transfer.lent else { return Err(Error::bug()) };
    let wanted = data.get(piece.skip..).and_then(|data| data.get(..piece.len)).or_bug()?;
    if let Some(target) = &mut route.target {
        if target.len() != wanted.len() {
            return Err(Error::bug());
        }
        target.copy_from_slice(wanted);
        stats.copied(target.len());
    }
    Ok(())
}
