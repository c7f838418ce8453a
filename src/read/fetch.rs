//! Fetching: extents of blobs become one batch over every device they touch.
//!
//! Always: bytes land by DMA where the caller wants them, but for unaligned edges, which pass
//! through a bounce buffer; a region read that fails or whose check fails is done again from the
//! source; what came from a source is offered to the layer while the rest is still in flight.

use super::bounce::{BOUNCE_BYTES, Bounce};
use super::stats::Stats;
use crate::cache::{BLOCK_BYTES, BlobIndex, Layer, Residence};
use crate::erofs::Corrupt;
use crate::error::Error;
use crate::storage::{DeviceId, IoError, IoErrorKind, Lent, Storage, Transfer};

/// Requests of one batch at most. A read that needs more is several batches.
pub const BATCH_MAX: usize = 128;

/// A read through a layer is cut into pieces of at most this, so that the check or the copy of
/// one piece overlaps with the transfer of the next.
const PIECE_BYTES_MAX: u64 = 256 << 10;

const BLOCK: u64 = 4096;

/// Where the bytes of a slot come from.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The device that holds them.
    pub device: DeviceId,
    /// Byte of the device that is byte 0 of the slot.
    pub base: u64,
    /// Length of the slot in bytes.
    pub bytes: u64,
    /// Sector size of the device.
    pub sector: u64,
    /// Longest transfer of the device.
    pub transfer_max: u64,
    /// The layer's name for the slot's blob.
    pub blob: Option<BlobIndex>,
}

/// A merged run of bytes: zeros, or a range of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This many zeros.
    Hole(u64),
    /// `len` bytes of slot `slot` from byte `at` on.
    Blob {
        /// The device slot; 0 is the primary.
        slot: u16,
        /// Byte offset in it.
        at: u64,
        /// Length in bytes.
        len: u64,
    },
}

impl Extent {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Hole(len) | Self::Blob { len, .. } => *len,
        }
    }
}

/// Where a piece is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Zeros,
    Staged { slot: u32, block: usize },
    Region { slot: u32, block: usize },
    Source,
}

/// A part of an extent that one transfer serves.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Bytes of the caller's buffer.
    len: usize,
    source: Source,
    /// First byte of the transfer in the slot; a multiple of the granule.
    start: u64,
    /// Bytes between `start` and the first wanted byte; more than 0 only if bounced.
    skip: usize,
    /// Bytes of the transfer if it is bounced.
    span: Option<usize>,
    origin: Origin,
}

impl Piece {
    /// Where the piece's bytes are at its source, for a transfer of `len` bytes.
    fn at_source(&self) -> u64 {
        self.source.base.saturating_add(self.start)
    }

    /// Length of the transfer at the source: what the slot has from `start` on in whole
    /// sectors, at most `len`.
    fn source_len(&self, len: usize) -> usize {
        let below = self.source.sector.wrapping_sub(1);
        let end = self.source.bytes.saturating_add(below) & !below;
        len.min(usize::try_from(end.saturating_sub(self.start)).unwrap_or(usize::MAX))
    }

    /// The error for bytes that the layer promised and no longer has; our own bug, but no read
    /// may go on without them.
    fn gone(&self) -> Error {
        let len = u32::try_from(self.len).unwrap_or(u32::MAX);
        Error::Io(IoError {
            device: self.source.device,
            at: self.at_source(),
            len,
            kind: IoErrorKind::Gone,
        })
    }
}

type Pieces = heapless::Vec<Piece, BATCH_MAX>;

/// What a fetch works with.
pub(super) struct Fetch<'f, S, L> {
    pub runner: Runner<'f, S, L>,
    pub bounce: &'f mut Bounce,
    pub sources: &'f [Source],
}

