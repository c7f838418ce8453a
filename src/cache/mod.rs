//! What stands below the blobs: a reserved region that keeps what was fetched, or nothing.
//!
//! Always: what a layer serves is exactly what was fetched for that blob and block; a fault of
//! the layer is no error of a read. DESIGN.md and FORMAT.md stand beside this file.

#[cfg(feature = "alloc")]
use crate::storage::{Buffer, Ended};
use crate::storage::{DeviceId, Storage};
use core::ops::Range;

#[cfg(feature = "alloc")]
mod area;
#[cfg(feature = "alloc")]
mod blame;
#[cfg(feature = "alloc")]
mod blobs;
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
pub mod inspect;
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
pub use open::{CacheOptions, FormatPolicy};
#[cfg(feature = "alloc")]
pub use refused::{Refused, Remedy, Vacant};
#[cfg(feature = "alloc")]
pub use region::{Cache, CacheStats};
#[cfg(feature = "alloc")]
pub use residency::{Cells, Share};
#[cfg(feature = "alloc")]
pub use slots::{Marks, SlotKey, SlotState, SlotTable};
#[cfg(feature = "alloc")]
pub use superblock::{Refusal, Superblock};
pub use ticket::Ticket;

/// The unit of residency and of checksums in bytes.
pub const BLOCK_BYTES: usize = 4096;

/// Bytes of a [`BlobIdentity`].
pub const IDENTITY_BYTES: usize = 112;

/// What makes a blob this blob, in a form that only compares.
///
/// Its maker puts everything in that must not be mixed up: the tag, the image that names it, the
/// version of its source. See [`crate::blob::identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobIdentity(pub [u8; IDENTITY_BYTES]);

impl BlobIdentity {
    /// The device slot that the blob has in its image.
    pub fn slot(&self) -> u16 {
        let [_, low, high, ..] = self.0;
        u16::from_le_bytes([low, high])
    }
}

/// A layer's name for a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobIndex(pub u16);

/// Why blocks are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A reader wants them, or will.
    Read,
    /// An earlier boot wanted them: this is no use of them.
    Prefetch,
}

/// Where a block of a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// Not in the layer.
    Absent,
    /// In this block of this slot.
    Resident {
        /// The slot.
        slot: u32,
        /// The block in it.
        block: usize,
    },
    /// On its way into the layer; its bytes are still in a buffer.
    Staged {
        /// The slot.
        slot: u32,
        /// The block in it.
        block: usize,
    },
}

/// What the read path asks of the layer below the blobs. Block numbers count 4 KiB blocks of the
/// blob.
///
/// A layer answers each question itself, or passes all of them on to [`Layer::region`]; without
/// one nothing is kept and everything is absent.
pub trait Layer<S: Storage> {
    /// What questions are passed on to.
    type Region: Layer<S> + 'static;

    /// The region, if there is one.
    fn region(&self) -> Option<&Self::Region>;

    /// As [`Layer::region`].
    fn region_mut(&mut self) -> Option<&mut Self::Region>;

    /// The layer's name for a blob; `None` if it cannot keep it, and perhaps did not ask which it
    /// is.
    fn attach(&mut self, identity: impl FnOnce() -> BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        self.region_mut()?.attach(identity, bytes)
    }

    /// Makes [`Layer::locate`] tell the truth about these blocks and [`Layer::fill`] ready to
    /// take them; may read the region's own tables.
    fn prepare(&mut self, storage: &mut S, blob: BlobIndex, blocks: Range<u64>, why: Why) {
        if let Some(region) = self.region_mut() {
            region.prepare(storage, blob, blocks, why);
        }
    }

    /// Whether it is behind with keeping what it was offered: more would be dropped soon.
    fn pressed(&self) -> bool {
        self.region().is_some_and(Layer::pressed)
    }

    /// A reader got these blocks without a question, from memory: it is a use of them all the
    /// same. Does no I/O.
    fn used(&mut self, blob: BlobIndex, blocks: Range<u64>) {
        if let Some(region) = self.region_mut() {
            region.used(blob, blocks);
        }
    }

