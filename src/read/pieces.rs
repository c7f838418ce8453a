//! Pieces: an extent cut into parts that one transfer each can serve.
//!
//! Always: pure, given what the layer knows; a piece that is not bounced is aligned for its
//! device, and its bytes land where the caller wants them.

use super::bounce::BOUNCE_BYTES;
use crate::cache::{BLOCK_BYTES, BlobIndex, Layer, Residence};
use crate::erofs::Corrupt;
use crate::error::Error;
use crate::num::{Bug, OrBug, wide};
use crate::storage::{DeviceId, Storage};
use crate::units::{ByteRange, Pow2};

/// A read through a layer is cut into pieces of at most this, so that the check or the copy of
/// one piece overlaps with the transfer of the next.
const PIECE_BYTES_MAX: u64 = 256 << 10;

pub const BLOCK: u64 = 4096;
pub const BLOCK_SHIFT: u32 = 12;
const BLOCKS: Pow2 = match Pow2::from_bits(BLOCK_SHIFT) {
    Some(block) => block,
    None => panic!("12 bits fit in 64"),
};
const _: () = assert!(BLOCKS.get() == BLOCK);

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
    pub sector: Pow2,
    /// Longest transfer of the device.
    pub transfer_max: u64,
    /// The layer's name for the slot's blob.
    pub blob: Option<BlobIndex>,
}

impl Source {
    /// Returns the device, and its byte that is byte `start` of the slot.
    pub fn at(&self, start: u64) -> Result<(DeviceId, u64), Bug> {
        Ok((self.device, self.base.checked_add(start).or_bug()?))
    }

    /// Returns what transfers begin and end at multiples of: blocks if a layer may take them.
    pub fn granule(&self) -> Pow2 {
        if self.blob.is_some() { BLOCKS } else { self.sector }
    }

    /// Returns at most `len` bytes: as many as the slot has from `start` on, in whole sectors.
    pub fn clipped(&self, start: u64, len: u64) -> Option<u64> {
        Some(len.min(self.sector.ceil(self.bytes)?.checked_sub(start)?))
    }
}

/// A merged run of bytes: zeros, or a range of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This many zeros.
    Hole(u64),
    /// Bytes of a slot.
    Blob {
        /// The device slot; 0 is the primary.
        slot: u16,
        /// Its bytes.
        range: ByteRange,
    },
}

impl Extent {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Hole(len) => *len,
            Self::Blob { range, .. } => range.len(),
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
        self.start.saturating_add(wide(self.span.unwrap_or(self.len)))
    }
}

