//! A ticket: a read of the region under way, and what its bytes must sum up to.
//!
//! Always: a ticket holds the checks as of the moment when the read was planned, whatever happens
//! meanwhile to the slots that are read and to the pages that describe them. A ticket is given back
//! at most once: it cannot be copied, and [`Layer::settle`](super::Layer::settle) takes it. One that
//! is dropped (its read failed elsewhere, or nobody waits for it) holds nothing of the region.

use super::BlobIndex;
#[cfg(feature = "alloc")]
use super::checksum::BlobKey;
#[cfg(feature = "alloc")]
use super::index::fold_in;
use crate::storage::DeviceId;
use crate::units::RegionSlot;

/// A block of a blob that [`Layer::locate`](super::Layer::locate) found in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub(super) blob: BlobIndex,
    /// The block in the blob.
    pub(super) number: u64,
    /// The slot, and the block in the slot.
    pub(super) slot: RegionSlot,
    pub(super) block: usize,
}

impl Spot {
    /// A block, for tests in which only that there is one counts.
    #[doc(hidden)]
    pub const ANY: Self =
        Self { blob: BlobIndex::new(1), number: 0, slot: RegionSlot::new(0), block: 0 };
}

/// Blocks of a blob that lie side by side in the region, on their way to a reader.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a ticket comes back by `Layer::settle`"]
pub struct Ticket {
    /// The number of the region that issued the ticket.
    pub(super) region: u32,
    /// Where the first block lies on its disk.
    pub(super) device: DeviceId,
    pub(super) at: u64,
    /// The first block, and how many there are from there on.
    pub(super) first: Spot,
    pub(super) blocks: usize,
    pub(super) expected: Expected,
    /// The key of the blob's checks.
    #[cfg(feature = "alloc")]
    pub(super) key: BlobKey,
}

impl Ticket {
    /// Returns the device and the byte from which on the blocks are read.
    pub fn place(&self) -> (DeviceId, u64) {
        (self.device, self.at)
    }

    /// Returns whether `data` is what the ticket was issued for. Asks nobody: a reader that got the
    /// right bytes need not give its ticket back.
    pub fn is_right(&self, data: &[u8]) -> bool {
        #[cfg(feature = "alloc")]
        {
            let blocks = data.chunks(super::BLOCK_BYTES);
            let is_whole = blocks.len() == self.blocks;
            let sum = |(number, data)| self.key.checksum(number, data);
            let sums = (self.first.number..).zip(blocks).map(sum);
            is_whole && sums.fold(0, fold_in) == self.expected.sums
        }
        #[cfg(not(feature = "alloc"))]
        {
            // No layer has issued it.
            let _ = data;
            false
        }
    }
}

/// What became of a read of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes are those of the blob.
    Right,
    /// A block is wrong. The slots that hold one were given up.
    Wrong,
    /// The bytes cannot be judged any more: what was read was given up meanwhile.
    Stale,
    /// No bytes came. The slot was given up.
    Unread,
}

/// What the descriptors of the blocks say, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The checks of the blocks, folded together.
    pub sums: u64,
    /// The generations of their slots, folded together.
    pub generations: u64,
}
