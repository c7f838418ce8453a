//! Fetching: extents of blobs become one batch over every device they touch.
//!
//! Always: bytes land by DMA where the caller wants them, but for unaligned edges, which pass
//! through a bounce buffer; a region read that fails or whose check fails is done again from the
//! source; what came from a source is offered to the layer while the rest is still in flight.

use super::bounce::Bounce;
use super::pieces::{BLOCK, BLOCK_SHIFT, Extent, Origin, Piece, Source, at_source, clipped, cut};
use super::stats::Stats;
use crate::cache::{Layer, Why};
use crate::error::Error;
use crate::storage::{Lent, Storage, Transfer};
use crate::trace;

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
        let mut rest = out;
        let mut pieces = Pieces::new();
        let mut bounced: usize = 0;
        for extent in extents {
            let mut done: u64 = 0;
            while done < extent.len() {
                let piece = cut(self.layer, self.sources, extent, done)?;
                if piece.len == 0 {
                    return Err(Error::bug());
                }
                let full = piece.span.is_some() && bounced >= self.bounce.len();
                if full || pieces.is_full() || self.repeats(&pieces, &piece) {
                    rest = self.batch(&mut pieces, rest)?;
                    pieces.clear();
                    bounced = 0;
                    // The batch may have changed where things are.
                    continue;
                }
                bounced = bounced.saturating_add(usize::from(piece.span.is_some()));
                done = done.saturating_add(u64::try_from(piece.len).unwrap_or(u64::MAX));
                // `is_full` was asked above.
                let _ = pieces.push(piece);
            }
        }
        self.batch(&mut pieces, rest)?;
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
        let Extent::Blob { slot, at, len } = *extent else { return };
        if let Some(blob) = self.source(slot).and_then(|source| source.blob) {
            let end = at.saturating_add(len).div_ceil(BLOCK);
            self.layer.prepare(self.storage, blob, at / BLOCK..end, Why::Read);
        }
    }

    /// Runs one batch for `pieces`, which cover the front of `out`; returns what is behind.
    fn batch<'o>(
        &mut self,
        pieces: &mut [Piece],
        out: &'o mut [u8],
    ) -> Result<&'o mut [u8], Error> {
        let mut rest = out;
        let mut routes: Routes<'_> = Routes::new();
        let mut transfers: Transfers<'_> = Transfers::new();
        let mut bounces = self.bounce.iter_mut();
        for (index, piece) in pieces.iter().enumerate() {
            let (target, behind) =
                core::mem::take(&mut rest).split_at_mut_checked(piece.len).unwrap_or_default();
            rest = behind;
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
                    target.copy_from_slice(bytes.ok_or_else(Error::bug)?);
                    self.stats.joins = self.stats.joins.saturating_add(1);
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
                    at_source(self.sources, piece.slot, piece.start)
                }
            };
            let (lent, target) = match piece.span {
                None => (target, None),
                Some(span) => {
                    let bounce = bounces.next().and_then(|bounce| bounce.get_mut(..span));
                    (bounce.unwrap_or_default(), Some(target))
                }
            };
            // Both have room for as many as there are pieces.
            let _ = transfers.push(Transfer::read(place.0, place.1, lent));
            let _ = routes.push(Route { piece: index, target, is_done: false });
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
        Ok(rest)
    }
}

type Transfers<'o> = heapless::Vec<Transfer<'o>, BATCH_MAX>;
type Routes<'o> = heapless::Vec<Route<'o>, BATCH_MAX>;
/// Transfers by their index, and the slots that failed their check.
type Rejected = heapless::Vec<(usize, u32), BATCH_MAX>;

