//! What the read path asks of what stands below the blobs.
//!
//! Always: a layer answers every question itself; none has a default, so that none is forgotten. No
//! place in the region is named here: who reads from it holds a [`Ticket`], which comes back by
//! [`Layer::settle`] alone.

use super::{BlobIdentity, BlobIndex, Spot, Ticket, Verdict};
#[cfg(feature = "alloc")]
use super::{BootRun, Cache};
use crate::storage::events::Recorder;
#[cfg(feature = "alloc")]
use crate::storage::{Buffer, Ended};
use crate::storage::{IoErrorKind, Storage};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::ops::Range;

/// Why blocks are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A reader wants them, or will.
    Read,
    /// An earlier boot wanted them: asking does not count as a use.
    Prefetch,
}

/// Where blocks of a blob are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// Not in the layer.
    Absent,
    /// In the region, side by side from here on: for [`Layer::ticket`].
    Resident(Spot),
    /// On their way into the region; their bytes are still in a buffer: for [`Layer::staged`].
    Staged,
}

/// What only this crate can be.
pub(super) mod sealed {
    /// A layer of this crate.
    pub trait Sealed {}
}

/// What the read path asks of the layer below the blobs. Block numbers count blocks of 4 KiB of the
/// blob.
pub trait Layer<S: Storage>: sealed::Sealed {
    /// Returns the layer's name for a blob; `None` if the layer cannot keep the blob. `identity` may
    /// then not have been called.
    fn attach(&mut self, identity: impl FnOnce() -> BlobIdentity, bytes: u64) -> Option<BlobIndex>;

    /// Has what the layer does recorded from now on.
    fn record(&mut self, recorder: &Recorder);

    /// Loads what the region says of these blocks, for [`Layer::locate`] and [`Layer::fill`]. Call it
    /// before them. May read the region's own tables.
    fn prepare(&mut self, storage: &S, blob: BlobIndex, blocks: Range<u64>, why: Why);

    /// Returns whether the layer has so little room left that it would soon drop some of the bytes
    /// that it is offered.
    fn pressed(&self) -> bool;

    /// Notes that a reader got these blocks from memory, without asking the layer: that counts as a
    /// use. Does no I/O.
    fn used(&mut self, blob: BlobIndex, blocks: Range<u64>);

    /// Returns what the start of an earlier boot read; nothing if none is known.
    #[cfg(feature = "alloc")]
    fn boot_trace(&mut self, storage: &S) -> Vec<BootRun>;

    /// Returns where the first of `blocks` is, and the end of those of them that are there with it,
    /// side by side.
    fn locate(&self, blob: BlobIndex, blocks: Range<u64>) -> (Residence, u64);

    /// Returns the longest read of the region in bytes.
    fn transfer_bytes_max(&self) -> u64;

    /// Returns the bytes of a staged block, and of what is staged side by side after it.
    fn staged(&self, blob: BlobIndex, number: u64) -> Option<&[u8]>;

    /// Returns a ticket for a read of `blocks`, which [`Layer::locate`] has just found resident side
    /// by side from `first` on; `None` if they are not.
    fn ticket(&self, first: Spot, blocks: Range<u64>) -> Option<Ticket>;

    /// Takes a ticket back, with the bytes that its read brought or how that failed. Returns whether
    /// they are right. If not, their source has them: what is wrong, and what cannot be read, is
    /// given up here.
    fn settle(&mut self, ticket: Ticket, read: Result<&[u8], IoErrorKind>) -> Verdict;

    /// Offers fetched bytes: whole blocks from block `first` on, but for the last of a blob.
    /// Copies the bytes that it keeps and does no I/O; the next [`Layer::progress`] writes them.
    fn fill(&mut self, blob: BlobIndex, first: u64, data: &[u8]);

    /// As [`Layer::fill`], of bytes in a buffer. If `lend` is true the layer may write them from
    /// where they are, and keeps a handle to the buffer until it has.
    #[cfg(feature = "alloc")]
    fn fill_from(&mut self, blob: BlobIndex, first: u64, data: &Buffer, lend: bool);

    /// Moves background work on without waiting.
    fn progress(&mut self, storage: &S);

    /// Moves background work on without waiting. Returns an ended job that is not the layer's.
    #[cfg(feature = "alloc")]
    fn poll(&mut self, storage: &S) -> Option<Ended>;
}

/// No region: everything is read from its source, every time.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRegion;

impl sealed::Sealed for NoRegion {}

impl<S: Storage> Layer<S> for NoRegion {
    fn attach(&mut self, _: impl FnOnce() -> BlobIdentity, _: u64) -> Option<BlobIndex> {
        None
    }

