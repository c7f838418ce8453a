//! Pieces: an extent cut into parts that one transfer each can serve.
//!
//! Always: pure, given what the layer knows; a piece that is not bounced is aligned for its
//! device, and its bytes land where the caller wants them.

use super::bounce::BOUNCE_BYTES;
use crate::cache::{BLOCK_BYTES, BlobIndex, Layer, Residence, Ticket};
use crate::erofs::Corrupt;
use crate::error::Error;
use crate::num::{Bug, OrBug, wide};
use crate::storage::{DeviceId, Storage};
use crate::units::{BLOCK, ByteRange, Pow2};

/// A read through a layer is cut into pieces of at most this, so that the check or the copy of
/// one piece overlaps with the transfer of the next.
const PIECE_BYTES_MAX: u64 = 256 << 10;

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
        if self.blob.is_some() { BLOCK } else { self.sector }
    }

    /// Returns what a transfer that begins in the slot has of `cover`: the slot ends with a sector.
    pub fn clipped(&self, cover: ByteRange) -> Option<ByteRange> {
        Some(cover.take(self.sector.ceil(self.bytes)?.checked_sub(cover.start())?))
    }

    /// Returns the transfer that brings `want` from where it is: whole granules, or blocks of the
    /// region.
    pub fn cover(&self, want: ByteRange, residence: Residence) -> Option<ByteRange> {
        let granule = self.granule();
        let cover = ByteRange::new(granule.floor(want.start()), granule.ceil(want.end())?)?;
        if residence == Residence::Absent { self.clipped(cover) } else { Some(cover) }
    }

    /// Returns where the front of `want` is, and the part of `want` that is there side by side.
    pub fn locate<S: Storage, L: Layer<S>>(
        &self,
        layer: &L,
        want: ByteRange,
    ) -> Result<(Residence, ByteRange), Bug> {
        let Some(blob) = self.blob else { return Ok((Residence::Absent, want)) };
        let (residence, end) = layer.locate(blob, BLOCK.numbers(want));
        let part = match BLOCK.times(end) {
            Some(end) => want.take(end.checked_sub(want.start()).or_bug()?),
            // The last block that 64 bits can count.
            None => want,
        };
        Ok((residence, part.non_empty().or_bug()?))
    }

    /// Returns the longest transfer of bytes that are there, and that pass by way of `layer` if the
    /// slot has a blob.
    fn piece_max<S: Storage, L: Layer<S>>(&self, layer: &L, residence: Residence) -> u64 {
        match (self.blob, residence) {
            (None, _) => self.transfer_max,
            // What fails its check goes to the source, in the same piece.
            (Some(_), Residence::Resident) => {
                PIECE_BYTES_MAX.min(self.transfer_max).min(layer.transfer_bytes_max())
            }
            (Some(_), _) => PIECE_BYTES_MAX.min(self.transfer_max),
        }
    }

    /// Returns the ticket for the read of `cover` that the layer has just found resident; `None` for
    /// a read of the source.
    pub fn ticket<S: Storage, L: Layer<S>>(
        &self,
        layer: &L,
        cover: ByteRange,
        residence: Residence,
    ) -> Result<Option<Ticket>, Bug> {
        if residence != Residence::Resident {
            return Ok(None);
        }
        let ticket = self.blob.and_then(|blob| layer.ticket(blob, BLOCK.numbers(cover)));
        ticket.or_bug().map(Some)
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
    /// Returns the length in bytes.
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
    Staged,
    Region(Ticket),
    Source,
}

/// A part of an extent that one transfer serves.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// The device slot.
    pub slot: u16,
    /// The bytes of the slot that are wanted.
    pub want: ByteRange,
    /// The bytes of the transfer: those that are wanted, or more if it is bounced.
    pub cover: ByteRange,
    /// Where it is read from.
    pub origin: Origin,
}

impl Piece {
    /// Returns whether the transfer lands in a bounce buffer.
    pub fn is_bounced(&self) -> bool {
        self.cover != self.want
    }

    /// Returns which bytes of the transfer are wanted.
    pub fn wanted(&self) -> Result<ByteRange, Bug> {
        wanted(self.want, self.cover)
    }
}

/// Returns the place of `want` in the bytes `cover`.
pub fn wanted(want: ByteRange, cover: ByteRange) -> Result<ByteRange, Bug> {
    let skip = want.start().checked_sub(cover.start()).or_bug()?;
    ByteRange::sized(skip, want.len()).or_bug()
}

