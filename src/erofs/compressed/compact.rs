//! Compact indexes: packs of 2 lclusters in 8 bytes, or of 16 in 32, each with one block number.
//!
//! Always: a pack lies at a multiple of its length; loops go over the items of one pack.
//!
//! An item has type and low bits: of a head where it begins, of the others the distance back (a
//! block count in the lcluster behind a head of a large pcluster), and in the last item of a pack
//! the distance to the next head. The block number is that of the block before the pack's first
//! pcluster, or of the first itself where pclusters may be large.

use super::super::block::Nid;
use super::super::error::{FormatError, Unsupported};
use super::corrupt::MapFault;
use super::entry::{Behind, Entry, Head, HeadKind, check_offset, distance};
use super::header::Advise;

/// Low bits hold a block count and its flag at least.
const LOW_BITS_MIN: u32 = 12;
/// Bits of an lcluster that an item of 4 bytes, and one of 2, has room for.
const BITS_MAX_4B: u32 = 14;
const BITS_MAX_2B: u32 = 12;

/// Where the packs of each length begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packs {
    at: u64,
    /// Lclusters in short packs, so that the long ones begin at a multiple of 32 bytes.
    initial: u64,
    /// Lclusters in long packs, a multiple of 16. What is left is in short ones.
    long: u64,
    lcluster_bits: u32,
}

/// The place of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The first byte of the pack.
    pub pack: u64,
    /// Whether the pack has 32 bytes, else 8.
    pub long: bool,
    /// Which item of the pack it is.
    pub number: u32,
}

impl Item {
    /// The byte after the pack.
    pub fn pack_end(self) -> u64 {
        self.pack.saturating_add(if self.long { 32 } else { 8 })
    }
}

impl Packs {
    /// `blocks` is the size of the file in blocks: Linux counts these, not lclusters.
    pub fn new(
        nid: Nid,
        advise: Advise,
        at: u64,
        blocks: u64,
        lcluster_bits: u32,
    ) -> Result<Self, FormatError> {
        let initial = (at.wrapping_neg() & 31) / 4;
        let rest = blocks.saturating_sub(initial);
        let long = if advise.has(Advise::COMPACT_2B) { rest & !15 } else { 0 };
        let bits_max = if long == 0 { BITS_MAX_4B } else { BITS_MAX_2B };
        if lcluster_bits > bits_max {
            return Err(Unsupported::LclusterBits { nid, bits: lcluster_bits }.into());
        }
        Ok(Self { at, initial, long, lcluster_bits })
    }

    /// Where lcluster `lcluster` is.
    pub fn item(&self, lcluster: u64) -> Item {
        let Some(behind) = lcluster.checked_sub(self.initial) else {
            return short_item(self.at, lcluster);
        };
        let at = self.at.saturating_add(self.initial.saturating_mul(4));
        match behind.checked_sub(self.long) {
            None => {
                let pack = at.saturating_add((behind / 16).saturating_mul(32));
                Item { pack, long: true, number: low_u32(behind & 15) }
            }
            Some(rest) => short_item(at.saturating_add(self.long.saturating_mul(2)), rest),
        }
    }

    /// Parses item `number` of a pack: 8 bytes or 32.
    pub fn parse(
        &self,
        nid: Nid,
        advise: Advise,
        lcluster: u64,
        number: u32,
        bytes: &[u8],
    ) -> Result<Entry, FormatError> {
        let long = bytes.len() > 8;
        let low_bits = self.lcluster_bits.max(LOW_BITS_MIN);
        let (items, item_bits) = if long { (16, 14) } else { (2, 16) };
        let pack = Pack { bytes, items, item_bits, low_bits };
        let (kind, low) = pack.get(number);
        let Some(kind) = kind else {
            return pack.behind(nid, advise, lcluster, number).map(Entry::Behind);
        };
        let offset = u64::from(low);
        let lcluster_bytes = 1_u64.checked_shl(self.lcluster_bits).unwrap_or(0);
        check_offset(nid, lcluster, offset, lcluster_bytes)?;
        let before = if advise.has(Advise::BIG_1) {
            pack.blocks_before(number).map_err(|(item, distance)| {
                let lcluster = lcluster.saturating_sub(u64::from(number.saturating_sub(item)));
                MapFault::PackDistance { lcluster, distance }.of(nid)
            })?
        } else {
            pack.heads_up_to(number)
        };
        // Wraps: a pack before the first block holds all ones.
        let block = pack.block().wrapping_add(before);
        Ok(Entry::Head(Head { kind, offset, block, partial: false, hole: false }))
    }
}

