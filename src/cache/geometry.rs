//! Where everything lies in a region: pure arithmetic over the superblock's sizes.
//!
//! Always: every offset is in bytes from the start of the region and lies inside it, because
//! [`Geometry::new`] checked the whole layout once.

/// The unit of the region's format as an offset, see [`super::BLOCK_BYTES`].
pub const BLOCK: u64 = 4096;

/// Block number of the second superblock copy; far enough from the first that one damaged
/// stripe of a 4K disk cannot take both.
const SUPERBLOCK_B: u64 = 16;
/// Block number of the boot trace, between the superblocks.
const BOOT_TRACE: u64 = 8;
/// Block number of the mark, behind the second superblock.
const MARK: u64 = 24;
/// First block of the blob table.
const BLOB_TABLE: u64 = 32;
/// Pages of one copy of the blob table.
pub const BLOB_PAGES: u32 = 4;

/// A region with fewer descriptor pages has no hint: they are all read when it is mounted.
const HINT_FROM_PAGES: u32 = 64;
/// Buckets of the slot table that one page of the hint describes.
pub const HINT_BUCKETS: u32 = 256;

/// Header of a page, see FORMAT.md.
pub const PAGE_HEADER_BYTES: usize = 64;
/// Fixed part of a descriptor, before its bitmap and its checksums.
pub const DESCRIPTOR_HEADER_BYTES: usize = 24;
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
    /// The slot size with this binary logarithm.
    pub fn from_shift(shift: u8) -> Option<Self> {
        match shift {
            16 => Some(Self::K64),
            18 => Some(Self::K256),
            20 => Some(Self::M1),
            _ => None,
        }
    }

    /// Binary logarithm of the size in bytes.
    pub fn shift(self) -> u8 {
        match self {
            Self::K64 => 16,
            Self::K256 => 18,
            Self::M1 => 20,
        }
    }

    /// Size in bytes.
    pub fn bytes(self) -> u64 {
        match self {
            Self::K64 => 0x1_0000,
            Self::K256 => 0x4_0000,
            Self::M1 => 0x10_0000,
        }
    }

    /// Blocks of 4 KiB in a slot.
    pub fn blocks(self) -> usize {
        match self {
            Self::K64 => 16,
            Self::K256 => 64,
            Self::M1 => 256,
        }
    }

    /// Bytes of a descriptor's bitmap: one bit a block, in whole 64-bit words.
    pub fn bitmap_bytes(self) -> usize {
        match self {
            Self::K64 | Self::K256 => 8,
            Self::M1 => 32,
        }
    }

    /// Bytes of one descriptor.
    pub fn descriptor_bytes(self) -> usize {
        match self {
            Self::K64 => DESCRIPTOR_HEADER_BYTES + 8 + 16 * 8,
            Self::K256 => DESCRIPTOR_HEADER_BYTES + 8 + 64 * 8,
            Self::M1 => DESCRIPTOR_HEADER_BYTES + 32 + 256 * 8,
        }
    }

    /// Descriptors in one page.
    pub fn descriptors_per_page(self) -> u32 {
        match self {
            Self::K64 => 25,
            Self::K256 => 7,
            Self::M1 => 1,
        }
    }
}

// FORMAT.md, descriptor page: the descriptors of a page fit behind its header.
const _: () = assert!(PAGE_HEADER_BYTES + 25 * (DESCRIPTOR_HEADER_BYTES + 8 + 16 * 8) <= 4096);
const _: () = assert!(PAGE_HEADER_BYTES + 7 * (DESCRIPTOR_HEADER_BYTES + 8 + 64 * 8) <= 4096);
const _: () = assert!(PAGE_HEADER_BYTES + DESCRIPTOR_HEADER_BYTES + 32 + 256 * 8 <= 4096);

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

    /// The other one.
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
    pub slot_size: SlotSize,
    /// Number of slots.
    pub slots: u32,
    /// Descriptor pages of one copy.
    pub pages: u32,
}

impl Geometry {
    /// The layout for a region of `bytes`, with as many slots as fit; `None` if not even one
    /// slot does.
    pub fn for_region(bytes: u64, slot_size: SlotSize) -> Option<Self> {
        // Each slot more needs more room: the most that fit lie between these two.
        let (mut fits, mut too_many) = (0, SLOTS_MAX.saturating_add(1));
        while too_many.saturating_sub(fits) > 1 {
            let slots = fits.midpoint(too_many);
            match Self::new(slot_size, slots, bytes) {
                Some(_) => fits = slots,
                None => too_many = slots,
            }
        }
        Self::new(slot_size, fits, bytes)
    }

