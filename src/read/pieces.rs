//! Pieces: an extent cut into parts that one transfer each can serve.
//!
//! Always: pure, given what the layer knows; a piece that is not bounced is aligned for its
//! device, and its bytes land where the caller wants them.

use super::bounce::BOUNCE_BYTES;
use crate::cache::{BLOCK_BYTES, BlobIndex, Layer, Residence};
use crate::erofs::Corrupt;
use crate::error::Error;
use crate::storage::{DeviceId, Storage};

/// A read through a layer is cut into pieces of at most this, so that the check or the copy of
/// one piece overlaps with the transfer of the next.
const PIECE_BYTES_MAX: u64 = 256 << 10;

pub const BLOCK: u64 = 4096;
pub const BLOCK_SHIFT: u32 = 12;

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
pub enum Origin {
    Zeros,
    Staged { slot: u32, block: usize },
    Region { slot: u32, block: usize },
    Source,
}

/// A part of an extent that one transfer serves.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Bytes of the caller's buffer.
    pub len: usize,
    /// The device slot.
    pub slot: u16,
    /// First byte of the transfer in the slot; a multiple of the granule.
    pub start: u64,
    /// Bytes between `start` and the first wanted byte; more than 0 only if bounced or staged.
    pub skip: usize,
    /// Bytes of the transfer if it is bounced.
    pub span: Option<usize>,
    /// Where it is read from.
    pub origin: Origin,
}

impl Piece {
    /// First byte of the slot behind the transfer.
    pub fn end(&self) -> u64 {
        let bytes = u64::try_from(self.span.unwrap_or(self.len)).unwrap_or(u64::MAX);
        self.start.saturating_add(bytes)
    }
}

/// The piece that serves `extent` from byte `done` on.
pub fn cut<S: Storage, L: Layer<S>>(
    layer: &L,
    sources: &[Source],
    extent: &Extent,
    done: u64,
) -> Result<Piece, Error> {
    let (slot, at, len) = match *extent {
        Extent::Hole(len) => {
            let len = usize::try_from(len.saturating_sub(done)).unwrap_or(usize::MAX);
            return Ok(Piece {
                len,
                slot: 0,
                start: 0,
                skip: 0,
                span: None,
                origin: Origin::Zeros,
            });
        }
        Extent::Blob { slot, at, len } => (slot, at.saturating_add(done), len.saturating_sub(done)),
    };
    let Some(source) = sources.get(usize::from(slot)).copied() else {
        let slots = u16::try_from(sources.len()).unwrap_or(u16::MAX).saturating_sub(1);
        return Err(Error::Corrupt(Corrupt::NoSlot { slot, slots }));
    };
    if at.checked_add(len).is_none_or(|end| end > source.bytes) {
        return Err(Error::Corrupt(Corrupt::BeyondBlob { slot, at, len, blob: source.bytes }));
    }
    let granule = if source.blob.is_some() { BLOCK } else { source.sector };
    let start = at & !granule.wrapping_sub(1);
    let (origin, run_end) = origin(layer, &source, start, at.saturating_add(len));
    let len = len.min(run_end.saturating_sub(at));
    if let Origin::Staged { .. } = origin {
        let skip = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        return Ok(Piece { len, slot, start, skip, span: None, origin });
    }
    let max = match (source.blob, origin) {
        (None, _) => source.transfer_max,
        // What fails its check goes to the source, in the same piece.
        (Some(_), Origin::Region { .. }) => {
            PIECE_BYTES_MAX.min(source.transfer_max).min(layer.transfer_bytes_max())
        }
        (Some(_), _) => PIECE_BYTES_MAX.min(source.transfer_max),
    };
    Ok(shape(&source, slot, (granule, max), (start, at, len), origin))
}

