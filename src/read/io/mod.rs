//! The layer over the devices of a mount, and the transfers from both to a reader.
//!
//! Always: a read fills its whole buffer with the bytes of its extents or fails; the source of a
//! device slot never changes after the mount.

mod bounce;
mod fetch;
mod pieces;
#[cfg(feature = "alloc")]
mod under_way;

#[cfg(not(feature = "alloc"))]
pub use bounce::BOUNCE_BYTES;
#[cfg(feature = "alloc")]
pub use bounce::BOUNCES;
pub use bounce::Bounces;
pub use fetch::BATCH_MAX;
pub use pieces::{Extent, Source};
#[cfg(feature = "alloc")]
pub use pieces::{source_of, wanted};

use super::guard::Guard;
use super::stats::Stats;
use crate::blob::{self, BindError, Image, SOURCES_MAX};
use crate::cache::{BlobIdentity, Described, Layer, OBJECTS};
use crate::error::Error;
use crate::num::{Bug, OrBug};
use crate::storage::events::{Cause, Kind, Place, Recorder};
use crate::storage::{DeviceId, Storage};
use crate::units::{BLOCK, ByteRange, DeviceSlot, Fill, Pow2, count};
#[cfg(feature = "alloc")]
use under_way::UnderWay;

/// The sector and longest transfer that stand for an absent source, whose blob is read from the
/// region alone, and which no storage judges.
const ABSENT: (Pow2, u64, bool) = match Pow2::of(512) {
    Some(sector) => (sector, 1 << 20, false),
    None => panic!("512 is a power of two"),
};

/// The sources of all slots.
#[cfg(feature = "alloc")]
pub type Sources = alloc::vec::Vec<Source>;
/// The sources of all slots.
#[cfg(not(feature = "alloc"))]
pub type Sources = heapless::Vec<Source, SOURCES_MAX>;

/// The layer and the counters of a mount.
#[derive(Debug)]
pub struct Io<L> {
    pub layer: L,
    pub stats: Stats,
    /// What happens, where somebody asked for it.
    pub recorder: Recorder,
    bounces: Bounces,
    /// Demand reads of bytes that the layer keeps.
    #[cfg(feature = "alloc")]
    pub under_way: UnderWay,
}

/// Returns the sources of all device slots, and attaches to `layer` the blobs whose content a digest
/// names; all of them if `is_first`: no other image of the mount has this head.
///
/// # Errors
/// [`BindError::Unfit`], [`BindError::OtherImage`]; a bug for more than [`SOURCES_MAX`] parts.
pub fn sources<S: Storage, L: Layer<S>>(
    storage: &S,
    layer: &mut L,
    image: &Image,
    parts: &blob::Sources,
    is_first: bool,
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
        let is_known = is_first || part.content.is_some();
        is_known.then(|| layer.attach(|| identities.of_part(slot, part), part.bytes)).flatten()
    };
    // Without `alloc` no layer keeps blobs, and the image's identity is unknown.
    #[cfg(not(feature = "alloc"))]
    let (attach, _) = (|_, _: &blob::SourcePart| None, (layer, is_first));
    let sources = (0..=u16::MAX).zip(parts).map(|(slot, part)| {
        let (sector, transfer_max, pinned) = match blob::fit(storage, slot, part.device)? {
            Some(info) => (
                Pow2::of(info.sector_bytes.into()).or_bug()?,
                info.transfer_bytes_max.into(),
                info.pinned,
            ),
            None => ABSENT,
        };
        // The layer takes whole blocks, so the device must be able to transfer one.
        let fits = transfer_max >= BLOCK.get();
        let blob = if fits { attach(slot, part) } else { None };
        let (device, base, bytes) = (part.device, part.base, part.bytes);
        Ok(Source { device, base, bytes, sector, transfer_max, blob, pinned })
    });
    sources.collect()
}

/// Adds the source of the storage's objects, and returns its slot; `None` if there are none.
///
/// # Errors
/// [`BindError::Unfit`]; a bug if the image has as many slots as there can be.
pub fn add_objects<S: Storage, L: Layer<S>>(
    storage: &S,
    layer: &mut L,
    sources: &mut Sources,
) -> Result<Option<DeviceSlot>, Error> {
    let Some(device) = storage.objects() else { return Ok(None) };
    let slot = u16::try_from(sources.len()).ok().or_bug()?;
    let info = blob::fit(storage, slot, device)?.or_bug()?;
    let identity = || BlobIdentity::of(&Described::OfContent { content: &OBJECTS, base: 0 });
    let source = Source {
        device,
        base: 0,
        bytes: info.bytes,
        sector: Pow2::of(info.sector_bytes.into()).or_bug()?,
        transfer_max: info.transfer_bytes_max.into(),
        blob: layer.attach(identity, info.bytes),
        pinned: info.pinned,
    };
    sources.extend([source]);
    Ok(Some(DeviceSlot::new(slot)))
}