    fn record(&mut self, _: &Recorder) {}

    fn prepare(&mut self, _: &S, _: BlobIndex, _: Range<u64>, _: Why) {}

    fn pressed(&self) -> bool {
        false
    }

    fn used(&mut self, _: BlobIndex, _: Range<u64>) {}

    #[cfg(feature = "alloc")]
    fn boot_trace(&mut self, _: &S) -> Vec<BootRun> {
        Vec::new()
    }

    fn locate(&self, _: BlobIndex, blocks: Range<u64>) -> (Residence, u64) {
        (Residence::Absent, blocks.end)
    }

    fn transfer_bytes_max(&self) -> u64 {
        u64::MAX
    }

    fn staged(&self, _: BlobIndex, _: u64) -> Option<&[u8]> {
        None
    }

    fn ticket(&self, _: Spot, _: Range<u64>) -> Option<Ticket> {
        None
    }

    fn settle(&mut self, _: Ticket, _: Result<&[u8], IoErrorKind>) -> Verdict {
        Verdict::Stale
    }

    fn fill(&mut self, _: BlobIndex, _: u64, _: &[u8]) {}

    #[cfg(feature = "alloc")]
    fn fill_from(&mut self, _: BlobIndex, _: u64, _: &Buffer, _: bool) {}

    fn progress(&mut self, _: &S) {}

    #[cfg(feature = "alloc")]
    fn poll(&mut self, storage: &S) -> Option<Ended> {
        storage.poll()
    }
}

#[cfg(feature = "alloc")]
impl sealed::Sealed for Option<Cache> {}

/// A region, or what [`NoRegion`] answers.
#[cfg(feature = "alloc")]
impl<S: Storage> Layer<S> for Option<Cache> {
    fn attach(&mut self, identity: impl FnOnce() -> BlobIdentity, bytes: u64) -> Option<BlobIndex> {
        Layer::<S>::attach(self.as_mut()?, identity, bytes)
    }

    fn record(&mut self, recorder: &Recorder) {
        if let Some(region) = self {
            Layer::<S>::record(region, recorder);
        }
    }

    fn prepare(&mut self, storage: &S, blob: BlobIndex, blocks: Range<u64>, why: Why) {
        if let Some(region) = self {
            region.prepare(storage, blob, blocks, why);
        }
    }

    fn pressed(&self) -> bool {
        self.as_ref().is_some_and(Cache::pressed)
    }

    fn used(&mut self, blob: BlobIndex, blocks: Range<u64>) {
        if let Some(region) = self {
            Layer::<S>::used(region, blob, blocks);
        }
    }

    fn boot_trace(&mut self, storage: &S) -> Vec<BootRun> {
        match self {
            Some(region) => region.boot_trace(storage),
            None => NoRegion.boot_trace(storage),
        }
    }

    fn locate(&self, blob: BlobIndex, blocks: Range<u64>) -> (Residence, u64) {
        match self {
            Some(region) => Layer::<S>::locate(region, blob, blocks),
            None => Layer::<S>::locate(&NoRegion, blob, blocks),
        }
    }

    fn transfer_bytes_max(&self) -> u64 {
        match self {
            Some(region) => Layer::<S>::transfer_bytes_max(region),
            None => Layer::<S>::transfer_bytes_max(&NoRegion),
        }
    }

    fn staged(&self, blob: BlobIndex, number: u64) -> Option<&[u8]> {
        Layer::<S>::staged(self.as_ref()?, blob, number)
    }

    fn ticket(&self, first: Spot, blocks: Range<u64>) -> Option<Ticket> {
        Layer::<S>::ticket(self.as_ref()?, first, blocks)
    }

    fn settle(&mut self, ticket: Ticket, read: Result<&[u8], IoErrorKind>) -> Verdict {
        match self {
            Some(region) => Layer::<S>::settle(region, ticket, read),
            None => Layer::<S>::settle(&mut NoRegion, ticket, read),
        }
    }

    fn fill(&mut self, blob: BlobIndex, first: u64, data: &[u8]) {
        if let Some(region) = self {
            Layer::<S>::fill(region, blob, first, data);
        }
    }

    fn fill_from(&mut self, blob: BlobIndex, first: u64, data: &Buffer, lend: bool) {
        if let Some(region) = self {
            Layer::<S>::fill_from(region, blob, first, data, lend);
        }
    }

    fn progress(&mut self, storage: &S) {
        if let Some(region) = self {
            region.progress(storage);
        }
    }

    fn poll(&mut self, storage: &S) -> Option<Ended> {
        match self {
            Some(region) => region.poll(storage),
            None => NoRegion.poll(storage),
        }
    }
}
