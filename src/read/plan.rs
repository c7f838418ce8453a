//! The plan of a read: a range of a file as merged extents of device slots.
//!
//! Always: extents that adjoin in one slot are merged; nothing here does I/O.

use super::io::Extent;
use super::mount::Mount;
use crate::erofs::{BLOCKS_MAX, ChunkTarget, Corrupt, FormatError, Inode, Layout};
use crate::num::{Bug, OrBug};
use crate::units::{ByteRange, DeviceSlot};

/// The most extents of one plan; a longer read is planned in parts.
pub const EXTENTS_MAX: usize = if cfg!(feature = "alloc") { 128 } else { 16 };

/// The device id of the unified address space, whose blocks span all devices.
pub const UNIFIED: u16 = 0;

/// The extents of one read, in the order of the file.
#[derive(Debug)]
pub struct Plan {
    extents: heapless::Vec<Extent, EXTENTS_MAX>,
    bytes: u64,
}

impl Plan {
    /// Returns an empty plan.
    #[inline]
    pub fn new() -> Self {
        // `black_box` keeps the compiler from treating the whole plan as a constant: it would then
        // clear all 3 KiB, which costs more than the rest of a 4 KiB read.
        Self { extents: heapless::Vec::new(), bytes: core::hint::black_box(0) }
    }

    /// Returns the extents.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Returns the sum of the extents' lengths.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends an extent, merged with the last one if they adjoin. Returns false if the plan is
    /// full.
    fn push(&mut self, extent: Extent) -> Result<bool, Bug> {
        let bytes = self.bytes.checked_add(extent.len()).or_bug()?;
        match (self.extents.last_mut(), extent) {
            (_, extent) if extent.len() == 0 => {}
            (Some(Extent::Hole(len)), Extent::Hole(more)) => {
                *len = len.checked_add(more).or_bug()?;
            }
            (Some(Extent::Blob { slot, range }), Extent::Blob { slot: next, range: more })
                if *slot == next && range.end() == more.start() =>
            {
                *range = ByteRange::new(range.start(), more.end()).or_bug()?;
            }
            _ => {
                if self.extents.push(extent).is_err() {
                    return Ok(false);
                }
            }
        }
        self.bytes = bytes;
        Ok(true)
    }

    /// Appends a hole in place of `want`. Returns the rest of `want` that found no room.
    pub fn push_hole(&mut self, want: ByteRange) -> Result<ByteRange, Bug> {
        Ok(if self.push(Extent::Hole(want.len()))? { want.skip(want.len()) } else { want })
    }

    /// Appends the bytes `range` of a slot.
    pub fn push_object(&mut self, slot: DeviceSlot, range: ByteRange) -> Result<(), Bug> {
        self.push(Extent::Blob { slot, range })?;
        Ok(())
    }

    /// Appends the bytes `want`, counted from the start of block `block` of device id `device_id`;
    /// in the unified address space they may span devices. Returns the rest of `want` that found
    /// no room.
    ///
    /// # Errors
    /// Corrupt when a block lies on no device.
    pub fn push_blocks(
        &mut self,
        mount: &Mount,
        device_id: u16,
        block: u64,
        want: ByteRange,
    ) -> Result<ByteRange, FormatError> {
        let size = mount.superblock().block_size();
        let mut rest = want;
        while let Some(here) = rest.non_empty() {
            let whole = size.pow2().whole(here.start());
            let place = mount.devices().resolve(device_id, block.checked_add(whole).or_bug()?)?;
            let (slot, number) = (place.slot, place.block);
            let beyond = Corrupt::BlockBeyondSlot { slot, block: number, blocks: BLOCKS_MAX };
            let inside = size.offset_in(here.start());
            let at = size.at(number).ok_or(beyond)?.checked_add(inside).or_bug()?;
            // A device without a bound, or with one of 2^64 bytes or more, holds all of `here`.
            let room = place.blocks_left.and_then(|blocks| size.at(blocks));
            let room = room.map_or(Some(here.len()), |room| room.checked_sub(inside)).or_bug()?;
            let part = here.take(room).non_empty().or_bug()?.len();
            let beyond = Corrupt::BlockBeyondSlot { slot, block: BLOCKS_MAX, blocks: BLOCKS_MAX };
            let range = ByteRange::sized(at, part).ok_or(beyond)?;
            if !self.push(Extent::Blob { slot: mount.place_of(slot)?, range })? {
                break;
            }
            rest = here.skip(part);
        }
        Ok(rest)
    }

    /// Appends the bytes `want`, counted from the start of the chunk at `target`. Returns the rest
    /// of `want` that found no room.
    pub fn push_chunk(
        &mut self,
        mount: &Mount,
        target: ChunkTarget,
        want: ByteRange,
    ) -> Result<ByteRange, FormatError> {
        match target {
            ChunkTarget::Hole => Ok(self.push_hole(want)?),
            ChunkTarget::At { device_id, block } => self.push_blocks(mount, device_id, block, want),
        }
    }
}

/// Returns the offset, in the inode's metadata space, of byte `at` of the file; `None` if that
/// byte lies before the inline tail.
pub fn in_tail(inode: &Inode, at: u64) -> Result<Option<u64>, Bug> {
    let Layout::Inline { tail, .. } = inode.layout() else { return Ok(None) };
    let body = inode.size().checked_sub(tail.len).or_bug()?;
    at.checked_sub(body).map(|into| tail.at.checked_add(into).or_bug()).transpose()
}
