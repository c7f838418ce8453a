//! A slot's descriptor inside its page: which part of which blob the slot holds, block by block.
//!
//! Always: a bit is set only for a block whose data was flushed before (O3); the checksum beside
//! it is that of the block's bytes.

use super::bytes::{put, u16_at, u32_at, u64_at};
use super::geometry::{PAGE_HEADER_BYTES, SlotSize};

pub(super) mod at {
    pub const BLOB: usize = 0;
    pub const STATE: usize = 2;
    pub const CLASS: usize = 3;
    pub const SLOT_GENERATION: usize = 4;
    pub const BLOB_GENERATION: usize = 8;
    pub const WINDOW: usize = 16;
    pub const BITMAP: usize = super::super::geometry::DESCRIPTOR_HEADER_BYTES;
}

pub(super) const LIVE: u8 = 1;

/// The fixed part of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Head {
    /// Index into the blob table.
    pub blob: u16,
    /// Whether the slot holds anything; all else is 0 or stale if not.
    pub live: bool,
    /// Place in the eviction queues: frequency (0 to 3) and queue, see `evict`.
    pub class: u8,
    /// Raised whenever the slot gets another content.
    pub slot_generation: u32,
    /// Generation of the blob entry it was filled for.
    pub blob_generation: u32,
    /// Which slot-sized window of the blob it holds.
    pub window: u64,
}

/// Byte offset of descriptor `index` in its page.
pub(super) fn start(size: SlotSize, index: u32) -> usize {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    PAGE_HEADER_BYTES.saturating_add(index.saturating_mul(size.descriptor_bytes()))
}

/// The fixed part of descriptor `index` of `page`.
pub fn head(page: &[u8], size: SlotSize, index: u32) -> Head {
    let raw = page.get(start(size, index)..).unwrap_or_default();
    let [state, class] = super::bytes::array(raw, at::STATE);
    Head {
        blob: u16_at(raw, at::BLOB),
        live: state == LIVE,
        class,
        slot_generation: u32_at(raw, at::SLOT_GENERATION),
        blob_generation: u32_at(raw, at::BLOB_GENERATION),
        window: u64_at(raw, at::WINDOW),
    }
}

/// Writes the fixed part of descriptor `index`; clears its bitmap if `fresh`.
pub fn set_head(page: &mut [u8], size: SlotSize, index: u32, head: &Head, fresh: bool) {
    let Some(raw) = page.get_mut(start(size, index)..) else { return };
    put(raw, at::BLOB, &head.blob.to_le_bytes());
    put(raw, at::STATE, &[if head.live { LIVE } else { 0 }, head.class]);
    put(raw, at::SLOT_GENERATION, &head.slot_generation.to_le_bytes());
    put(raw, at::BLOB_GENERATION, &head.blob_generation.to_le_bytes());
    put(raw, at::WINDOW, &head.window.to_le_bytes());
    if fresh
        && let Some(bitmap) =
            raw.get_mut(at::BITMAP..).and_then(|rest| rest.get_mut(..size.bitmap_bytes()))
    {
        bitmap.fill(0);
    }
}

/// Writes queue and frequency of descriptor `index`.
pub fn set_class(page: &mut [u8], size: SlotSize, index: u32, class: u8) {
    put(page, start(size, index).saturating_add(at::CLASS), &[class]);
}

/// Whether the bit of `block` is set.
pub fn resident(page: &[u8], size: SlotSize, index: u32, block: usize) -> bool {
    let byte = start(size, index).saturating_add(at::BITMAP).saturating_add(block >> 3);
    page.get(byte).is_some_and(|bits| (bits >> (block & 7)) & 1 == 1)
}

/// Sets the bit of `block`.
pub fn set_resident(page: &mut [u8], size: SlotSize, index: u32, block: usize) {
    let byte = start(size, index).saturating_add(at::BITMAP).saturating_add(block >> 3);
    if let Some(bits) = page.get_mut(byte) {
        *bits |= 1 << (block & 7);
    }
}

/// Number of set bits.
pub fn resident_count(page: &[u8], size: SlotSize, index: u32) -> u32 {
    let first = start(size, index).saturating_add(at::BITMAP);
    let bits = page.get(first..).and_then(|rest| rest.get(..size.bitmap_bytes()));
    bits.unwrap_or_default().iter().fold(0, |sum: u32, byte| sum.saturating_add(byte.count_ones()))
}

fn sum_at(size: SlotSize, index: u32, block: usize) -> usize {
    start(size, index)
        .saturating_add(at::BITMAP)
        .saturating_add(size.bitmap_bytes())
        .saturating_add(block.saturating_mul(8))
}

/// The checksum of `block`.
pub fn sum(page: &[u8], size: SlotSize, index: u32, block: usize) -> u64 {
    u64_at(page, sum_at(size, index, block))
}

/// Sets the checksum of `block`; means nothing until its bit is set.
pub fn set_sum(page: &mut [u8], size: SlotSize, index: u32, block: usize, sum: u64) {
    put(page, sum_at(size, index, block), &sum.to_le_bytes());
}