/// What runs transfers and judges what arrived.
pub(super) struct Runner<'f, S, L> {
    pub storage: &'f mut S,
    pub layer: &'f mut L,
    pub stats: &'f mut Stats,
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
                let piece = self.cut(extent, done)?;
                let full = piece.span.is_some() && bounced >= self.bounce.len();
                if full || pieces.is_full() {
                    rest = self.batch(&pieces, rest)?;
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
        self.batch(&pieces, rest)?;
        self.runner.layer.progress(self.runner.storage);
        Ok(())
    }

    fn source(&self, slot: u16) -> Option<&Source> {
        self.sources.get(usize::from(slot))
    }

    fn prepare(&mut self, extent: &Extent) {
        let Extent::Blob { slot, at, len } = *extent else { return };
        if let Some(blob) = self.source(slot).and_then(|source| source.blob) {
            let end = at.saturating_add(len).div_ceil(BLOCK);
            self.runner.layer.prepare(self.runner.storage, blob, at / BLOCK..end);
        }
    }

    /// The piece that serves `extent` from byte `done` on.
    fn cut(&self, extent: &Extent, done: u64) -> Result<Piece, Error> {
        let (slot, at, len) = match *extent {
            Extent::Hole(len) => {
                let len = usize::try_from(len.saturating_sub(done)).unwrap_or(usize::MAX);
                let none = Source {
                    device: DeviceId(0),
                    base: 0,
                    bytes: 0,
                    sector: 1,
                    transfer_max: 1,
                    blob: None,
                };
                return Ok(Piece {
                    len,
                    source: none,
                    start: 0,
                    skip: 0,
                    span: None,
                    origin: Origin::Zeros,
                });
            }
            Extent::Blob { slot, at, len } => {
                (slot, at.saturating_add(done), len.saturating_sub(done))
            }
        };
        let Some(source) = self.source(slot).copied() else {
            let slots = u16::try_from(self.sources.len()).unwrap_or(u16::MAX).saturating_sub(1);
            return Err(Error::Corrupt(Corrupt::NoSlot { slot, slots }));
        };
        if at.checked_add(len).is_none_or(|end| end > source.bytes) {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            return Err(Error::Io(IoError {
                device: source.device,
                at,
                len,
                kind: IoErrorKind::OutOfRange,
            }));
        }
        let granule = if source.blob.is_some() { BLOCK } else { source.sector };
        let start = at & !granule.wrapping_sub(1);
        let (origin, run_end) = self.origin(&source, start, at.saturating_add(len));
        let len = len.min(run_end.saturating_sub(at));
        if let Origin::Staged { .. } = origin {
            let skip = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            return Ok(Piece { len, source, start, skip, span: None, origin });
        }
        Ok(shape(source, granule, start, at, len, origin))
    }

    /// Where the block at `start` is, and how far, at least a block and about as far as `end`,
    /// the same can be said of what follows it side by side.
    fn origin(&self, source: &Source, start: u64, end: u64) -> (Origin, u64) {
        let Some(blob) = source.blob else { return (Origin::Source, u64::MAX) };
        let first = start / BLOCK;
        let (residence, run) = self.runner.layer.locate(blob, first);
        let mut reached = advance(start, run);
        match residence {
            Residence::Staged { slot, block } => {
                let bytes = self.runner.layer.staged(slot, block).map_or(0, <[u8]>::len);
                (
                    Origin::Staged { slot, block },
                    start.saturating_add(u64::try_from(bytes).unwrap_or(0)).min(reached),
                )
            }
            Residence::Resident { slot, block } => {
                let (_, place) = self.runner.layer.place(slot, block);
                while reached < end && reached.saturating_sub(start) < PIECE_BYTES_MAX {
                    let (Residence::Resident { slot, block }, run) =
                        self.runner.layer.locate(blob, reached / BLOCK)
                    else {
                        break;
                    };
                    let adjoins = place.checked_add(reached.saturating_sub(start))
                        == Some(self.runner.layer.place(slot, block).1);
                    if !adjoins {
                        break;
                    }
                    reached = advance(reached, run);
                }
                (Origin::Region { slot, block }, reached)
            }
            Residence::Absent => {
                while reached < end && reached.saturating_sub(start) < PIECE_BYTES_MAX {
                    let (Residence::Absent, run) = self.runner.layer.locate(blob, reached / BLOCK)
                    else {
                        break;
                    };
                    reached = advance(reached, run);
                }
                (Origin::Source, reached)
            }
        }
    }

    /// Runs one batch for `pieces`, which cover the front of `out`; returns what is behind.
    fn batch<'o>(&mut self, pieces: &[Piece], out: &'o mut [u8]) -> Result<&'o mut [u8], Error> {
        let mut rest = out;
        let mut routed: heapless::Vec<Routed<'_>, BATCH_MAX> = heapless::Vec::new();
        let mut transfers: heapless::Vec<Transfer<'_>, BATCH_MAX> = heapless::Vec::new();
        let mut bounces = self.bounce.iter_mut();
        for piece in pieces {
            let (target, behind) =
                core::mem::take(&mut rest).split_at_mut_checked(piece.len).unwrap_or_default();
            rest = behind;
            match piece.origin {
                Origin::Zeros => {
                    target.fill(0);
                    continue;
                }
                Origin::Staged { slot, block } => {
                    let staged = self
                        .runner
                        .layer
                        .staged(slot, block)
                        .and_then(|staged| staged.get(piece.skip..));
                    let bytes =
                        staged.and_then(|staged| staged.get(..target.len())).ok_or(piece.gone())?;
                    target.copy_from_slice(bytes);
                    self.runner.stats.joins = self.runner.stats.joins.saturating_add(1);
                    continue;
                }
                Origin::Region { .. } | Origin::Source => {}
            }
            let (lent, target) = match piece.span {
                None => (target, None),
                Some(span) => {
                    let bounce = bounces
                        .next()
                        .and_then(|bounce| bounce.get_mut(..span))
                        .unwrap_or_default();
                    (bounce, Some(target))
                }
            };
            // Both have room for as many as there are pieces.
            let _ = transfers.push(transfer(self.runner.layer, piece, lent));
            let _ = routed.push(Routed { piece: *piece, target });
        }
        let failed = self.runner.run_routed(transfers, routed)?;
        self.runner.again(failed)?;
        Ok(rest)
    }
}