/// Which piece a transfer serves and, if it is bounced, where the piece's bytes go.
struct Route<'o> {
    piece: usize,
    target: Option<&'o mut [u8]>,
    /// Whether they are there.
    is_done: bool,
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
        let mut rejected = Rejected::new();
        self.submit(pieces, transfers, routes, &mut rejected);
        self.stats.batches = self.stats.batches.saturating_add(1);
        for (index, (transfer, route)) in transfers.iter_mut().zip(routes.iter_mut()).enumerate() {
            let Some(piece) = pieces.get_mut(route.piece) else { continue };
            let len = u64::try_from(transfer.len()).unwrap_or(0);
            let rejected = rejected.iter().find(|(of, _)| *of == index).map(|(_, slot)| *slot);
            match (piece.origin, transfer.outcome(), rejected) {
                (Origin::Region { .. }, Ok(()), None) => {
                    self.stats.hits = self.stats.hits.saturating_add(1);
                    self.stats.hit_bytes = self.stats.hit_bytes.saturating_add(len);
                }
                (Origin::Region { slot, .. }, outcome, rejected) => {
                    match rejected {
                        Some(slot) => self.layer.reject(slot),
                        None if outcome.is_err() => self.layer.fault(slot),
                        None => {}
                    }
                    piece.origin = Origin::Source;
                    redirect(transfer, piece, self.sources);
                    is_left = true;
                    continue;
                }
                (_, Ok(()), _) => {
                    self.stats.fetches = self.stats.fetches.saturating_add(1);
                    self.stats.fetched_bytes = self.stats.fetched_bytes.saturating_add(len);
                }
                (_, Err(error), _) => return Err(Error::Io(error)),
            }
            deliver(transfer, route, piece, self.stats);
            route.is_done = true;
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
            if routes.get(index).is_some_and(|route| route.is_done) {
                transfers.swap_remove(index);
                routes.swap_remove(index);
            }
        }
        self.run(pieces, transfers, routes).map(|_| ())
    }

    /// Runs the transfers; as each one ends, checks what came from the region and offers to the
    /// layer what came from a source. `rejected` gets the slots that failed their check.
    fn submit<'o>(
        &mut self,
        pieces: &[Piece],
        transfers: &mut Transfers<'o>,
        routes: &Routes<'o>,
        rejected: &mut Rejected,
    ) {
        let (layer, sources) = (&mut *self.layer, self.sources);
        self.storage.run(transfers, &mut |index, transfer| {
            let Some(piece) = routes.get(index).and_then(|route| pieces.get(route.piece)) else {
                return;
            };
            let (Some(Ok(())), Lent::Read(data)) = (transfer.result, &transfer.lent) else {
                return;
            };
            let Some(blob) = sources.get(usize::from(piece.slot)).and_then(|source| source.blob)
            else {
                return;
            };
            let number = piece.start >> BLOCK_SHIFT;
            match piece.origin {
                Origin::Region { slot, block } => {
                    if let Err(slot) = layer.check(blob, number, slot, block, data) {
                        // A transfer ends once, and there is room for all.
                        let _ = rejected.push((index, slot));
                    }
                }
                _ => layer.fill(blob, number, data),
            }
        });
    }
}

/// Turns a transfer from the region into one from its source, into the same buffer.
fn redirect(transfer: &mut Transfer<'_>, piece: &Piece, sources: &[Source]) {
    let (device, at) = at_source(sources, piece.slot, piece.start);
    let lent = core::mem::replace(&mut transfer.lent, Lent::Flush);
    let (Lent::Read(out), Some(source)) = (lent, sources.get(usize::from(piece.slot))) else {
        return;
    };
    let len = clipped(source, piece.start, out.len());
    let (out, _) = out.split_at_mut_checked(len).unwrap_or_default();
    *transfer = Transfer::read(device, at, out);
}

/// Copies the wanted bytes of a bounced transfer out.
fn deliver(transfer: &Transfer<'_>, route: &mut Route<'_>, piece: &Piece, stats: &mut Stats) {
    if let (Some(target), Lent::Read(data)) = (&mut route.target, &transfer.lent) {
        let wanted = data.get(piece.skip..).and_then(|data| data.get(..target.len()));
        if let Some(wanted) = wanted {
            target.copy_from_slice(wanted);
            stats.copied(target.len());
        }
    }
}
