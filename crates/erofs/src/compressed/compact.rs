//! Compact indexes: packs of 2 lclusters in 8 bytes, or of 16 in 32, each with one block number.
//!
//! Always: a pack lies at a multiple of its length; a loop runs over the items of one pack.
//!
//! An item has a type and low bits. The low bits of a head are its offset in the lcluster. Those of
//! other lclusters are the distance back to the head, or, in the lcluster after the head of a large
//! pcluster, its number of blocks; in the last item of a pack they are the distance ahead to the
//! next head. The block number of a pack is that of the block before its first pcluster, or of the
//! first pcluster itself if pclusters may be large.

use super::super::block::Nid;
use super::super::corrupt::{Corrupt, Part};
use super::super::error::{FormatError, Unsupported};
use super::corrupt::MapFault;
use super::entry::{Entry, Head, HeadKind, NonHead, check_offset, distance};
use super::header::Advise;
use rootlet_base::num::{Bug, OrBug, index, low16, low32};
use rootlet_base::units::Pow2;

/// The fewest low bits: they hold a block count and its flag.
const LOW_BITS_MIN: u32 = 12;
/// The most bits of an lcluster in items of 4 bytes.
const BITS_MAX_4B: u32 = 14;
/// The most bits of an lcluster in items of 2 bytes.
const BITS_MAX_2B: u32 = 12;

/// The length of a short pack, of 2 lclusters.
const SHORT_BYTES: u64 = 8;
/// The length of a long pack, of 16 lclusters.
const LONG_BYTES: u64 = 32;

/// The packs of an index: short ones, long ones, and short ones again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packs {
    nid: Nid,
    at: u64,
    /// The number of lclusters in the first short packs, after which a multiple of 32 bytes begins.
    initial: u64,
    /// The number of lclusters in long packs, a multiple of 16. The rest is in short packs.
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
    /// The number of the item in the pack, from 0.
    pub number: u32,
}

impl Packs {
    /// Returns the packs from byte `at` on. `blocks` is the size of the file in blocks: Linux
    /// counts blocks here, not lclusters.
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

    /// Returns the place of the item of lcluster `lcluster`.
    ///
    /// # Errors
    /// Corrupt when the end of its pack does not fit in 64 bits.
    pub fn item(&self, lcluster: u64) -> Result<Item, FormatError> {
        let item = match lcluster.checked_sub(self.initial) {
            None => short_item(self.at, lcluster),
            Some(between) => self.item_after(between),
        };
        item.ok_or(Corrupt::Overflow(Part::CompressedMap(self.nid)).into())
    }

    /// Returns the place of the item of lcluster `initial + between`.
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

    /// Parses item `number` of the pack `bytes`, of 8 or 32 bytes; the item is that of `lcluster`.
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
            return pack.non_head(advise).map(Entry::NonHead);
        };
        let offset = u64::from(low);
        check_offset(self.nid, lcluster, offset, self.lcluster.get())?;
        let before =
            if advise.has(Advise::BIG_1) { pack.blocks_before()? } else { pack.heads_up_to()? };
        // Wraps: the block before block 0 is all ones.
        let block = pack.block()?.wrapping_add(before);
        Ok(Entry::Head(Head { kind, offset, block, partial: false, hole: false }))
    }
}

/// Returns the place of item `before` of the short packs from byte `at` on.
fn short_item(at: u64, before: u64) -> Option<Item> {
    let pack = at.checked_add((before / 2).checked_mul(SHORT_BYTES)?)?;
    let pack_end = pack.checked_add(SHORT_BYTES)?;
    Some(Item { pack, pack_end, long: false, number: low32(before & 1) })
}

/// A pack, and the item in it that was asked for.
struct Pack<'b> {
    nid: Nid,
    /// The lcluster of the item.
    lcluster: u64,
    /// The number of the item in the pack, from 0.
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

    /// Returns the block number after the items.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 16 items of 16 bits")]
    fn block(&self) -> Result<u32, FormatError> {
        self.u32_at(self.items * self.item_bits / 8)
    }

    /// Returns the type and the low bits of item `number`.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 16 items of 16 bits")]
    fn get(&self, number: u32) -> Result<(Option<HeadKind>, u16), FormatError> {
        let bit = number * self.item_bits;
        let value = self.u32_at(bit / 8)? >> (bit & 7);
        let low = value & ((1 << self.low_bits) - 1);
        Ok((HeadKind::from_type(low16(value >> self.low_bits)), low16(low)))
    }

    fn non_head(&self, advise: Advise) -> Result<NonHead, FormatError> {
        let (_, low) = self.get(self.number)?;
        let (mut back, blocks) = distance(low);
        if blocks.is_some() && !advise.has(Advise::BIG_1) {
            return Err(MapFault::BlockCount { lcluster: self.lcluster }.of(self.nid));
        }
        if blocks.is_none() && self.number == self.last() {
            // Its low bits are the distance ahead. The distance back is 1 more than that of the
            // item before.
            let (kind, low) = self.get(self.number.checked_sub(1).or_bug()?)?;
            back = if kind.is_some() { 1 } else { one_more(distance(low).0) };
        }
        Ok(NonHead { back, ahead: self.ahead()?, blocks })
    }

    #[expect(clippy::arithmetic_side_effects, reason = "a pack has 2 items or 16")]
    fn last(&self) -> u32 {
        self.items - 1
    }

    /// Returns the distance to the next head, or to the next pack if the next head is not known.
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

    /// Returns the number of pclusters in the pack up to that of this head, with one block each.
    #[expect(clippy::arithmetic_side_effects, reason = "at most one for each of 16 items")]
    fn heads_up_to(&self) -> Result<u32, FormatError> {
        let (mut item, mut blocks) = (self.number, 1);
        // `item` decreases with each round.
        while let Some(before) = item.checked_sub(1) {
            let (kind, low) = self.get(before)?;
            let skip = if kind.is_some() { 0 } else { u32::from(low) };
            // Else the head lies in an earlier pack.
            let Some(head) = before.checked_sub(skip) else { break };
            blocks += 1;
            item = head;
        }
        Ok(blocks)
    }

    /// Returns the number of blocks of the pclusters in the pack before this head.
    ///
    /// # Errors
    /// Corrupt when an item lacks the block count of its pcluster.
    #[expect(clippy::arithmetic_side_effects, reason = "16 items with counts of 11 bits")]
    fn blocks_before(&self) -> Result<u32, FormatError> {
        let (mut item, mut blocks) = (self.number, 0);
        // `item` decreases with each round.
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
            // Else the head lies in an earlier pack.
            let Some(head) = before.checked_sub(skip) else { break };
            item = head;
        }
        Ok(blocks)
    }

    /// Returns the fault of item `item`, which lacks a block count; a bug if there is no such item.
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