impl<S: Storage, L: Layer<S>> Runner<'_, S, L> {
    /// Runs transfers and delivers what arrived; returns what has to be read again from its
    /// source.
    fn run_routed<'o>(
        &mut self,
        mut transfers: heapless::Vec<Transfer<'o>, BATCH_MAX>,
        routed: heapless::Vec<Routed<'o>, BATCH_MAX>,
    ) -> Result<heapless::Vec<(Transfer<'o>, Routed<'o>), BATCH_MAX>, Error> {
        let mut again = heapless::Vec::new();
        if transfers.is_empty() {
            return Ok(again);
        }
        let mut rejected = [None; BATCH_MAX];
        let layer = &mut *self.layer;
        self.storage.run(&mut transfers, &mut |index, transfer| {
            let Some(piece) = routed.get(index).map(|routed| routed.piece) else { return };
            let (Some(Ok(())), Lent::Read(data)) = (transfer.result, &transfer.lent) else {
                return;
            };
            let Some(blob) = piece.source.blob else { return };
            let number = piece.start / BLOCK;
            if let Origin::Region { slot, block } = piece.origin {
                if let (Err(slot), Some(place)) =
                    (layer.check(blob, number, slot, block, data), rejected.get_mut(index))
                {
                    *place = Some(slot);
                }
            } else {
                layer.fill(blob, number, data);
            }
        });
        self.stats.batches = self.stats.batches.saturating_add(1);
        for ((transfer, routed), rejected) in transfers.into_iter().zip(routed).zip(rejected) {
            let len = u64::try_from(transfer.len()).unwrap_or(0);
            match (routed.piece.origin, transfer.outcome(), rejected) {
                (Origin::Region { .. }, Ok(()), None) => {
                    self.stats.hit_bytes = self.stats.hit_bytes.saturating_add(len);
                    self.stats.hits = self.stats.hits.saturating_add(1);
                    routed.deliver(&transfer);
                }
                (Origin::Region { slot, .. }, outcome, rejected) => {
                    match rejected {
                        Some(slot) => self.layer.reject(slot),
                        None if outcome.is_err() => self.layer.fault(slot),
                        None => {}
                    }
                    let _ = again.push((transfer, routed));
                }
                (_, Ok(()), _) => {
                    self.stats.fetched_bytes = self.stats.fetched_bytes.saturating_add(len);
                    self.stats.fetches = self.stats.fetches.saturating_add(1);
                    routed.deliver(&transfer);
                }
                (_, Err(error), _) => return Err(Error::Io(error)),
            }
        }
        Ok(again)
    }

    /// Reads from their sources what the region could not serve.
    fn again<'o>(
        &mut self,
        failed: heapless::Vec<(Transfer<'o>, Routed<'o>), BATCH_MAX>,
    ) -> Result<(), Error> {
        let mut transfers = heapless::Vec::new();
        let mut routed = heapless::Vec::new();
        for (transfer, route) in failed {
            let Lent::Read(lent) = transfer.lent else { continue };
            let len = route.piece.source_len(lent.len());
            let (lent, _) = lent.split_at_mut_checked(len).unwrap_or_default();
            let piece = Piece { origin: Origin::Source, ..route.piece };
            let _ = transfers.push(Transfer::read(piece.source.device, piece.at_source(), lent));
            let _ = routed.push(Routed { piece, ..route });
        }
        self.run_routed(transfers, routed).map(drop)
    }
}

