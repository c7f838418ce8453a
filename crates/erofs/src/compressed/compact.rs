//! Compact indexes: packs of 2 lclusters in 8 bytes, or of 16 in 32, each with one block number.
//!
//! Always: a pack lies at a multiple of its length; loops go over the items of one pack.
//!
//! An item has type and low bits: of a head where it begins, of the others the distance back (a
//! block count in the lcluster after a head of a large pcluster), and in the last item of a pack
//! the distance to the next head. The block number is that of the block before the pack's first
//! pcluster, or of the first itself where pclusters may be large.

use super::super::block::Nid;
use super::super::corrupt::{Corrupt, Part};
use super::super::error::{FormatError, Unsupported};
use super::corrupt::MapFault;
use super::entry::{Behind, Entry, Head, HeadKind, check_offset, distance};
use super::header::Advise;
use rootlet_base::num::{Bug, OrBug, index, low16, low32};
use rootlet_base::units::Pow2;

/// Low bits hold a block count and its flag at least.
const LOW_BITS_MIN: u32 = 12;
/// Bits of an lcluster that an item of 4 bytes, and one of 2, has room for.
const BITS_MAX_4B: u32 = 14;
const BITS_MAX_2B: u32 = 12;

/// Bytes of a short pack, which has 2 lclusters, and of a long one, which has 16.
const SHORT_BYTES: u64 = 8;
const LONG_BYTES: u64 = 32;

/// Where the packs of each length begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packs {
    nid: Nid,
    at: u64,
    /// Lclusters in short packs, so that the long ones begin at a multiple of 32 bytes.
    initial: u64,
    /// Lclusters in long packs, a multiple of 16. What is left is in short ones.
    long: u64,
    lcluster: Pow2,
}

/// The place of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The first byte of the pack.
    pub pack: u64,
    /// The byte after it.
    pub pack_end: u64,
    /// Whether the pack has 32 bytes, else 8.
    pub long: bool,
    /// Which item of the pack it is, from 0.
    pub number: u32,
}

impl Packs {
    /// `blocks` is the size of the file in blocks: Linux counts these, not lclusters.
    pub fn new(
        nid: Nid,
        advise: Advise,
        at: u64,
        blocks: u64,
        lcluster: Pow2,
    ) -> Result<Self, FormatError> {
        let initial = (at.wrapping_neg() & 31) / 4;
        let long = match blocks.checked_sub(initial) {
            Some(rest) if advise.has(Advise::COMPACT_2B) => rest & !15,
            _ => 0,
        };
        let bits_max = if long == 0 { BITS_MAX_4B } else { BITS_MAX_2B };
        if lcluster.bits() > bits_max {
            return Err(Unsupported::LclusterBits { nid, bits: lcluster.bits() }.into());
        }
        Ok(Self { nid, at, initial, long, lcluster })
    }

    /// Returns where lcluster `lcluster` is.
    ///
    /// # Errors
    /// Corrupt when its pack lies beyond 64 bits.
    pub fn item(&self, lcluster: u64) -> Result<Item, FormatError> {
        let item = match lcluster.checked_sub(self.initial) {
            None => short_item(self.at, lcluster),
            Some(between) => self.item_after(between),
        };
        item.ok_or(Corrupt::Overflow(Part::CompressedMap(self.nid)).into())
    }

    /// Returns the item of the lcluster that has `between` others between it and the initial ones.
    fn item_after(&self, between: u64) -> Option<Item> {
        let at = self.at.checked_add(self.initial.checked_mul(4)?)?;
        match between.checked_sub(self.long) {
            None => {
                let pack = at.checked_add((between / 16).checked_mul(LONG_BYTES)?)?;
                let pack_end = pack.checked_add(LONG_BYTES)?;
                Some(Item { pack, pack_end, long: true, number: low32(between & 15) })
            }
            Some(rest) => short_item(at.checked_add(self.long.checked_mul(2)?)?, rest),
        }
    }

    /// Parses item `number` of a pack: 8 bytes or 32.
    pub fn parse(
        &self,
        advise: Advise,
        lcluster: u64,
        number: u32,
        bytes: &[u8],
    ) -> Result<Entry, FormatError> {
        let (items, item_bits) = if bytes.len() > 8 { (16, 14) } else { (2, 16) };
        let low_bits = self.lcluster.bits().max(LOW_BITS_MIN);
        let pack = Pack { nid: self.nid, lcluster, number, bytes, items, item_bits, low_bits };
        let (kind, low) = pack.get(number)?;
        let Some(kind) = kind else {
            return pack.behind(advise).map(Entry::Behind);
        };
        let offset = u64::from(low);
        check_offset(self.nid, lcluster, offset, self.lcluster.get())?;
        let before =
            if advise.has(Advise::BIG_1) { pack.blocks_before()? } else { pack.heads_up_to()? };
        // Wraps: a pack before the first block holds all ones.
        let block = pack.block()?.wrapping_add(before);
        Ok(Entry::Head(Head { kind, offset, block, partial: false, hole: false }))
    }
}

/// Returns the item of the lcluster that has `before` others before it in short packs from `at` on.
fn short_item(at: u64, before: u64) -> Option<Item> {
    let pack = at.checked_add((before / 2).checked_mul(SHORT_BYTES)?)?;
    let pack_end = pack.checked_add(SHORT_BYTES)?;
    Some(Item { pack, pack_end, long: false, number: low32(before & 1) })
}

