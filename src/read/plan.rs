//! Planning a read: from an inode and a range of its file to merged extents of slots.
//!
//! Always: extents that lie side by side in one slot are one; nothing here does I/O but through
//! the metadata that [`super::inner::Inner::meta`] reads.

use super::pieces::Extent;
use crate::erofs::{BLOCKS_MAX, ChunkTarget, Corrupt, Devices, FormatError, Superblock};
use crate::num::OrBug;
use crate::units::ByteRange;

/// Extents of one plan at most; a longer read is planned in parts.
pub const EXTENTS_MAX: usize = 128;

/// The extents of one read, in the order of the file.
#[derive(Debug)]
pub struct Plan {
    extents: heapless::Vec<Extent, EXTENTS_MAX>,
    bytes: u64,
}

impl Plan {
    /// Nothing planned.
    #[inline]
    pub fn new() -> Self {
        // A plan that is wholly known when it is compiled is made by clearing all its 3 KiB, which
        // costs more than a read of 4 KiB does otherwise.
        Self { extents: heapless::Vec::new(), bytes: core::hint::black_box(0) }
    }

    /// The extents.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Sum of their lengths.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds an extent at the end, merged with the last if they adjoin. False if there is no room.
    fn push(&mut self, extent: Extent) -> bool {
        let merged = match (self.extents.last_mut(), extent) {
            (_, extent) if extent.len() == 0 => true,
            (Some(Extent::Hole(len)), Extent::Hole(more)) => {
                *len = len.saturating_add(more);
                true
            }
            (
                Some(Extent::Blob { slot, at, len }),
                Extent::Blob { slot: next, at: next_at, len: more },
            ) if *slot == next && at.checked_add(*len) == Some(next_at) => {
                *len = len.saturating_add(more);
                true
            }
            _ => false,
        };
        if !merged && self.extents.push(extent).is_err() {
            return false;
        }
        self.bytes = self.bytes.saturating_add(extent.len());
        true
    }

    /// Adds zeros.
    pub fn push_hole(&mut self, len: u64) -> bool {
        self.push(Extent::Hole(len))
    }

    /// Adds `len` bytes that begin `skip` bytes behind block `block` of device id `device_id`,
    /// across devices if the unified address space goes on there. Returns how many bytes were
    /// added: fewer only if there is no more room.
    ///
    /// # Errors
    /// Corrupt when a block lies on no device.
    pub fn push_blocks(
        &mut self,
        superblock: &Superblock,
        devices: &Devices,
        device_id: u16,
        block: u64,
        skip: u64,
        len: u64,
    ) -> Result<u64, FormatError> {
        let size = superblock.block_size;
        let mut rest = ByteRange::sized(skip, len).or_bug()?;
        while let Some(here) = rest.non_empty() {
            let whole = size.pow2().whole(here.start());
            let place = devices.resolve(device_id, block.checked_add(whole).or_bug()?)?;
            let (slot, number) = (place.slot, place.block);
            let beyond = Corrupt::BlockBeyondSlot { slot, block: number, blocks: BLOCKS_MAX };
            let inside = size.offset_in(here.start());
            let at = size.at(number).ok_or(beyond)?.checked_add(inside).or_bug()?;
            // Longer than any device: as long as is wanted.
            let room = place.blocks_left.and_then(|blocks| size.at(blocks));
            let room = room.map_or(Some(here.len()), |room| room.checked_sub(inside)).or_bug()?;
            let part = here.take(room).non_empty().or_bug()?.len();
            if !self.push(Extent::Blob { slot, at, len: part }) {
                break;
            }
            rest = here.skip(part);
        }
        len.checked_sub(rest.len()).or_bug().map_err(FormatError::from)
    }

    /// Adds `len` bytes that begin `skip` bytes behind the start of a chunk. Returns how many
    /// were added.
    pub fn push_chunk(
        &mut self,
        superblock: &Superblock,
        devices: &Devices,
        target: ChunkTarget,
        skip: u64,
        len: u64,
    ) -> Result<u64, FormatError> {
        match target {
            ChunkTarget::Hole => Ok(if self.push_hole(len) { len } else { 0 }),
            ChunkTarget::At { device_id, block } => {
                self.push_blocks(superblock, devices, device_id, block, skip, len)
            }
        }
    }
}
