//! Where everything lies in a region: pure arithmetic over the superblock's sizes.
//!
//! Always: every offset is in bytes from the start of the region and lies inside it, because
//! [`Geometry::new`] checked the whole layout once.

use super::format::DescriptorHead;
use crate::num;
use crate::units::{Pow2, RegionSlot};
use core::ops::Range;

/// The unit of the region's format as an offset, see [`super::BLOCK_BYTES`].
pub const BLOCK: u64 = num::wide(super::BLOCK_BYTES);

/// Block number of the second superblock copy; far enough from the first that one damaged
/// stripe of a 4K disk cannot take both.
const SUPERBLOCK_B: u64 = 16;
/// Block number of the boot trace, between the superblocks.
const BOOT_TRACE: u64 = 8;
/// Block number of the mark, after the second superblock.
const MARK: u64 = 24;
/// First block of the blob table.
const BLOB_TABLE: u64 = 32;
/// Pages of one copy of the blob table.
pub const BLOB_PAGES: u32 = 4;

/// A region with fewer descriptor pages has no hint: they are all read when it is mounted.
const HINT_FROM_PAGES: u32 = 64;
/// Buckets of the slot table that one page of the hint describes.
pub const HINT_BUCKETS: u32 = 256;

/// The most slots of a region.
const SLOTS_MAX: u32 = u32::MAX >> 1;
/// The most blocks a slot can have (1 MiB).
pub const SLOT_BLOCKS_MAX: usize = 256;

/// How much of a blob one slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SlotSize {
    /// 64 KiB, for regions up to some gigabytes.
    #[default]
    K64,
    /// 256 KiB.
    K256,
    /// 1 MiB, for regions of terabytes.
    M1,
}

impl SlotSize {
    /// Returns the slot size with this binary logarithm.
    pub fn from_shift(shift: u8) -> Option<Self> {
        match shift {
            16 => Some(Self::K64),
            18 => Some(Self::K256),
            20 => Some(Self::M1),
            _ => None,
        }
    }

    /// Returns the binary logarithm of the size in bytes.
    pub const fn shift(self) -> u8 {
        match self {
            Self::K64 => 16,
            Self::K256 => 18,
            Self::M1 => 20,
        }
    }

    /// Returns the size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::K64 => 0x1_0000,
            Self::K256 => 0x4_0000,
            Self::M1 => 0x10_0000,
        }
    }

    /// Returns the number of blocks of 4 KiB in a slot.
    pub const fn blocks(self) -> usize {
        match self {
            Self::K64 => 16,
            Self::K256 => 64,
            Self::M1 => 256,
        }
    }

    /// As [`SlotSize::blocks`].
    pub(super) fn block_count(self) -> Pow2 {
        match self {
            Self::K64 => const { Pow2::of(16).unwrap() },
            Self::K256 => const { Pow2::of(64).unwrap() },
            Self::M1 => const { Pow2::of(256).unwrap() },
        }
    }

    /// Returns how many bytes a descriptor's bitmap has: one bit a block, in whole 64-bit words.
    pub const fn bitmap_bytes(self) -> usize {
        match self {
            Self::K64 | Self::K256 => 8,
            Self::M1 => 32,
        }
    }

    /// Returns how many bits a descriptor's bitmap has, of which those after the last block are not used.
    #[expect(clippy::arithmetic_side_effects, reason = "the largest has 256")]
    pub(super) const fn bitmap_bits(self) -> usize {
        self.bitmap_bytes() * 8
    }

    /// Returns how many bytes one descriptor has.
    #[expect(clippy::arithmetic_side_effects, reason = "the largest has 2104")]
    pub const fn descriptor_bytes(self) -> usize {
        size_of::<DescriptorHead>() + self.bitmap_bytes() + self.blocks() * size_of::<u64>()
    }

    /// Returns how many bytes all descriptors of a page have.
    #[expect(clippy::arithmetic_side_effects, reason = "less than a page, as `format` asserts")]
    pub(super) const fn descriptors_bytes(self) -> usize {
        self.descriptor_bytes() * num::index(self.descriptors_per_page())
    }

    /// Returns where the bytes of descriptor `index` lie in the body of its page.
    #[expect(clippy::arithmetic_side_effects, reason = "asserted")]
    pub(super) const fn descriptor(self, index: u32) -> Range<usize> {
        assert!(index < self.descriptors_per_page(), "a page has fewer descriptors");
        let start = num::index(index) * self.descriptor_bytes();
        start..start + self.descriptor_bytes()
    }

    /// Returns the number of descriptors in one page.
    pub const fn descriptors_per_page(self) -> u32 {
        match self {
            Self::K64 => 25,
            Self::K256 => 7,
            Self::M1 => 1,
        }
    }
}

/// One of the two places of everything that is kept twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy2 {
    /// The first.
    A,
    /// The second.
    B,
}

impl Copy2 {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Returns the other one.
    pub fn twin(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The layout of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Size of a slot.
    slot_size: SlotSize,
    /// Number of slots.
    slots: u32,
    /// Descriptor pages of one copy.
    pages: u32,
    /// Where the first slot lies.
    slots_at: u64,
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "slots of a MiB, as many as there can be, and their pages end below 2^52"
)]
impl Geometry {
    /// Returns the layout for a region of `bytes`, with as many slots as fit; `None` if not even
    /// one slot does.
    pub fn for_region(bytes: u64, slot_size: SlotSize) -> Option<Self> {
        // Each slot more needs more room: the most that fit lie between these two.
        let (mut fits, mut too_many) = (0, SLOTS_MAX + 1);
        while too_many - fits > 1 {
            let slots = fits.midpoint(too_many);
            match Self::new(slot_size, slots, bytes) {
                Some(_) => fits = slots,
                None => too_many = slots,
            }
        }
        Self::new(slot_size, fits, bytes)
    }

