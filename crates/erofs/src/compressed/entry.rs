//! The entry of an lcluster in an index; in the full form it has 8 bytes.
//!
//! Always: the extent of a head begins within its lcluster; a distance may be any number.

use super::super::block::Nid;
use super::super::error::FormatError;
use super::super::record::Record;
use super::corrupt::MapFault;
use super::header::Advise;

const TYPE_MASK: u16 = 3;
const PLAIN: u16 = 0;
const HEAD_1: u16 = 1;
const NONHEAD: u16 = 2;
const HOLE: u16 = 1 << 14;
const PARTIAL: u16 = 1 << 15;
/// The flag of a block count, which stands in place of a distance back of 1.
const BLOCK_COUNT: u16 = 1 << 11;

/// The entry of an lcluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An extent begins in the lcluster.
    Head(Head),
    /// An extent begins before the lcluster and ends after it (NONHEAD).
    NonHead(NonHead),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: HeadKind,
    /// The byte of the lcluster at which the extent begins.
    pub offset: u64,
    /// The first block of the pcluster; has other meanings in extents without one.
    pub block: u32,
    pub partial: bool,
    pub hole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    Plain,
    First,
    Second,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonHead {
    /// The number of lclusters before this one at which to look for the head.
    pub back: u64,
    /// The number of lclusters after this one at which to look for the next head; 0 in old images.
    pub ahead: u64,
    /// The blocks of the pcluster; only in the lcluster after the head.
    pub blocks: Option<u32>,
}

impl HeadKind {
    /// Returns the kind of head for the type of an lcluster; `None` if the lcluster is not a head.
    pub fn from_type(kind: u16) -> Option<Self> {
        match kind & TYPE_MASK {
            PLAIN => Some(Self::Plain),
            HEAD_1 => Some(Self::First),
            NONHEAD => None,
            _ => Some(Self::Second),
        }
    }
}

/// Splits the low bits of an lcluster that is not a head. Returns the distance back to the head,
/// and the block count if there is one.
pub fn distance(low: u16) -> (u64, Option<u32>) {
    if low & BLOCK_COUNT == 0 {
        (u64::from(low), None)
    } else {
        (1, Some(u32::from(low & !BLOCK_COUNT)))
    }
}

/// Refuses a head whose extent begins at byte `offset` of an lcluster of `bytes` bytes, if that is
/// after the lcluster.
pub fn check_offset(nid: Nid, lcluster: u64, offset: u64, bytes: u64) -> Result<(), FormatError> {
    if offset < bytes {
        return Ok(());
    }
    Err(MapFault::HeadOffset { lcluster, offset, bytes }.of(nid))
}

/// Parses an entry of the full form.
pub fn from_full(
    nid: Nid,
    advise: Advise,
    lcluster: u64,
    lcluster_bytes: u64,
    bytes: &[u8; 8],
) -> Result<Entry, FormatError> {
    let raw = Record(bytes);
    let flags = raw.u16::<0>();
    let Some(kind) = HeadKind::from_type(flags) else {
        let (back, blocks) = distance(raw.u16::<4>());
        if blocks.is_some() && !advise.has(Advise::BIG_1) && !advise.has(Advise::BIG_2) {
            return Err(MapFault::BlockCount { lcluster }.of(nid));
        }
        return Ok(Entry::NonHead(NonHead { back, ahead: u64::from(raw.u16::<6>()), blocks }));
    };
    let offset = u64::from(raw.u16::<2>());
    check_offset(nid, lcluster, offset, lcluster_bytes)?;
    let (partial, hole) = (flags & PARTIAL != 0, flags & HOLE != 0);
    Ok(Entry::Head(Head { kind, offset, block: raw.u32::<4>(), partial, hole }))
}