/// Returns the piece that serves `extent` from byte `done` on: at least a byte.
pub fn cut<S: Storage, L: Layer<S>>(
    layer: &L,
    sources: &[Source],
    extent: &Extent,
    done: u64,
) -> Result<Piece, Error> {
    let (slot, range) = match *extent {
        Extent::Hole(len) => {
            let zeros = ByteRange::first(len).skip(done).non_empty().or_bug()?;
            return Ok(Piece { slot: 0, want: zeros, cover: zeros, origin: Origin::Zeros });
        }
        Extent::Blob { slot, range } => (slot, range),
    };
    let Some(source) = sources.get(usize::from(slot)) else {
        let slots = u16::try_from(sources.len()).ok().and_then(|slots| slots.checked_sub(1));
        return Err(Corrupt::NoSlot { slot, slots: slots.or_bug()? }.into());
    };
    if range.end() > source.bytes {
        let (at, len, blob) = (range.start(), range.len(), source.bytes);
        return Err(Corrupt::BeyondBlob { slot, at, len, blob }.into());
    }
    let (residence, want) = source.locate(layer, range.skip(done))?;
    let max = source.piece_max(layer, residence);
    let (want, cover) = shape(source, want, residence, max).or_bug()?;
    let origin = match source.ticket(layer, cover, residence)? {
        Some(ticket) => Origin::Region(ticket),
        None if residence == Residence::Staged => Origin::Staged,
        None => Origin::Source,
    };
    Ok(Piece { slot, want: want.non_empty().or_bug()?, cover, origin })
}

/// Returns the front of `want` that one piece serves, and the bytes of its transfer: at most `max`,
/// straight into the caller's buffer or bounced. `None` if there is none.
fn shape(
    source: &Source,
    want: ByteRange,
    residence: Residence,
    max: u64,
) -> Option<(ByteRange, ByteRange)> {
    if residence == Residence::Staged {
        return Some((want, want));
    }
    let granule = source.granule();
    if granule.offset(want.start()) == 0 {
        // The end of a slot may lie inside a granule: a source then has no more to give.
        let ends = residence == Residence::Absent
            && want.end() == source.bytes
            && source.sector.offset(want.len()) == 0
            && want.len() <= max;
        let direct = if ends { want } else { want.take(granule.floor(want.len().min(max))) };
        if !direct.is_empty() {
            return Some((direct, direct));
        }
    }
    // All of it in one bounce if it fits; else just the unaligned front.
    let room = wide(BOUNCE_BYTES).min(granule.floor(max));
    let cover = source.cover(want, residence)?;
    let fits = granule.ceil(want.end())?.checked_sub(cover.start())? <= room;
    let want = if fits { want } else { granule.front(want) };
    Some((want, source.cover(want, residence)?))
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
            let residence = match region && kept {
                true => Residence::Resident,
                false => Residence::Absent,
            };
            let granule = source.granule().get();
            // A region takes whole blocks only.
            let max = if kept { max / 4096 * 4096 } else { max };
            let (piece, cover) = shape(&source, want, residence, max).unwrap();
            prop_assert!(!piece.is_empty() && piece.len() <= len);
            prop_assert_eq!(piece.start(), at);
            prop_assert_eq!(cover.start() % granule, 0);
            prop_assert!(piece.within(cover) && cover.len() <= max);
            if piece == cover {
                prop_assert_eq!(cover.start(), at);
            } else {
                prop_assert!(cover.len() <= wide(BOUNCE_BYTES));
            }
            if residence == Residence::Absent {
                prop_assert_eq!(cover.len() % sector, 0, "whole sectors");
                prop_assert!(cover.end() <= bytes.next_multiple_of(sector), "no sector beyond");
                // The same read by way of the region, whose check failed.
                prop_assert_eq!(source.clipped(cover), Some(cover));
            } else {
                prop_assert_eq!(cover.len() % 4096, 0, "whole blocks");
                let redirected = source.clipped(cover).unwrap();
                prop_assert!(piece.within(redirected), "all that is wanted");
                prop_assert!(piece != cover || redirected == cover);
            }
            let device = (DeviceId(3), (1 << 20) + cover.start());
            prop_assert_eq!(source.at(cover.start()), Ok(device));
        }
    }

    #[test]
    fn slot_that_no_device_is_long_enough_for_is_a_bug_and_no_other_byte() {
        let mut source = source(512, u64::MAX, 4096, false);
        source.base = u64::MAX - 10;
        assert_eq!(source.at(10), Ok((DeviceId(3), u64::MAX)));
        assert!(source.at(11).is_err());
        assert_eq!(source.clipped(ByteRange::sized(4096, 512).unwrap()), None);
    }
}