/// The piece that serves `extent` from byte `done` on: at least a byte.
pub fn cut<S: Storage, L: Layer<S>>(
    layer: &L,
    sources: &[Source],
    extent: &Extent,
    done: u64,
) -> Result<Piece, Error> {
    let (slot, range) = match *extent {
        Extent::Hole(len) => {
            let len = len.checked_sub(done).and_then(|len| usize::try_from(len).ok());
            let len = len.filter(|len| *len > 0).or_bug()?;
            let origin = Origin::Zeros;
            return Ok(Piece { len, slot: 0, start: 0, skip: 0, span: None, origin });
        }
        Extent::Blob { slot, range } => (slot, range),
    };
    let Some(source) = sources.get(usize::from(slot)) else {
        let slots = u16::try_from(sources.len()).unwrap_or(u16::MAX).saturating_sub(1);
        return Err(Error::Corrupt(Corrupt::NoSlot { slot, slots }));
    };
    if range.end() > source.bytes {
        let (at, len, blob) = (range.start(), range.len(), source.bytes);
        return Err(Corrupt::BeyondBlob { slot, at, len, blob }.into());
    }
    let want = range.skip(done);
    let start = source.granule().floor(want.start());
    let (origin, run_end) = origin(layer, source, start, want.end());
    let want = want.take(run_end.checked_sub(want.start()).or_bug()?);
    let max = match (source.blob, origin) {
        (None, _) => source.transfer_max,
        // What fails its check goes to the source, in the same piece.
        (Some(_), Origin::Region { .. }) => {
            PIECE_BYTES_MAX.min(source.transfer_max).min(layer.transfer_bytes_max())
        }
        (Some(_), _) => PIECE_BYTES_MAX.min(source.transfer_max),
    };
    let piece = shape(source, slot, want, origin, max);
    Ok(piece.filter(|piece| piece.len > 0).or_bug()?)
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
            (Origin::Staged { slot, block }, start.saturating_add(wide(bytes)).min(reached))
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

fn advance(at: u64, blocks: usize) -> u64 {
    // A layer that knows no end says that everything follows.
    at.saturating_add(wide(blocks).saturating_mul(BLOCK))
}

/// Returns the piece that serves the front of `want`: a transfer of at most `max` bytes straight
/// into the caller's buffer, or a bounced one; `None` if there is none.
fn shape(source: &Source, slot: u16, want: ByteRange, origin: Origin, max: u64) -> Option<Piece> {
    let granule = source.granule();
    let (start, skip) = (granule.floor(want.start()), granule.offset(want.start()));
    let piece = |len: u64, span: Option<u64>| {
        let (len, skip) = (usize::try_from(len).ok()?, usize::try_from(skip).ok()?);
        let span = match span {
            Some(span) => Some(usize::try_from(span).ok()?),
            None => None,
        };
        Some(Piece { len, slot, start, skip, span, origin })
    };
    if let Origin::Staged { .. } = origin {
        return piece(want.len(), None);
    }
    // The end of a slot may lie inside a granule: a source then has no more to give.
    let ends = origin == Origin::Source
        && want.end() == source.bytes
        && source.sector.offset(want.len()) == 0;
    let direct =
        if ends && want.len() <= max { want.len() } else { granule.floor(want.len().min(max)) };
    if skip == 0 && direct > 0 {
        return piece(direct, None);
    }
    let room = wide(BOUNCE_BYTES).min(granule.floor(max));
    // All of it in one bounce if it fits; else just the unaligned front.
    let all = skip.checked_add(want.len())?;
    let last = if all <= room { all } else { granule.get().min(all) };
    let span = granule.ceil(last)?;
    let span = if origin == Origin::Source { source.clipped(start, span)? } else { span };
    piece(last.checked_sub(skip)?, Some(span))
}

const _: () = assert!(BOUNCE_BYTES >= 2 * BLOCK_BYTES);

#[cfg(test)]
mod tests {
    #![expect(
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        reason = "a test that panics has failed"
    )]
    use super::*;
    use proptest::prelude::*;

    fn source(sector: u64, bytes: u64, transfer_max: u64, kept: bool) -> Source {
        let blob = kept.then_some(BlobIndex(1));
        let sector = Pow2::of(sector).unwrap();
        Source { device: DeviceId(3), base: 1 << 20, bytes, sector, transfer_max, blob }
    }

    proptest! {
        /// Any part of any slot: the piece serves the front of it, by a transfer that its device
        /// takes and that has all its bytes, into memory that is there.
        #[test]
        fn piece_serves_the_front_of_what_is_wanted_by_a_transfer_that_its_device_takes(
            sector in prop::sample::select(&[1_u64, 512, 1024, 2048, 4096]),
            sectors_max in prop::sample::select(&[1_u64, 3, 8, 64, 256]),
            (bytes, at, len) in (1_u64..300_000, 0_u64..300_000, 1_u64..300_000),
            kept: bool,
            region: bool,
        ) {
            let max = if kept { (sector * sectors_max).max(4096) } else { sector * sectors_max };
            let source = source(sector, bytes, max, kept);
            let (at, len) = (at % bytes, len.min(bytes - at % bytes));
            let want = ByteRange::sized(at, len).unwrap();
            let origin = match region && kept {
                true => Origin::Region { slot: 5, block: 0 },
                false => Origin::Source,
            };
            let granule = source.granule().get();
            // A region takes whole blocks only.
            let max = if kept { max / 4096 * 4096 } else { max };
            let piece = shape(&source, 1, want, origin, max).unwrap();
            prop_assert!(piece.len > 0 && wide(piece.len) <= len);
            prop_assert_eq!(piece.start + wide(piece.skip), at);
            prop_assert_eq!(piece.start % granule, 0);
            let span = piece.end() - piece.start;
            prop_assert!(wide(piece.skip + piece.len) <= span && span <= max);
            match piece.span {
                Some(span) => prop_assert!(span <= BOUNCE_BYTES),
                None => prop_assert_eq!(piece.skip, 0),
            }
            if origin == Origin::Source {
                prop_assert_eq!(span % sector, 0, "whole sectors");
                prop_assert!(piece.end() <= bytes.next_multiple_of(sector), "no sector beyond");
                // The same read by way of the region, whose check failed.
                prop_assert_eq!(source.clipped(piece.start, span), Some(span));
            } else {
                prop_assert_eq!(span % 4096, 0, "whole blocks");
                let redirected = source.clipped(piece.start, span).unwrap();
                prop_assert!(redirected >= wide(piece.skip + piece.len), "all that is wanted");
                prop_assert!(piece.span.is_some() || redirected == span);
            }
            prop_assert_eq!(source.at(piece.start), Ok((DeviceId(3), (1 << 20) + piece.start)));
        }
    }

    #[test]
    fn slot_that_no_device_is_long_enough_for_is_a_bug_and_no_other_byte() {
        let mut source = source(512, u64::MAX, 4096, false);
        source.base = u64::MAX - 10;
        assert_eq!(source.at(10), Ok((DeviceId(3), u64::MAX)));
        assert!(source.at(11).is_err());
        assert_eq!(source.clipped(4096, 512), None);
    }
}