    /// The layout with this many slots, if it has any and fits in a region of `bytes`.
    pub fn new(slot_size: SlotSize, slots: u32, bytes: u64) -> Option<Self> {
        if slots == 0 || slots > SLOTS_MAX {
            return None;
        }
        let geometry =
            Self { slot_size, slots, pages: slots.div_ceil(slot_size.descriptors_per_page()) };
        (geometry.end()? <= bytes).then_some(geometry)
    }

    fn end(&self) -> Option<u64> {
        let slots = u64::from(self.slots).checked_mul(self.slot_size.bytes())?;
        self.slots_at().checked_add(slots)
    }

    /// Where a superblock copy lies.
    pub fn superblock_at(copy: Copy2) -> u64 {
        match copy {
            Copy2::A => 0,
            Copy2::B => SUPERBLOCK_B << 12,
        }
    }

    /// Bytes from the start of the region that hold both superblocks.
    pub const HEAD_BYTES: u64 = BLOB_TABLE << 12;

    /// Where the boot trace lies.
    pub const BOOT_TRACE_AT: u64 = BOOT_TRACE << 12;

    /// Where the mark lies.
    pub const MARK_AT: u64 = MARK << 12;

    /// Where a copy of blob table page `page` lies.
    pub fn blob_page_at(copy: Copy2, page: u32) -> u64 {
        let first = match copy {
            Copy2::A => BLOB_TABLE,
            Copy2::B => BLOB_TABLE.saturating_add(u64::from(BLOB_PAGES)),
        };
        first.saturating_add(u64::from(page)) << 12
    }

    /// Where a copy of descriptor page `page` lies.
    pub fn page_at(&self, copy: Copy2, page: u32) -> u64 {
        let base = BLOB_TABLE.saturating_add(u64::from(BLOB_PAGES) << 1);
        let first = match copy {
            Copy2::A => base,
            Copy2::B => base.saturating_add(u64::from(self.pages)),
        };
        first.saturating_add(u64::from(page)) << 12
    }

    /// Pages of the hint, its head not counted; 0 if the region has none.
    pub fn hint_pages(&self) -> u32 {
        if self.pages < HINT_FROM_PAGES {
            return 0;
        }
        self.slots.next_power_of_two() / HINT_BUCKETS
    }

    /// Where page `page` of the hint lies, from 1 on; page 0 is its head.
    pub fn hint_at(&self, page: u32) -> u64 {
        self.page_at(Copy2::B, self.pages).saturating_add(u64::from(page) << 12)
    }

    /// Where the first slot lies.
    pub fn slots_at(&self) -> u64 {
        match self.hint_pages() {
            0 => self.page_at(Copy2::B, self.pages),
            pages => self.hint_at(pages.saturating_add(1)),
        }
    }

    /// Where block `block` of slot `slot` lies.
    pub fn block_at(&self, slot: u32, block: usize) -> u64 {
        let blocks = u64::try_from(block).unwrap_or(u64::MAX);
        self.slots_at()
            .saturating_add(u64::from(slot) << self.slot_size.shift())
            .saturating_add(blocks << 12)
    }

    /// The page that describes slot `slot`, and the descriptor's index in it.
    pub fn place(&self, slot: u32) -> (u32, u32) {
        let per_page = self.slot_size.descriptors_per_page();
        (slot.checked_div(per_page).unwrap_or(0), slot.checked_rem(per_page).unwrap_or(0))
    }

    /// The slots that page `page` describes.
    pub fn slots_of(&self, page: u32) -> core::ops::Range<u32> {
        let per_page = self.slot_size.descriptors_per_page();
        let first = page.saturating_mul(per_page).min(self.slots);
        first..first.saturating_add(per_page).min(self.slots)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "test code")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_layout_fits_and_leaves_less_than_a_slot(bytes in 0u64..1 << 44, shift in prop::sample::select(&[16u8, 18, 20])) {
            let size = SlotSize::from_shift(shift).unwrap();
            match Geometry::for_region(bytes, size) {
                Some(g) => {
                    prop_assert!(g.block_at(g.slots - 1, 0) + size.bytes() <= bytes);
                    prop_assert!(Geometry::new(size, g.slots + 1, bytes).is_none() || g.slots == u32::MAX >> 1);
                    let (page, _) = g.place(g.slots - 1);
                    prop_assert_eq!(page, g.pages - 1);
                    prop_assert!(g.page_at(Copy2::B, 0) >= g.page_at(Copy2::A, g.pages - 1) + BLOCK);
                }
                None => prop_assert!(Geometry::new(size, 1, bytes).is_none()),
            }
        }
    }
}
