//! Pieces: the parts of an extent that one transfer each can serve.
//!
//! Always: pure, given the layer's answers; a piece that is not bounced is aligned for its device,
//! and its bytes land in the caller's buffer.

use super::bounce::BOUNCE_BYTES;
use crate::cache::{BLOCK_BYTES, BlobIndex, Layer, Residence, Ticket};
use crate::erofs::Corrupt;
use crate::error::Error;
use crate::num::{Bug, OrBug, wide};
use crate::storage::{DeviceId, Storage, Vouch};
use crate::units::{BLOCK, ByteRange, DeviceSlot, Pow2};

/// The longest piece of a read through a layer, so that the check or the copy of one piece overlaps
/// with the transfer of the next.
const PIECE_BYTES_MAX: u64 = 256 << 10;

/// The source of a device slot: a device, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The device that holds them.
    pub device: DeviceId,
    /// The byte of the device that is byte 0 of the slot.
    pub base: u64,
    /// The length of the slot in bytes.
    pub bytes: u64,
    /// The sector size of the device.
    pub sector: Pow2,
    /// The longest transfer of the device, in bytes.
    pub transfer_max: u64,
    /// The layer's index of the slot's blob; `None` if the layer does not keep the blob.
    pub blob: Option<BlobIndex>,
    /// Whether the storage judges bytes that the layer has of the slot.
    pub pinned: bool,
}

impl Source {
    /// Returns the device, and the byte of the device that is byte `start` of the slot.
    pub fn at(&self, start: u64) -> Result<(DeviceId, u64), Bug> {
        Ok((self.device, self.base.checked_add(start).or_bug()?))
    }

    /// Returns the storage's judgement of `data`, which the layer holds as the bytes `cover` of the
    /// slot.
    pub fn vouch<S: Storage>(&self, storage: &S, cover: ByteRange, data: &[u8]) -> Vouch {
        if !self.pinned {
            return Vouch::Right;
        }
        let bytes = self.clipped(cover).and_then(|clipped| clipped.len().try_into().ok());
        match (self.at(cover.start()), bytes.and_then(|bytes: usize| data.get(..bytes))) {
            (Ok((device, at)), Some(data)) => storage.vouch(device, at, data),
            // The read of the source, which follows, returns the bug.
            _ => Vouch::Unknown,
        }
    }

    /// Returns the unit that transfers are aligned to: a block if the layer keeps the blob, else a
    /// sector.
    pub fn granule(&self) -> Pow2 {
        if self.blob.is_some() { BLOCK } else { self.sector }
    }

    /// Returns `cover`, which begins in the slot, cut to the end of the slot's last sector.
    pub fn clipped(&self, cover: ByteRange) -> Option<ByteRange> {
        Some(cover.take(self.sector.ceil(self.bytes)?.checked_sub(cover.start())?))
    }

    /// Returns the transfer that brings `want`: whole granules; from a source, at most up to the
    /// slot's last sector.
    pub fn cover(&self, want: ByteRange, residence: Residence) -> Option<ByteRange> {
        let granule = self.granule();
        let cover = ByteRange::new(granule.floor(want.start()), granule.ceil(want.end())?)?;
        if residence == Residence::Absent { self.clipped(cover) } else { Some(cover) }
    }

    /// Returns the residence of the first byte of `want`, and the front of `want` that shares it
    /// and is contiguous there.
    pub fn locate<S: Storage, L: Layer<S>>(
        &self,
        layer: &L,
        want: ByteRange,
    ) -> Result<(Residence, ByteRange), Bug> {
        let Some(blob) = self.blob else { return Ok((Residence::Absent, want)) };
        let (residence, end) = layer.locate(blob, BLOCK.numbers(want));
        let part = match BLOCK.times(end) {
            Some(end) => want.take(end.checked_sub(want.start()).or_bug()?),
            // The range ends with the last block that 64 bits can count.
            None => want,
        };
        Ok((residence, part.non_empty().or_bug()?))
    }

    /// Returns the longest transfer, in bytes, of a piece with this residence.
    fn piece_max<S: Storage, L: Layer<S>>(&self, layer: &L, residence: Residence) -> u64 {
        match (self.blob, residence) {
            (None, _) => self.transfer_max,
            // A piece that fails its check is read from the source in one transfer, too.
            (Some(_), Residence::Resident(_)) => {
                PIECE_BYTES_MAX.min(self.transfer_max).min(layer.transfer_bytes_max())
            }
            (Some(_), _) => PIECE_BYTES_MAX.min(self.transfer_max),
        }
    }