/// Where the block at `start` is, and how far, at least a block and about as far as `end`,
/// the same can be said of what follows it side by side.
pub fn origin<S: Storage, L: Layer<S>>(
    layer: &L,
    source: &Source,
    start: u64,
    end: u64,
) -> (Origin, u64) {
    let Some(blob) = source.blob else { return (Origin::Source, u64::MAX) };
    let first = start / BLOCK;
    let (residence, run) = layer.locate(blob, first);
    let mut reached = advance(start, run);
    match residence {
        Residence::Staged { slot, block } => {
            let bytes = layer.staged(slot, block).map_or(0, <[u8]>::len);
            (
                Origin::Staged { slot, block },
                start.saturating_add(u64::try_from(bytes).unwrap_or(0)).min(reached),
            )
        }
        Residence::Resident { slot, block } => {
            let (_, place) = layer.place(slot, block);
            while reached < end && reached.saturating_sub(start) < PIECE_BYTES_MAX {
                let (Residence::Resident { slot, block }, run) =
                    layer.locate(blob, reached / BLOCK)
                else {
                    break;
                };
                let adjoins = place.checked_add(reached.saturating_sub(start))
                    == Some(layer.place(slot, block).1);
                if !adjoins {
                    break;
                }
                reached = advance(reached, run);
            }
            (Origin::Region { slot, block }, reached)
        }
        Residence::Absent => {
            while reached < end && reached.saturating_sub(start) < PIECE_BYTES_MAX {
                let (Residence::Absent, run) = layer.locate(blob, reached / BLOCK) else {
                    break;
                };
                reached = advance(reached, run);
            }
            (Origin::Source, reached)
        }
    }
}

/// Device and byte offset of byte `start` of a slot at its source.
pub fn at_source(sources: &[Source], slot: u16, start: u64) -> (DeviceId, u64) {
    // `cut` found the source; without one the device does not exist, and the transfer fails.
    let source = sources.get(usize::from(slot));
    source.map_or((DeviceId::NONE, 0), |source| (source.device, source.base.saturating_add(start)))
}

/// Bytes that a source has from `start` on in whole sectors, at most `len`.
pub fn clipped(source: &Source, start: u64, len: usize) -> usize {
    let below = source.sector.wrapping_sub(1);
    let end = source.bytes.saturating_add(below) & !below;
    len.min(usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX))
}

fn advance(at: u64, blocks: usize) -> u64 {
    at.saturating_add(u64::try_from(blocks).unwrap_or(u64::MAX).saturating_mul(BLOCK))
}

/// Decides between a transfer of at most `max` bytes straight into the caller's buffer and a
/// bounced one. `at` lies in the granule that begins at `start`; `len` bytes are wanted from
/// there.
fn shape(
    source: &Source,
    slot: u16,
    (granule, max): (u64, u64),
    (start, at, len): (u64, u64, u64),
    origin: Origin,
) -> Piece {
    let below = granule.wrapping_sub(1);
    let skip = at.saturating_sub(start);
    // The end of a slot may lie inside a granule: a source then has no more to give.
    let ends = origin == Origin::Source
        && at.saturating_add(len) == source.bytes
        && len & source.sector.wrapping_sub(1) == 0;
    let direct = if ends && len <= max { len } else { (len & !below).min(max & !below) };
    let as_len = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    if skip == 0 && direct > 0 {
        return Piece { len: as_len(direct), slot, start, skip: 0, span: None, origin };
    }
    let room = u64::try_from(BOUNCE_BYTES).unwrap_or(0).min(max & !below);
    // All of it in one bounce if it fits; else just the unaligned front.
    let fits = skip.saturating_add(len) <= room;
    let wanted = if fits { len } else { granule.saturating_sub(skip).min(len) };
    let span = as_len(skip.saturating_add(wanted).saturating_add(below) & !below);
    let span = if origin == Origin::Source { clipped(source, start, span) } else { span };
    Piece { len: as_len(wanted), slot, start, skip: as_len(skip), span: Some(span), origin }
}

const _: () = assert!(BOUNCE_BYTES >= 2 * BLOCK_BYTES);
