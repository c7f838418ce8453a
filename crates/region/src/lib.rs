//! What stands below the blobs: a reserved region that keeps what was fetched, or nothing.
//!
//! Always: what a layer serves is exactly what was fetched for that blob and block; a fault of the
//! layer does not fail a read. DESIGN.md and FORMAT.md stand beside the sources.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

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
pub mod evict;
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
mod identity;
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
pub mod signature;
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
#[cfg(feature = "alloc")]
pub use hydrate::{Round, Syncing};
pub use identity::{BlobIdentity, DOMAIN_BYTES_MAX, Described, IDENTITY_BYTES, OBJECTS};
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

use rootlet_base::units;
#[cfg(feature = "alloc")]
use rootlet_base::{num, trace};
use rootlet_storage as storage;

/// The unit of residency and of checksums in bytes.
pub const BLOCK_BYTES: usize = 4096;

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