/// A piece and, if it is bounced, where its bytes go.
struct Routed<'o> {
    piece: Piece,
    target: Option<&'o mut [u8]>,
}

impl Routed<'_> {
    fn deliver(self, transfer: &Transfer<'_>) {
        if let (Some(target), Lent::Read(data)) = (self.target, &transfer.lent) {
            let wanted = data.get(self.piece.skip..).and_then(|data| data.get(..target.len()));
            if let Some(wanted) = wanted {
                target.copy_from_slice(wanted);
            }
        }
    }
}

fn transfer<'o, S: Storage, L: Layer<S>>(
    layer: &L,
    piece: &Piece,
    lent: &'o mut [u8],
) -> Transfer<'o> {
    match piece.origin {
        Origin::Region { slot, block } => {
            let (device, at) = layer.place(slot, block);
            Transfer::read(device, at, lent)
        }
        _ => Transfer::read(piece.source.device, piece.at_source(), lent),
    }
}

fn advance(at: u64, blocks: usize) -> u64 {
    at.saturating_add(u64::try_from(blocks).unwrap_or(u64::MAX).saturating_mul(BLOCK))
}

/// Decides between a transfer straight into the caller's buffer and a bounced one. `at` lies in
/// the granule that begins at `start`; `len` bytes are wanted from there.
fn shape(source: Source, granule: u64, start: u64, at: u64, len: u64, origin: Origin) -> Piece {
    let below = granule.wrapping_sub(1);
    let skip = at.saturating_sub(start);
    let max = if source.blob.is_some() {
        PIECE_BYTES_MAX.min(source.transfer_max)
    } else {
        source.transfer_max
    };
    let max = max & !below;
    // The end of a slot may lie inside a granule: a source then has no more to give.
    let ends = origin == Origin::Source
        && at.saturating_add(len) == source.bytes
        && len & source.sector.wrapping_sub(1) == 0;
    let direct = if ends && len <= max { len } else { (len & !below).min(max) };
    let as_len = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    if skip == 0 && direct > 0 {
        return Piece { len: as_len(direct), source, start, skip: 0, span: None, origin };
    }
    let room = u64::try_from(BOUNCE_BYTES).unwrap_or(0);
    // All of it in one bounce if it fits; else just the unaligned front.
    let wanted =
        if skip.saturating_add(len) <= room { len } else { granule.saturating_sub(skip).min(len) };
    let span = skip.saturating_add(wanted).saturating_add(below) & !below;
    let piece = Piece {
        len: as_len(wanted),
        source,
        start,
        skip: as_len(skip),
        span: Some(as_len(span)),
        origin,
    };
    match origin {
        Origin::Source => Piece { span: Some(piece.source_len(as_len(span))), ..piece },
        _ => piece,
    }
}

const _: () = assert!(BOUNCE_BYTES >= 2 * BLOCK_BYTES);