    /// Returns the layout with this many slots, if it has any and fits in a region of `bytes`.
    pub fn new(slot_size: SlotSize, slots: u32, bytes: u64) -> Option<Self> {
        if slots == 0 || slots > SLOTS_MAX {
            return None;
        }
        let pages = slots.div_ceil(slot_size.descriptors_per_page());
        let mut geometry = Self { slot_size, slots, pages, slots_at: 0 };
        geometry.slots_at = match geometry.hint_pages() {
            0 => geometry.page_at(Copy2::B, pages),
            hint_pages => geometry.hint_at(hint_pages + 1),
        };
        (geometry.end() <= bytes).then_some(geometry)
    }

    fn end(&self) -> u64 {
        self.slots_at + u64::from(self.slots) * self.slot_size.bytes()
    }

    /// Returns where a superblock copy lies.
    pub fn superblock_at(copy: Copy2) -> u64 {
        match copy {
            Copy2::A => 0,
            Copy2::B => SUPERBLOCK_B << 12,
        }
    }

    /// Bytes from the start of the region that hold both superblocks.
    pub const HEAD_BYTES: usize = num::index(num::low32(BLOB_TABLE << 12));

    /// Where the boot trace lies.
    pub const BOOT_TRACE_AT: u64 = BOOT_TRACE << 12;

    /// Where the mark lies.
    pub const MARK_AT: u64 = MARK << 12;

    /// Returns where a copy of blob table page `page` lies.
    pub fn blob_page_at(copy: Copy2, page: u32) -> u64 {
        let first = match copy {
            Copy2::A => BLOB_TABLE,
            Copy2::B => BLOB_TABLE + u64::from(BLOB_PAGES),
        };
        (first + u64::from(page)) << 12
    }

    /// Returns where a copy of descriptor page `page` lies.
    pub fn page_at(&self, copy: Copy2, page: u32) -> u64 {
        let base = BLOB_TABLE + (u64::from(BLOB_PAGES) << 1);
        let first = match copy {
            Copy2::A => base,
            Copy2::B => base + u64::from(self.pages),
        };
        (first + u64::from(page)) << 12
    }

    /// Returns the number of pages of the hint, its head not counted; 0 if the region has none.
    pub fn hint_pages(&self) -> u32 {
        if self.pages < HINT_FROM_PAGES {
            return 0;
        }
        self.slots.next_power_of_two() / HINT_BUCKETS
    }

    /// Returns where page `page` of the hint lies, from 1 on; page 0 is its head.
    pub fn hint_at(&self, page: u32) -> u64 {
        self.page_at(Copy2::B, self.pages) + (u64::from(page) << 12)
    }

    /// Returns where the first slot lies.
    pub fn slots_at(&self) -> u64 {
        self.slots_at
    }

    /// Returns where block `block` of a slot lies.
    pub fn block_at(&self, slot: RegionSlot, block: usize) -> u64 {
        let slot_at = self.slots_at + (u64::from(slot.get()) << self.slot_size.shift());
        slot_at + (num::wide(block) << 12)
    }

    /// Returns where a slot ends.
    pub fn end_of(&self, slot: RegionSlot) -> u64 {
        self.block_at(slot, 0) + self.slot_size.bytes()
    }

    /// Returns the page that describes a slot, and the index of its descriptor in the page.
    pub fn place(&self, slot: RegionSlot) -> (u32, u32) {
        let per_page = self.slot_size.descriptors_per_page();
        (slot.get() / per_page, slot.get() % per_page)
    }

    /// Returns the slots that page `page` describes.
    pub fn slots_of(&self, page: u32) -> impl ExactSizeIterator<Item = RegionSlot> + use<> {
        let per_page = u64::from(self.slot_size.descriptors_per_page());
        let first = u64::from(page) * per_page;
        let slots = |end: u64| num::low32(end.min(self.slots.into()));
        (slots(first)..slots(first + per_page)).map(RegionSlot::new)
    }

    /// Returns the size of a slot.
    pub const fn slot_size(&self) -> SlotSize {
        self.slot_size
    }

    /// Returns the number of slots.
    pub const fn slots(&self) -> u32 {
        self.slots
    }

    /// Returns the number of descriptor pages of one copy.
    pub const fn pages(&self) -> u32 {
        self.pages
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "test code")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_layout_fits_and_leaves_less_than_a_slot(bytes in 0u64..1 << 44, shift in prop::sample::select(&[16u8, 18, 20])) {
            let size = SlotSize::from_shift(shift).unwrap();
            match Geometry::for_region(bytes, size) {
                Some(g) => {
                    prop_assert!(g.block_at(RegionSlot::new(g.slots - 1), 0) + size.bytes() <= bytes);
                    prop_assert!(Geometry::new(size, g.slots + 1, bytes).is_none() || g.slots == u32::MAX >> 1);
                    let (page, _) = g.place(RegionSlot::new(g.slots - 1));
                    prop_assert_eq!(page, g.pages - 1);
                    prop_assert!(g.page_at(Copy2::B, 0) >= g.page_at(Copy2::A, g.pages - 1) + BLOCK);
                }
                None => prop_assert!(Geometry::new(size, 1, bytes).is_none()),
            }
        }
    }
}
