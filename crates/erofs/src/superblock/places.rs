//! The places of inodes, shared xattrs and the device table, by the superblock.
//!
//! Always: an offset did not wrap, and lies in the image if the superblock states the image's
//! length.

use super::super::block::{Nid, Space, Span};
use super::super::corrupt::{Corrupt, Part};
use super::super::error::FormatError;
use super::super::feature::Compat;
use super::super::limits::SLOT_BITS;
use super::Superblock;

/// The bytes of an inode slot: inodes begin at multiples of it in the metadata area.
const INODE_SLOT_BYTES: u64 = 32;
/// The binary logarithm of the unit in bytes that ids of shared xattrs count.
pub(super) const SHARED_XATTR_BITS: u32 = 2;
const SHARED_XATTR_UNIT: u64 = 1 << SHARED_XATTR_BITS;

impl Superblock {
    /// Returns the length of the primary device in bytes; `None` if the image does not state it.
    pub fn image_bytes(&self) -> Option<u64> {
        if self.blocks == 0 { None } else { self.block_size.at(self.blocks) }
    }

    /// Returns the first byte of an inode, in its metadata space. In the image, at least the 32
    /// bytes of a compact inode lie within the image.
    pub fn inode_at(&self, nid: Nid) -> Result<u64, FormatError> {
        let part = Part::Inode(nid);
        let first = match nid.space() {
            Space::Image => self.meta_block,
            Space::Metabox if self.metabox.is_none() => {
                return Err(Corrupt::NotInMetabox { nid }.into());
            }
            Space::Metabox => 0,
        };
        let at = self.offset(first, nid.on_disk(self.layer).slot(), INODE_SLOT_BYTES, part)?;
        self.within(Span { at, len: INODE_SLOT_BYTES }, part)?;
        Ok(at)
    }

    /// Returns the metadata space and the first byte of the shared xattr entry `id`. In the image,
    /// the 4-byte header of the entry lies within the image.
    pub fn shared_xattr_at(&self, id: u32) -> Result<(Space, u64), FormatError> {
        let part = Part::SharedXattr(id);
        let at = self.offset(self.xattr_block, u64::from(id), SHARED_XATTR_UNIT, part)?;
        if self.metabox.is_some() && self.compat.has(Compat::SHARED_EA_IN_METABOX) {
            return Ok((Space::Metabox, at));
        }
        self.within(Span { at, len: SHARED_XATTR_UNIT }, part)?;
        Ok((Space::Image, at))
    }

    /// Refuses the shared xattr entry `id`, whose bytes are `entry` of `space`, if it ends after the
    /// image. Reads of the metabox check its length themselves.
    pub fn check_shared_xattr(
        &self,
        id: u32,
        space: Space,
        entry: Span,
    ) -> Result<(), FormatError> {
        match space {
            Space::Image => Ok(self.within(entry, Part::SharedXattr(id))?),
            Space::Metabox => Ok(()),
        }
    }

    /// Returns the bytes of the device table; `None` if there are no extra devices.
    pub fn device_table_at(&self) -> Option<Span> {
        let len = u64::from(self.extra_devices) << SLOT_BITS;
        (len != 0).then_some(Span { at: self.device_table, len })
    }

    /// Returns the mask of the bits of a chunk's device id that count:
    /// `roundup_pow2(extra_devices + 1) - 1`.
    pub fn device_id_mask(&self) -> u16 {
        match self.extra_devices {
            0 => 0,
            last => u16::MAX >> last.leading_zeros(),
        }
    }

    /// Refuses a span that ends after the image. Reads of the metabox check its length themselves.
    pub(crate) fn within(&self, span: Span, part: Part) -> Result<(), Corrupt> {
        let end = span.at.checked_add(span.len).ok_or(Corrupt::Overflow(part))?;
        match self.image_bytes() {
            Some(image) if end > image && part.space() == Space::Image => {
                Err(Corrupt::BeyondImage { part, at: span.at, len: span.len, image })
            }
            _ => Ok(()),
        }
    }

    fn offset(&self, block: u32, count: u64, unit: u64, part: Part) -> Result<u64, Corrupt> {
        let base = self.block_size.at(u64::from(block)).ok_or(Corrupt::Overflow(part))?;
        let skip = count.checked_mul(unit).ok_or(Corrupt::Overflow(part))?;
        base.checked_add(skip).ok_or(Corrupt::Overflow(part))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::Sample;
    use super::*;

    #[test]
    fn shared_xattrs_lie_in_the_metabox_where_the_image_says_so() {
        let mut sample = Sample::new();
        sample.put(80, &[0, 1]).put(13, &[1]).put(128, &[101]);
        assert_eq!(sample.superblock().shared_xattr_at(3), Ok((Space::Image, 10 * 512 + 12)));
        let shared = sample.put(8, &[9]).superblock().shared_xattr_at(3);
        assert_eq!(shared, Ok((Space::Metabox, 10 * 512 + 12)));
    }

    #[test]
    fn nid_that_overflows_or_lies_in_no_metabox_has_no_place() {
        let superblock = Sample::new().superblock();
        let nid = Nid(1 << 62);
        assert_eq!(superblock.inode_at(nid), Err(Corrupt::Overflow(Part::Inode(nid)).into()));
        let nid = Nid(1 << 63 | 100);
        assert_eq!(superblock.inode_at(nid), Err(Corrupt::NotInMetabox { nid }.into()));
    }

    #[test]
    fn shared_xattr_counts_from_its_block_in_units_of_four() {
        let superblock = Sample::new().superblock();
        assert_eq!(superblock.shared_xattr_at(3), Ok((Space::Image, 10 * 512 + 12)));
        let (at, part) = (10 * 512 + 4 * 7000, Part::SharedXattr(7000));
        let error = Corrupt::BeyondImage { part, at, len: 4, image: 0x8000 };
        assert_eq!(superblock.shared_xattr_at(7000), Err(error.into()));
    }

    #[test]
    fn device_table_is_where_its_slot_says_and_inside() {
        let mut sample = Sample::with_devices(3);
        let table = Span { at: 2048, len: 384 };
        assert_eq!(sample.superblock().device_table_at(), Some(table));
        let outside = sample.put(88, &254_u16.to_le_bytes()).seal();
        let (part, at) = (Part::DeviceTable, 254 * 128);
        let error = Corrupt::BeyondImage { part, at, len: 384, image: 0x8000 };
        assert_eq!(outside, Err(error.into()));
    }

    #[test]
    fn device_id_mask_reaches_the_next_power_of_two() {
        for (count, mask) in [(1, 1), (2, 3), (3, 3), (4, 7), (63, 63), (64, 127)] {
            assert_eq!(Sample::with_devices(count).superblock().device_id_mask(), mask);
        }
    }
}