impl<L> Io<L> {
    /// Returns the state before the first read. `mount_bytes` were read to learn the sources. Events
    /// go to `recorder`.
    pub fn new<S: Storage>(layer: L, mount_bytes: u64, bounces: Bounces, recorder: Recorder) -> Self
    where
        L: Layer<S>,
    {
        let mut layer = layer;
        layer.record(&recorder);
        let stats = Stats { mount_bytes, ..Stats::default() };
        Self {
            layer,
            stats,
            recorder,
            bounces,
            #[cfg(feature = "alloc")]
            under_way: UnderWay::default(),
        }
    }

    /// Returns the bytes that the bounce buffers may still allocate.
    #[cfg(feature = "alloc")]
    #[expect(clippy::arithmetic_side_effects, reason = "at most 16 of 8 KiB")]
    pub fn reserve_bytes(&self) -> usize {
        self.bounces.unmade() * bounce::BOUNCE_BYTES
    }
}

impl<'r, S: Storage, L: Layer<S>> Guard<'r, S, L> {
    /// Returns the source of a device slot; `None` if the image has no such slot.
    pub fn source(&self, slot: DeviceSlot) -> Option<&'r Source> {
        self.shared.source(slot)
    }

    /// Returns the bytes `range` of a device slot if they lie in memory.
    pub fn view(&self, slot: DeviceSlot, range: ByteRange) -> Option<&'r [u8]> {
        self.shared.view(slot, range)
    }

    /// Notes the time of the first file byte, unless there was one before.
    pub fn note_first_byte(&mut self) {
        if self.io.stats.first_byte_ns == 0 {
            self.io.stats.first_byte_ns = self.storage.now_ns();
        }
    }

    /// Fills `out` as [`Guard::fetch`] does if all extents lie in memory. Else returns false, and
    /// leaves any bytes in `out`.
    pub fn copy_viewed(&mut self, extents: &[Extent], out: &mut [u8]) -> Result<bool, Bug> {
        let shared = self.shared;
        let is_absent = |extent: &Extent| match *extent {
            Extent::Hole(_) => false,
            Extent::Blob { slot, range } => shared.view(slot, range).is_none(),
        };
        if extents.iter().any(is_absent) {
            return Ok(false);
        }
        let (transfers, copied) = self.released(|_| -> Result<(u64, usize), Bug> {
            let mut out = Fill::new(out);
            let (mut transfers, mut copied) = (0, 0_usize);
            for extent in extents {
                let front = out.next(extent.len())?;
                match *extent {
                    Extent::Hole(_) => front.fill(0),
                    Extent::Blob { slot, range } => {
                        front.copy_from_slice(shared.view(slot, range).or_bug()?);
                        copied = copied.checked_add(front.len()).or_bug()?;
                        count(&mut transfers, 1);
                    }
                }
            }
            out.finish()?;
            Ok((transfers, copied))
        })?;
        if self.io.recorder.is_on() {
            self.record_viewed(extents);
        }
        self.io.stats.copied(copied);
        self.io.stats.fetched(transfers, copied);
        Ok(true)
    }

    /// Records extents that were copied from devices that are memory.
    #[cold]
    fn record_viewed(&self, extents: &[Extent]) {
        for extent in extents {
            let Extent::Blob { slot, range } = *extent else { continue };
            let departure = self.io.recorder.depart(self.storage);
            let event = departure.event(0, (Kind::Fetch, Cause::Demand), place_of(slot, range));
            self.io.recorder.add(|| event);
        }
    }

    /// Records that the first `len` bytes of `extents` are needed, wherever they are.
    pub fn note_use(&self, extents: &[Extent], len: u64) {
        if self.io.recorder.is_on() {
            self.uses(extents, len);
        }
    }

    #[cold]
    fn uses(&self, extents: &[Extent], len: u64) {
        let departure = self.io.recorder.depart(self.storage);
        let mut rest = ByteRange::first(len);
        for extent in extents {
            let (here, later) = rest.split(extent.len());
            rest = later;
            if let Extent::Blob { slot, range } = *extent
                && let Some(used) = range.take(here.len()).non_empty()
            {
                let place = place_of(slot, used);
                self.io.recorder.add(|| departure.event(0, (Kind::Use, Cause::Demand), place));
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