    /// What the start of an earlier boot read; empty if none is known.
    #[cfg(feature = "alloc")]
    fn boot_trace(&mut self, storage: &mut S) -> alloc::vec::Vec<BootRun> {
        self.region_mut().map(|region| region.boot_trace(storage)).unwrap_or_default()
    }

    /// Where block `number` is, and how many blocks from there on, at least one, are in the same
    /// state side by side.
    fn locate(&self, blob: BlobIndex, number: u64) -> (Residence, usize) {
        self.region().map_or((Residence::Absent, usize::MAX), |region| region.locate(blob, number))
    }

    /// Device and byte offset of a block of a slot.
    fn place(&self, slot: u32, block: usize) -> (DeviceId, u64) {
        self.region().map_or((DeviceId::NONE, 0), |region| region.place(slot, block))
    }

    /// The longest transfer of the layer's device in bytes.
    fn transfer_bytes_max(&self) -> u64 {
        self.region().map_or(u64::MAX, Layer::transfer_bytes_max)
    }

    /// The bytes of a staged block, to the end of what is staged side by side with it.
    fn staged(&self, slot: u32, block: usize) -> Option<&[u8]> {
        self.region()?.staged(slot, block)
    }

    /// A ticket for a read of `blocks` blocks of `blob` from block `number` on, which
    /// [`Layer::locate`] has just found side by side from this block of this slot on. `None` if
    /// they are not there.
    fn ticket(
        &self,
        blob: BlobIndex,
        number: u64,
        place: (u32, usize),
        blocks: usize,
    ) -> Option<Ticket> {
        self.region()?.ticket(blob, number, place, blocks)
    }

    /// Whether `data` is what the ticket was issued for.
    fn check(&self, ticket: &Ticket, data: &[u8]) -> bool {
        self.region().is_some_and(|region| region.check(ticket, data))
    }

    /// A read brought `data`, which failed its check.
    fn reject(&mut self, ticket: &Ticket, data: &[u8]) {
        if let Some(region) = self.region_mut() {
            region.reject(ticket, data);
        }
    }

    /// A read failed.
    fn fault(&mut self, ticket: &Ticket) {
        if let Some(region) = self.region_mut() {
            region.fault(ticket);
        }
    }

    /// Offers fetched bytes: whole blocks from block `first` on, but for the last of a blob.
    /// Copies what it takes and does no I/O; the next [`Layer::progress`] writes it.
    fn fill(&mut self, blob: BlobIndex, first: u64, data: &[u8]) {
        if let Some(region) = self.region_mut() {
            region.fill(blob, first, data);
        }
    }

    /// As [`Layer::fill`], of bytes in a buffer that is the reader's to lend: the layer may write
    /// them from where they are, and keeps a handle to the buffer until it has. `lend` says
    /// whether it may.
    #[cfg(feature = "alloc")]
    fn fill_from(&mut self, blob: BlobIndex, first: u64, data: &Buffer, lend: bool) {
        if let Some(region) = self.region_mut() {
            region.fill_from(blob, first, data, lend);
        }
    }

    /// Moves background work on without waiting.
    fn progress(&mut self, storage: &mut S) {
        if let Some(region) = self.region_mut() {
            region.progress(storage);
        }
    }

    /// Moves background work on without waiting; returns an ended job that is not the layer's.
    #[cfg(feature = "alloc")]
    fn poll(&mut self, storage: &mut S) -> Option<Ended> {
        match self.region_mut() {
            Some(region) => region.poll(storage),
            None => storage.poll(),
        }
    }
}

/// No region: everything is read from its source, every time.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRegion;

impl<S: Storage> Layer<S> for NoRegion {
    type Region = Self;

    fn region(&self) -> Option<&Self> {
        None
    }

    fn region_mut(&mut self) -> Option<&mut Self> {
        None
    }
}
