//! A ticket: a read of the region under way, and what its bytes must sum up to.
//!
//! Always: it says so as of the moment when the read was planned, whatever happens meanwhile to the
//! slots that are read and to the pages that describe them.

use super::BlobIndex;
use crate::storage::DeviceId;

/// Blocks of a blob that lie side by side in the region, on their way to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a ticket comes back by `Layer::settle`"]
pub struct Ticket {
    /// Where the first block lies.
    pub(super) device: DeviceId,
    pub(super) at: u64,
    pub(super) blob: BlobIndex,
    /// The first block in the blob, and how many follow from there.
    pub(super) number: u64,
    pub(super) blocks: usize,
    /// The slot of the first, and the block in it.
    pub(super) slot: u32,
    pub(super) block: usize,
    pub(super) expected: Expected,
}

impl Ticket {
    /// Returns the device and the byte from which on the blocks are read.
    pub fn place(&self) -> (DeviceId, u64) {
        (self.device, self.at)
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