/// A pack, and the item in it that is asked for.
struct Pack<'b> {
    nid: Nid,
    /// The lcluster of the item.
    lcluster: u64,
    /// Which item of the pack it is, from 0.
    number: u32,
    bytes: &'b [u8],
    items: u32,
    item_bits: u32,
    low_bits: u32,
}

impl Pack<'_> {
    /// Returns the 32 bits from byte `at` on.
    fn u32_at(&self, at: u32) -> Result<u32, FormatError> {
        let raw = self.bytes.get(index(at)..).and_then(|tail| tail.first_chunk()).or_bug()?;
        Ok(u32::from_le_bytes(*raw))
    }

    /// Returns the block number that follows the items.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 16 items of 16 bits")]
    fn block(&self) -> Result<u32, FormatError> {
        self.u32_at(self.items * self.item_bits / 8)
    }

    /// Returns type and low bits of an item.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 16 items of 16 bits")]
    fn get(&self, number: u32) -> Result<(Option<HeadKind>, u16), FormatError> {
        let bit = number * self.item_bits;
        let value = self.u32_at(bit / 8)? >> (bit & 7);
        let low = value & ((1 << self.low_bits) - 1);
        Ok((HeadKind::from_type(low16(value >> self.low_bits)), low16(low)))
    }

    fn behind(&self, advise: Advise) -> Result<Behind, FormatError> {
        let (_, low) = self.get(self.number)?;
        let (mut back, blocks) = distance(low);
        if blocks.is_some() && !advise.has(Advise::BIG_1) {
            return Err(MapFault::BlockCount { lcluster: self.lcluster }.of(self.nid));
        }
        if blocks.is_none() && self.number == self.last() {
            // Its low bits look ahead; back is one more than of the item before it.
            let (kind, low) = self.get(self.number.checked_sub(1).or_bug()?)?;
            back = if kind.is_some() { 1 } else { one_more(distance(low).0) };
        }
        Ok(Behind { back, ahead: self.ahead()?, blocks })
    }

    #[expect(clippy::arithmetic_side_effects, reason = "a pack has 2 items or 16")]
    fn last(&self) -> u32 {
        self.items - 1
    }

    /// Returns the distance to the next head, or to the next pack if that is not known.
    fn ahead(&self) -> Result<u64, FormatError> {
        for (ahead, item) in (0_u64..).zip(self.number..self.items) {
            let (kind, low) = self.get(item)?;
            if kind.is_some() {
                return Ok(ahead);
            }
            if item == self.last() {
                let next = if let (next @ 1.., None) = distance(low) { next } else { 1 };
                // The item is one of 16, and the distance has 11 bits.
                return Ok(ahead.checked_add(next).or_bug()?);
            }
        }
        Err(Bug::here().into())
    }

    /// Returns how many pclusters of one block end with that of this head.
    #[expect(clippy::arithmetic_side_effects, reason = "at most one for each of 16 items")]
    fn heads_up_to(&self) -> Result<u32, FormatError> {
        let (mut item, mut blocks) = (self.number, 1);
        // The item falls with each turn.
        while let Some(before) = item.checked_sub(1) {
            let (kind, low) = self.get(before)?;
            let skip = if kind.is_some() { 0 } else { u32::from(low) };
            // Without it the head lies in an earlier pack.
            let Some(head) = before.checked_sub(skip) else { break };
            blocks += 1;
            item = head;
        }
        Ok(blocks)
    }

    /// Returns how many blocks the pclusters before this head have.
    ///
    /// # Errors
    /// Corrupt when an item without a block count stands between it and its head.
    #[expect(clippy::arithmetic_side_effects, reason = "16 items with counts of 11 bits")]
    fn blocks_before(&self) -> Result<u32, FormatError> {
        let (mut item, mut blocks) = (self.number, 0);
        // The item falls with each turn.
        while let Some(before) = item.checked_sub(1) {
            let (kind, low) = self.get(before)?;
            let skip = match (kind, distance(low)) {
                (Some(_), _) => {
                    blocks += 1;
                    0
                }
                (None, (_, Some(count))) => {
                    blocks += count;
                    1
                }
                // The item with the count follows the head.
                (None, (back @ 2.., None)) => low32(back) - 2,
                (None, (back, None)) => return Err(self.lost_count(before, low32(back))?),
            };
            // Without it the head lies in an earlier pack.
            let Some(head) = before.checked_sub(skip) else { break };
            item = head;
        }
        Ok(blocks)
    }

    /// Returns the fault of an item whose block count is nowhere; a bug if there is no such item.
    fn lost_count(&self, item: u32, distance: u32) -> Result<FormatError, Bug> {
        let back = u64::from(self.number.checked_sub(item).or_bug()?);
        let lcluster = self.lcluster.checked_sub(back).or_bug()?;
        Ok(MapFault::PackDistance { lcluster, distance }.of(self.nid))
    }
}

#[expect(clippy::arithmetic_side_effects, reason = "a distance has 11 bits")]
const fn one_more(distance: u64) -> u64 {
    distance + 1
}
