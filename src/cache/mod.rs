//! What stands below the blobs: a reserved region that keeps what was fetched, or nothing.
//!
//! Always: what a layer serves is exactly what was fetched for that blob and block; a fault of the
//! layer does not fail a read. DESIGN.md and FORMAT.md stand beside this file.

#[cfg(feature = "alloc")]
mod area;
#[cfg(feature = "alloc")]
mod blame;
#[cfg(feature = "alloc")]
mod blobs;
#[cfg(feature = "alloc")]
mod block_set;
#[cfg(feature = "alloc")]
mod boot;
#[cfg(feature = "alloc")]
mod checksum;
#[cfg(feature = "alloc")]
mod claim;
#[cfg(feature = "alloc")]
mod descriptor;
#[cfg(feature = "alloc")]
mod drop;
#[cfg(feature = "alloc")]
mod elsewhere;
#[cfg(feature = "alloc")]
mod foreign;
#[cfg(feature = "alloc")]
mod format;
#[cfg(feature = "alloc")]
mod geometry;
#[cfg(feature = "alloc")]
mod hint;
#[cfg(feature = "alloc")]
mod hydrate;
#[cfg(feature = "alloc")]
mod index;
#[cfg(feature = "alloc")]
pub mod inspect;
mod layer;
#[cfg(feature = "alloc")]
mod open;
#[cfg(feature = "alloc")]
mod page;
#[cfg(feature = "alloc")]
mod pages;
#[cfg(feature = "alloc")]
mod refused;
#[cfg(feature = "alloc")]
mod region;
#[cfg(feature = "alloc")]
mod residency;
#[cfg(feature = "alloc")]
mod scan;
#[cfg(feature = "alloc")]
mod slots;
#[cfg(feature = "alloc")]
mod stats;
#[cfg(feature = "alloc")]
mod superblock;
mod ticket;

#[cfg(feature = "alloc")]
pub use blobs::BlobEntry;
#[cfg(feature = "alloc")]
pub use boot::BootRun;
#[cfg(feature = "alloc")]
pub use checksum::BlobKey;
#[cfg(feature = "alloc")]
pub use claim::Mode;
#[cfg(feature = "alloc")]
pub use drop::NotDropped;
#[cfg(feature = "alloc")]
pub use geometry::{Copy2, Geometry, SlotSize};
pub use layer::{Layer, NoRegion, Residence, Why};
#[cfg(feature = "alloc")]
pub use open::{CacheOptions, FormatPolicy};
#[cfg(feature = "alloc")]
pub use refused::{Refused, Remedy, Vacant};
#[cfg(feature = "alloc")]
pub use region::{BlockPlace, Cache};
#[cfg(feature = "alloc")]
pub use residency::{Cells, Share};
#[cfg(feature = "alloc")]
pub use slots::{Marks, SlotKey, SlotState, SlotTable};
#[cfg(feature = "alloc")]
pub use stats::CacheStats;
#[cfg(feature = "alloc")]
pub use superblock::{Refusal, Superblock};
pub use ticket::{Spot, Ticket, Verdict};

use crate::units::DeviceSlot;

/// The unit of residency and of checksums in bytes.
pub const BLOCK_BYTES: usize = 4096;

/// Bytes of a [`BlobIdentity`].
pub const IDENTITY_BYTES: usize = 112;

/// What makes a blob this blob, in a form that only compares.
///
/// [`crate::blob`] puts everything in that tells blobs apart: the tag, the image that names the
/// blob, the version of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobIdentity(pub [u8; IDENTITY_BYTES]);

impl BlobIdentity {
    /// Returns the device slot that the blob has in its image.
    pub fn slot(&self) -> DeviceSlot {
        let [_, low, high, ..] = self.0;
        DeviceSlot::new(u16::from_le_bytes([low, high]))
    }
}

/// A layer's name for a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobIndex(u16);

impl BlobIndex {
    /// Returns the name of the blob in this place of the blob table.
    pub const fn new(place: u16) -> Self {
        Self(place)
    }

    /// Returns the place of the blob in the blob table.
    pub const fn get(self) -> u16 {
        self.0
    }
}
