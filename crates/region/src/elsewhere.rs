//! Other regions on the disk, looked for before an area is formatted: the whole disk may have been
//! named where a part of it was meant, or the other way round.
//!
//! Always: a bounded number of blocks is read, and none where the area is a region.

use super::BLOCK_BYTES;
use super::area::Area;
use super::geometry::{BLOCK, Copy2, Geometry};
use super::refused::Refused;
use super::superblock::Superblock;
use crate::storage::Storage;

/// Where the first partition of a disk usually begins.
const FIRST_PARTITION: u64 = 1 << 20;

impl Area {
    /// Returns the first byte of a region that starts elsewhere and has bytes in common with the
    /// area, whose first bytes are `head`.
    pub fn other_region<S: Storage>(
        &self,
        storage: &S,
        head: &[u8],
    ) -> Result<Option<u64>, Refused> {
        let mut blocks = (self.start..).step_by(BLOCK_BYTES).zip(head.chunks_exact(BLOCK_BYTES));
        if let Some(start) = blocks.find_map(|(at, block)| self.clash(at, block)) {
            return Ok(Some(start));
        }
        let starts = [Some(0), Some(FIRST_PARTITION), self.start.checked_add(FIRST_PARTITION)];
        let mut seen = self.start;
        for start in starts.into_iter().flatten() {
            // What is in the head was looked at.
            if core::mem::replace(&mut seen, start) == start || start == self.start {
                continue;
            }
            for at in Copy2::BOTH.into_iter().filter_map(|copy| superblock_at(start, copy)) {
                if at.checked_add(BLOCK).is_none_or(|end| end > self.disk_bytes) {
                    continue;
                }
                let block = self.of_disk(storage, at, BLOCK_BYTES)?;
                if let Some(start) = self.clash(at, &block) {
                    return Ok(Some(start));
                }
            }
        }
        Ok(None)
    }

    /// Returns where the region starts if `second`, which stands where the second superblock of this
    /// area belongs, is the first superblock of another region: then the second one of that region
    /// lies as far after it. Such a region says that it starts with the disk that it had, as the
    /// region of this area does. A block that cannot be read there is of this area's blob table,
    /// which is not written then.
    pub fn is_shifted<S: Storage>(&self, storage: &S, second: &Superblock) -> Option<u64> {
        let start = superblock_at(self.start, Copy2::B)?;
        let block = self.of_disk(storage, superblock_at(start, Copy2::B)?, BLOCK_BYTES).ok()?;
        let next = Superblock::from_bytes(&block, self.start).ok()?;
        (next.uuid == second.uuid).then_some(start)
    }

    /// Returns where the region starts whose superblock is the `block` at byte `at` of the disk,
    /// if it is not the region of this area and has bytes in common with it.
    fn clash(&self, at: u64, block: &[u8]) -> Option<u64> {
        if Copy2::BOTH.into_iter().any(|copy| superblock_at(self.start, copy) == Some(at)) {
            return None;
        }
        let (says, bytes) = Superblock::place(block)?;
        // A region whose disk was what is a part here says where it starts in that part.
        let start = if superblock_at(says, Copy2::B) == Some(at) { says } else { at };
        let before = bytes.and_then(|bytes| start.checked_add(bytes));
        let apart = before.is_some_and(|end| end <= self.start)
            || self.start.checked_add(self.bytes).is_some_and(|end| end <= start);
        (!apart).then_some(start)
    }
}

/// Returns where a superblock lies of a region from byte `start` of a disk on; `None` beyond the
/// longest disk.
fn superblock_at(start: u64, copy: Copy2) -> Option<u64> {
    start.checked_add(Geometry::superblock_at(copy))
}
