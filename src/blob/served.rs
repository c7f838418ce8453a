//! The slots that each source serves.
//!
//! Always: a source serves one slot, or slots of the same tag and length that are known to be one
//! blob; the source of the image serves the image alone.

#[cfg(not(feature = "alloc"))]
use super::source::SOURCES_MAX;
use super::source::SourceKey;
use crate::erofs::Devices;

#[cfg(feature = "alloc")]
type Uses = alloc::vec::Vec<(SourceKey, Use)>;
#[cfg(not(feature = "alloc"))]
type Uses = heapless::Vec<(SourceKey, Use), SOURCES_MAX>;

/// The way a device was found for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FoundBy {
    /// By the configuration, which names it.
    Configuration,
    /// By its name, which is the slot's whole tag and a digest of the content.
    Digest,
    /// By its name, which is the slot's whole tag. Blobs with other content may have the same tag:
    /// those of images that were made with the same UUID.
    Tag,
    /// By its name, which is the start of the slot's tag: a serial has no room for a long tag.
    PartOfTag,
}

impl FoundBy {
    /// Returns whether a device is the blob of two slots of the same tag and length, if it was
    /// found in these ways for them.
    fn is_one_blob(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Configuration | Self::Digest, Self::Configuration | Self::Digest)
                // The configuration confirms the tag.
                | (Self::Configuration, Self::Tag)
                | (Self::Tag, Self::Configuration)
        )
    }
}

/// The first slot that a source serves.
#[derive(Clone, Copy)]
struct Use {
    slot: u16,
    found_by: FoundBy,
}

/// The sources in use, each with its first slot, sorted by key.
pub(super) struct Served(Uses);

impl Served {
    /// Returns a table with the source of the image alone.
    pub(super) fn new(image: SourceKey) -> Self {
        let mut served = Self(Uses::new());
        served.insert(0, (image, Use { slot: 0, found_by: FoundBy::Configuration }));
        served
    }

    /// Records that `source` serves `slot`, for which it was found in the way `found_by`.
    ///
    /// # Errors
    /// The other slot that `source` serves, if the two are not known to be one blob.
    pub(super) fn claim(
        &mut self,
        devices: &Devices,
        source: SourceKey,
        slot: u16,
        found_by: FoundBy,
    ) -> Result<(), u16> {
        let this = Use { slot, found_by };
        let at = self.0.partition_point(|(known, _)| *known < source);
        match self.0.get(at) {
            Some((known, other)) if *known == source => {
                // The image has no device slot, and an empty tag identifies nothing.
                let tag_and_length = |number| {
                    let slot = devices.slot(number).filter(|slot| !slot.tag().is_empty())?;
                    Some((slot.tag(), slot.blocks()))
                };
                let theirs = tag_and_length(other.slot);
                let is_alike = theirs.is_some() && theirs == tag_and_length(slot);
                if is_alike && other.found_by.is_one_blob(found_by) {
                    Ok(())
                } else {
                    Err(other.slot)
                }
            }
            _ => {
                self.insert(at, (source, this));
                Ok(())
            }
        }
    }

    /// Inserts an entry. There is room for one entry a slot.
    fn insert(&mut self, at: usize, entry: (SourceKey, Use)) {
        #[cfg(feature = "alloc")]
        self.0.insert(at, entry);
        #[cfg(not(feature = "alloc"))]
        let _ = self.0.insert(at, entry);
    }
}
