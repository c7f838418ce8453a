//! A slot's descriptor inside its page: which part of which blob the slot holds, block by block.
//!
//! Always: a bit is set only for a block whose data was flushed before (O3); the checksum beside
//! it is that of the block's bytes.

use super::format::{DescriptorHead, Page};
use super::geometry::SlotSize;
use crate::num;
use zerocopy::FromBytes;
use zerocopy::little_endian::U64;

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

/// A descriptor. `B` is what lends its bytes.
#[derive(Debug)]
pub struct Descriptor<B> {
    raw: B,
    size: SlotSize,
}

/// Returns descriptor `index` of a page of slots of this size.
///
/// # Panics
/// If a page has no such descriptor: [`super::geometry::Geometry::place`] names none.
#[expect(clippy::expect_used, reason = "the geometry counts what a page has")]
pub fn of(page: &Page, size: SlotSize, index: u32) -> Descriptor<&[u8]> {
    let raw = page.rest.body.get(size.descriptor(index)).expect("a page has this descriptor");
    Descriptor { raw, size }
}

/// As [`of`], to be changed.
///
/// # Panics
/// As [`of`].
#[expect(clippy::expect_used, reason = "the geometry counts what a page has")]
pub fn of_mut(page: &mut Page, size: SlotSize, index: u32) -> Descriptor<&mut [u8]> {
    let raw = page.rest.body.get_mut(size.descriptor(index)).expect("a page has this descriptor");
    Descriptor { raw, size }
}

/// The parts of a descriptor.
struct Parts<'r> {
    head: &'r DescriptorHead,
    bitmap: &'r [u8],
    sums: &'r [U64],
}

/// As [`Parts`], to be changed.
struct PartsMut<'r> {
    head: &'r mut DescriptorHead,
    bitmap: &'r mut [u8],
    sums: &'r mut [U64],
}

impl<B: AsRef<[u8]>> Descriptor<B> {
    #[expect(clippy::expect_used, reason = "`of` cut as many bytes as the parts have")]
    fn parts(&self) -> Parts<'_> {
        let (head, rest) = DescriptorHead::ref_from_prefix(self.raw.as_ref()).expect("a head");
        let (bitmap, sums) = rest.split_at(self.size.bitmap_bytes());
        Parts { head, bitmap, sums: <[U64]>::ref_from_bytes(sums).expect("whole checks") }
    }

    /// Returns the fixed part as it lies on disk.
    pub fn raw_head(&self) -> &DescriptorHead {
        self.parts().head
    }

    /// Returns the bits of all blocks.
    pub fn bitmap(&self) -> &[u8] {
        self.parts().bitmap
    }

    /// Returns the fixed part.
    pub fn head(&self) -> Head {
        let Parts { head, .. } = self.parts();
        Head {
            blob: head.blob.get(),
            live: head.state == DescriptorHead::LIVE,
            class: head.class,
            slot_generation: head.slot_generation.get(),
            blob_generation: head.blob_generation.get(),
            window: head.window.get(),
        }
    }

    /// Returns whether the bit of `block` is set.
    pub fn is_resident(&self, block: usize) -> bool {
        self.parts().bitmap.get(block >> 3).is_some_and(|bits| (bits >> (block & 7)) & 1 == 1)
    }

    /// Returns the number of set bits: at most 256.
    pub fn resident_count(&self) -> u16 {
        num::low16(self.parts().bitmap.iter().map(|byte| byte.count_ones()).sum())
    }

    /// Returns the checksums of all blocks. One means nothing until its bit is set.
    pub fn sums(&self) -> impl ExactSizeIterator<Item = u64> {
        self.parts().sums.iter().map(|sum| sum.get())
    }

    /// Returns the checksums of the `blocks` blocks from `block` on.
    ///
    /// # Panics
    /// If the slot does not have these blocks.
    #[expect(clippy::indexing_slicing, reason = "a block that the slot does not have is a bug")]
    pub fn sums_of(&self, block: usize, blocks: usize) -> impl Iterator<Item = u64> {
        self.parts().sums[block..][..blocks].iter().map(|sum| sum.get())
    }
}

impl Descriptor<&mut [u8]> {
    #[expect(clippy::expect_used, reason = "`of_mut` cut as many bytes as the parts have")]
    fn parts_mut(&mut self) -> PartsMut<'_> {
        let (head, rest) = DescriptorHead::mut_from_prefix(self.raw).expect("a head");
        let (bitmap, sums) = rest.split_at_mut(self.size.bitmap_bytes());
        PartsMut { head, bitmap, sums: <[U64]>::mut_from_bytes(sums).expect("whole checks") }
    }

    /// Begins anew with this head: no bit is set.
    pub fn renew(&mut self, head: &Head) {
        let parts = self.parts_mut();
        *parts.head = DescriptorHead {
            blob: head.blob.into(),
            state: if head.live { DescriptorHead::LIVE } else { 0 },
            class: head.class,
            slot_generation: head.slot_generation.into(),
            blob_generation: head.blob_generation.into(),
            unused: [0; 4],
            window: head.window.into(),
        };
        parts.bitmap.fill(0);
    }

    /// Sets what the eviction policy keeps of the slot.
    pub fn set_class(&mut self, class: u8) {
        self.parts_mut().head.class = class;
    }

    /// Sets the bit of `block`.
    #[expect(clippy::indexing_slicing, reason = "a block that the slot does not have is a bug")]
    pub fn set_resident(&mut self, block: usize) {
        self.parts_mut().bitmap[block >> 3] |= 1 << (block & 7);
    }

    /// Sets the checksum of `block`; it means nothing until its bit is set.
    #[expect(clippy::indexing_slicing, reason = "a block that the slot does not have is a bug")]
    pub fn set_sum(&mut self, block: usize, sum: u64) {
        self.parts_mut().sums[block] = sum.into();
    }
}