    /// Returns the ticket for a region read of `cover`, which the layer has just found resident;
    /// `None` for a read of the source.
    pub fn ticket<S: Storage, L: Layer<S>>(
        &self,
        layer: &L,
        cover: ByteRange,
        residence: Residence,
    ) -> Result<Option<Ticket>, Bug> {
        match residence {
            Residence::Resident(first) => {
                layer.ticket(first, BLOCK.numbers(cover)).or_bug().map(Some)
            }
            Residence::Absent | Residence::Staged => Ok(None),
        }
    }
}

/// A merged run of bytes: zeros, or a range of one device slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// *n* zeros.
    Hole(u64),
    /// Bytes of a device slot.
    Blob {
        /// The device slot; 0 is the primary.
        slot: DeviceSlot,
        /// The bytes of the slot.
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

/// The origin of a piece's bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Origin {
    Zeros,
    Staged,
    Region(Ticket),
    Source,
}

/// A part of an extent that one transfer serves.
#[derive(Debug)]
pub struct Piece {
    /// The device slot.
    pub slot: DeviceSlot,
    /// The wanted bytes of the slot.
    pub want: ByteRange,
    /// The bytes of the slot that the transfer brings: `want`, or more if it is bounced.
    pub cover: ByteRange,
    /// The origin of the bytes.
    pub origin: Origin,
}

impl Piece {
    /// Returns whether the transfer lands in a bounce buffer.
    pub fn is_bounced(&self) -> bool {
        self.cover != self.want
    }

    /// Returns the wanted bytes, counted from the first byte of the transfer.
    pub fn wanted(&self) -> Result<ByteRange, Bug> {
        wanted(self.want, self.cover)
    }
}

/// Returns the bytes `want`, counted from the first byte of `cover`.
pub fn wanted(want: ByteRange, cover: ByteRange) -> Result<ByteRange, Bug> {
    let skip = want.start().checked_sub(cover.start()).or_bug()?;
    ByteRange::sized(skip, want.len()).or_bug()
}

/// Returns the source of the bytes `range` of a device slot.
///
/// # Errors
/// Corrupt if there is no such slot, or if the range ends after its source.
pub fn source_of(sources: &[Source], slot: DeviceSlot, range: ByteRange) -> Result<&Source, Error> {
    let Some(source) = sources.get(usize::from(slot.get())) else {
        let slots = u16::try_from(sources.len()).ok().and_then(|slots| slots.checked_sub(1));
        return Err(Corrupt::NoSlot { slot: slot.get(), slots: slots.or_bug()? }.into());
    };
    if range.end() > source.bytes {
        let (at, len, blob) = (range.start(), range.len(), source.bytes);
        return Err(Corrupt::BeyondBlob { slot: slot.get(), at, len, blob }.into());
    }
    Ok(source)
}

/// Returns the next piece of `extent`, from its byte `done` on: at least a byte.
pub fn cut<S: Storage, L: Layer<S>>(
    layer: &L,
    sources: &[Source],
    extent: &Extent,
    done: u64,
) -> Result<Piece, Error> {
    let (slot, range) = match *extent {
        Extent::Hole(len) => {
            let zeros = ByteRange::first(len).skip(done).non_empty().or_bug()?;
            return Ok(Piece {
                slot: DeviceSlot::PRIMARY,
                want: zeros,
                cover: zeros,
                origin: Origin::Zeros,
            });
        }
        Extent::Blob { slot, range } => (slot, range),
    };
    let source = source_of(sources, slot, range)?;
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

/// Returns the front of `want` that one piece serves, and the bytes of its transfer: at most `max`
/// bytes straight into the caller's buffer, or a bounced transfer. `None` if 64 bits do not hold
/// the rounded end.
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
        // The slot may end inside a granule: its source has no bytes after that.
        let ends = residence == Residence::Absent
            && want.end() == source.bytes
            && source.sector.offset(want.len()) == 0
            && want.len() <= max;
        let direct = if ends { want } else { want.take(granule.floor(want.len().min(max))) };
        if !direct.is_empty() {
            return Some((direct, direct));
        }
    }
    // All of `want` in one bounce if that fits; else only the unaligned front.
    let room = wide(BOUNCE_BYTES).min(granule.floor(max));
    let cover = source.cover(want, residence)?;
    let fits = granule.ceil(want.end())?.checked_sub(cover.start())? <= room;
    let want = if fits { want } else { granule.front(want) };
    Some((want, source.cover(want, residence)?))
}

const _: () = assert!(BOUNCE_BYTES >= BLOCK_BYTES, "a granule fits, be it a sector or a block");

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
        let blob = kept.then_some(BlobIndex::new(1));
        let sector = Pow2::of(sector).unwrap();
        let (device, base, pinned) = (DeviceId(3), 1 << 20, false);
        Source { device, base, bytes, sector, transfer_max, blob, pinned }
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
                true => Residence::Resident(crate::cache::Spot::ANY),
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
