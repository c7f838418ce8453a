//! The devices of a mount, the layer over them, and the transfers from both to a reader.
//!
//! Always: a read fills its whole buffer with the bytes of its extents or fails; the source of a
//! device slot never changes after the mount.

mod bounce;
mod fetch;
mod pieces;

#[cfg(not(feature = "alloc"))]
pub use bounce::BOUNCE_BYTES;
pub use bounce::Bounce;
pub use fetch::BATCH_MAX;
#[cfg(feature = "alloc")]
pub use pieces::wanted;
pub use pieces::{Extent, Source};

use super::stats::Stats;
use crate::blob::{self, BindError, Image, SOURCES_MAX};
use crate::cache::Layer;
use crate::error::Error;
use crate::num::{Bug, OrBug};
use crate::storage::events::{Cause, Kind, Place, Recorder};
use crate::storage::{DeviceId, Storage};
use crate::units::{BLOCK, ByteRange, DeviceSlot, Fill, Pow2, count};

/// The sector and longest transfer that stand for an absent source, whose blob is read from the
/// region alone.
const ABSENT: (Pow2, u64) = match Pow2::of(512) {
    Some(sector) => (sector, 1 << 20),
    None => panic!("512 is a power of two"),
};

/// The sources of all slots.
#[cfg(feature = "alloc")]
pub type Sources = alloc::vec::Vec<Source>;
/// The sources of all slots.
#[cfg(not(feature = "alloc"))]
pub type Sources = heapless::Vec<Source, SOURCES_MAX>;

/// The storage, the layer, the sources of the device slots, and the counters of a mount.
#[derive(Debug)]
pub struct Io<S, L> {
    pub storage: S,
    pub layer: L,
    pub stats: Stats,
    /// What happens, where somebody asked for it.
    pub recorder: Recorder,
    sources: Sources,
    bounce: Bounce,
}

/// Returns the sources of all device slots, and attaches their blobs to `layer`.
///
/// # Errors
/// [`BindError::Unfit`], [`BindError::OtherImage`]; a bug for more than [`SOURCES_MAX`] parts.
pub fn sources<S: Storage, L: Layer<S>>(
    storage: &S,
    layer: &mut L,
    image: &Image,
    parts: &blob::Sources,
) -> Result<Sources, Error> {
    if parts.origin() != image.superblock().origin() {
        return Err(BindError::OtherImage.into());
    }
    // One part for each slot; the image's device table bounds their number.
    if parts.len() > SOURCES_MAX {
        return Err(Error::bug());
    }
    #[cfg(feature = "alloc")]
    let identities = blob::Identities::new(image);
    #[cfg(feature = "alloc")]
    let mut attach = |slot, part: &blob::SourcePart| {
        layer.attach(|| identities.of(slot, part.version), part.bytes)
    };
    // Without `alloc` no layer keeps blobs, and the image's identity is unknown.
    #[cfg(not(feature = "alloc"))]
    let (attach, _) = (|_, _: &blob::SourcePart| None, layer);
    let sources = (0..=u16::MAX).zip(parts).map(|(slot, part)| {
        let (sector, transfer_max) = match blob::fit(storage, slot, part.device)? {
            Some(info) => {
                (Pow2::of(info.sector_bytes.into()).or_bug()?, info.transfer_bytes_max.into())
            }
            None => ABSENT,
        };
        // The layer takes whole blocks, so the device must be able to transfer one.
        let blob = if transfer_max < BLOCK.get() { None } else { attach(slot, part) };
        let (device, base, bytes) = (part.device, part.base, part.bytes);
        Ok(Source { device, base, bytes, sector, transfer_max, blob })
    });
    sources.collect()
}

impl<S: Storage, L: Layer<S>> Io<S, L> {
    /// Returns the devices of a mount before its first read: `sources` are those of all slots,
    /// attached to `layer`, and the bytes that were read to learn them. Events go to `recorder`.
    pub fn new(
        storage: S,
        layer: L,
        (sources, mount_bytes): (Sources, u64),
        bounce: Bounce,
        recorder: Recorder,
    ) -> Self {
        let mut layer = layer;
        layer.record(&recorder);
        let stats = Stats { mount_bytes, ..Stats::default() };
        Self { storage, layer, stats, recorder, sources, bounce }
    }