fn short_item(at: u64, lcluster: u64) -> Item {
    let pack = at.saturating_add((lcluster / 2).saturating_mul(8));
    Item { pack, long: false, number: low_u32(lcluster & 1) }
}

fn low_u32(small: u64) -> u32 {
    u32::try_from(small).unwrap_or(0)
}

struct Pack<'b> {
    bytes: &'b [u8],
    items: u32,
    item_bits: u32,
    low_bits: u32,
}

impl Pack<'_> {
    fn u32_at(&self, at: u32) -> u32 {
        let tail = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..));
        tail.and_then(|tail| tail.first_chunk()).map_or(0, |raw| u32::from_le_bytes(*raw))
    }

    fn block(&self) -> u32 {
        self.u32_at(self.items.saturating_mul(self.item_bits) / 8)
    }

    /// Type and low bits of an item.
    fn get(&self, number: u32) -> (Option<HeadKind>, u16) {
        let bit = number.saturating_mul(self.item_bits);
        let value = self.u32_at(bit / 8).checked_shr(bit & 7).unwrap_or(0);
        let mask = !u32::MAX.checked_shl(self.low_bits).unwrap_or(0);
        let kind = value.checked_shr(self.low_bits).unwrap_or(0) & 3;
        let narrow = |value: u32| u16::try_from(value).unwrap_or(0);
        (HeadKind::from_type(narrow(kind)), narrow(value & mask))
    }

    fn behind(
        &self,
        nid: Nid,
        advise: Advise,
        lcluster: u64,
        number: u32,
    ) -> Result<Behind, FormatError> {
        let (_, low) = self.get(number);
        let (mut back, blocks) = distance(low);
        if blocks.is_some() && !advise.has(Advise::BIG_1) {
            return Err(MapFault::BlockCount { lcluster }.of(nid));
        }
        let last = number.saturating_add(1) == self.items;
        if last && blocks.is_none() {
            // Its low bits look ahead; back is one more than of the item before it.
            let (kind, low) = self.get(number.saturating_sub(1));
            back = if kind.is_some() { 1 } else { distance(low).0.saturating_add(1) };
        }
        Ok(Behind { back, ahead: self.ahead(number), blocks })
    }

    /// The distance from an item to the next head, or to the next pack if that is not known.
    fn ahead(&self, number: u32) -> u64 {
        let mut ahead = 0_u64;
        for item in number..self.items {
            let (kind, low) = self.get(item);
            if kind.is_some() {
                return ahead;
            }
            ahead = ahead.saturating_add(1);
            if item.saturating_add(1) == self.items
                && let (next, None) = distance(low)
            {
                return ahead.saturating_sub(1).saturating_add(next.max(1));
            }
        }
        ahead
    }

    /// How many pclusters of one block end with that of the head `number`.
    fn heads_up_to(&self, number: u32) -> u32 {
        let (mut item, mut blocks) = (number, 1_u32);
        // The item falls with each turn.
        while let Some(before) = item.checked_sub(1) {
            let (kind, low) = self.get(before);
            let skip = if kind.is_some() { 0 } else { u32::from(low) };
            let Some(head) = before.checked_sub(skip) else { break };
            blocks = blocks.saturating_add(1);
            item = head;
        }
        blocks
    }

    /// How many blocks the pclusters before the head `number` have; `Err` is an item without
    /// block count between it and its head, and its distance.
    fn blocks_before(&self, number: u32) -> Result<u32, (u32, u32)> {
        let (mut item, mut blocks) = (number, 0_u32);
        // The item falls with each turn.
        while let Some(before) = item.checked_sub(1) {
            item = match self.get(before) {
                (Some(_), _) => {
                    blocks = blocks.saturating_add(1);
                    before
                }
                (None, low) => match distance(low) {
                    (_, Some(count)) => {
                        blocks = blocks.saturating_add(count);
                        before.saturating_sub(1)
                    }
                    // The item with the count stands behind the head.
                    (back @ 2.., None) => before.saturating_sub(low_u32(back).saturating_sub(2)),
                    (back, None) => return Err((before, low_u32(back))),
                },
            };
        }
        Ok(blocks)
    }
}
