//! A ticket: a read of the region under way, and what its bytes must sum up to.
//!
//! Always: it says so as of the moment when the read was planned, whatever happens meanwhile to the
//! slots that are read and to the pages that describe them.

use super::BlobIndex;

/// Blocks of a blob that lie side by side in the region, on their way to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) blob: BlobIndex,
    /// The first block in the blob, and how many follow from there.
    pub(super) number: u64,
    pub(super) blocks: usize,
    /// Where the first lies.
    pub(super) slot: u32,
    pub(super) block: usize,
    pub(super) expected: Expected,
}

/// What the descriptors of the blocks say, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The checks of the blocks, folded together.
    pub sums: u64,
    /// The generations of their slots, folded together.
    pub generations: u64,
}