    /// Returns the sources of all device slots.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Returns the source of a device slot; `None` if the image has no such slot.
    pub fn source(&self, slot: DeviceSlot) -> Option<&Source> {
        self.sources.get(usize::from(slot.get()))
    }

    /// Notes the time of the first file byte, unless there was one before.
    pub fn note_first_byte(&mut self) {
        if self.stats.first_byte_ns == 0 {
            self.stats.first_byte_ns = self.storage.now_ns();
        }
    }

    /// Returns the bytes that the bounce buffers may still allocate.
    #[cfg(feature = "alloc")]
    pub fn reserve_bytes(&self) -> usize {
        self.bounce.reserve_bytes()
    }

    /// Returns the bytes `range` of a device slot if they lie in memory.
    pub fn view(&self, slot: DeviceSlot, range: ByteRange) -> Option<&[u8]> {
        let source = self.source(slot)?;
        if range.end() > source.bytes {
            return None;
        }
        let (device, at) = source.at(range.start()).ok()?;
        self.storage.view(device, at, usize::try_from(range.len()).ok()?)
    }

    /// Fills `out` as [`Io::fetch`] does if all extents lie in memory. Else returns false, and
    /// leaves any bytes in `out`.
    pub fn copy_viewed(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<bool, Bug> {
        let mut out = Fill::new(out);
        let (mut transfers, mut copied) = (0, 0_usize);
        for extent in extents {
            let front = out.next(extent.len())?;
            match *extent {
                Extent::Hole(_) => front.fill(0),
                Extent::Blob { slot, range } => {
                    let Some(bytes) = self.view(slot, range) else { return Ok(false) };
                    front.copy_from_slice(bytes);
                    copied = copied.checked_add(front.len()).or_bug()?;
                    count(&mut transfers, 1);
                }
            }
        }
        out.finish()?;
        self.stats.copied(copied);
        self.stats.fetched(transfers, copied);
        if self.recorder.is_on() {
            self.viewed(extents);
        }
        Ok(true)
    }

    /// Records that the bytes of `extents` were copied from devices that are memory.
    #[cold]
    fn viewed(&self, extents: &[Extent]) {
        let departure = self.recorder.depart(&self.storage);
        for extent in extents {
            if let Extent::Blob { slot, range } = *extent {
                let place = place_of(slot, range);
                self.recorder.add(|| departure.event(0, (Kind::Fetch, Cause::Demand), place));
            }
        }
    }

    /// Records that the first `len` bytes of `extents` are needed, wherever they are.
    pub fn note_use(&self, extents: &[Extent], len: u64) {
        if self.recorder.is_on() {
            self.uses(extents, len);
        }
    }

    #[cold]
    fn uses(&self, extents: &[Extent], len: u64) {
        let departure = self.recorder.depart(&self.storage);
        let mut rest = ByteRange::first(len);
        for extent in extents {
            let (here, later) = rest.split(extent.len());
            rest = later;
            if let Extent::Blob { slot, range } = *extent
                && let Some(used) = range.take(here.len()).non_empty()
            {
                let place = place_of(slot, used);
                self.recorder.add(|| departure.event(0, (Kind::Use, Cause::Demand), place));
            }
        }
    }

    /// Returns the device and byte offset of the first extent; `None` if that is a hole.
    pub fn place(&self, extents: &[Extent]) -> Option<(DeviceId, u64)> {
        let Some(Extent::Blob { slot, range }) = extents.first() else { return None };
        let source = self.source(*slot)?;
        source.at(range.start()).ok()
    }
}

/// Returns bytes of a slot as events name them.
pub fn place_of(slot: DeviceSlot, range: ByteRange) -> Place {
    Place { slot: Some(slot.get()), at: range.start(), len: range.len() }
}
