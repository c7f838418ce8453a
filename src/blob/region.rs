//! A region beside the sources of an image: where it may not be, and which of them it replaces.
//!
//! Always: a region that shares a byte with a source is not opened, because formatting it would
//! destroy the source; a source is replaced only by a region that holds some of its blob.

use super::identity::Identities;
use super::image::Image;
use super::source::{SourceKey, SourcePart, Sources};
use crate::cache::{Cache, CacheOptions};
use crate::storage::Storage;
use crate::units::ByteRange;

impl Image {
    /// Returns the slot whose source has bytes in common with the region that `options` describe;
    /// 0 is the image itself, which ends where its superblock says. Ask before [`Cache::open`],
    /// which may format.
    pub fn overlapped_slot<S: Storage>(
        &self,
        storage: &S,
        sources: &Sources,
        options: &CacheOptions,
    ) -> Option<u16> {
        let disk = storage.info(options.device)?.bytes;
        let region = match options.bytes {
            Some(bytes) => ByteRange::sized(options.start, bytes),
            None => ByteRange::new(options.start, disk),
        };
        let stated = self.superblock().block_size().pow2().times(self.superblock().blocks());
        let stated = stated.filter(|bytes| *bytes > 0);
        let disk = SourceKey::of(storage, options.device);
        let is_on_disk = |device| SourceKey::of(storage, device) == disk;
        let is_overlapped = |slot: u16, source: &SourcePart| {
            let bytes = match stated {
                Some(stated) if slot == 0 => source.bytes.min(stated),
                _ => source.bytes,
            };
            // A partition counts from its own first byte.
            let (device, start) = storage.whole(source.device).unwrap_or((source.device, 0));
            let base = start.checked_add(source.base);
            let part = base.and_then(|base| ByteRange::sized(base, bytes));
            // A range that ends beyond 64 bits has bytes in common with any other.
            let overlap = part.zip(region).is_none_or(|(part, region)| part.overlaps(region));
            is_on_disk(device) && overlap
        };
        let mut slots = (0..=u16::MAX).zip(sources);
        slots.find(|(slot, source)| is_overlapped(*slot, source)).map(|(slot, _)| slot)
    }

    /// Gives each source that is not there ([`DeviceId::NONE`](crate::storage::DeviceId::NONE)) the
    /// version that `region` holds of its blob: the version that the source has, or any if that is 0;
    /// and the length, if the image states none. Reads of what the region does not hold fail.
    ///
    /// # Errors
    /// The slot of the first such source of whose blob the region holds nothing.
    pub fn hold(&self, sources: &mut Sources, region: &Cache) -> Result<(), u16> {
        let identities = Identities::new(self);
        for (slot, part) in (0..=u16::MAX).zip(sources.absent()) {
            let Some(part) = part else { continue };
            let identity = identities.of_part(slot, part);
            let bytes = Some(part.bytes).filter(|bytes| *bytes > 0);
            let (held, bytes) = region.held(identity, bytes).ok_or(slot)?;
            (part.version, part.bytes) = (held.version(), bytes);
        }
        Ok(())
    }
}
