//! Which slot a source serves.
//!
//! Always: a source serves one slot, or slots of one tag and length for each of which it is known
//! to be the blob; the image's own source serves the image alone.

#[cfg(not(feature = "alloc"))]
use super::source::SOURCES_MAX;
use super::source::SourceKey;
use crate::erofs::Devices;

#[cfg(feature = "alloc")]
type Uses = alloc::vec::Vec<(SourceKey, Use)>;
#[cfg(not(feature = "alloc"))]
type Uses = heapless::Vec<(SourceKey, Use), SOURCES_MAX>;

/// How a device was found for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The configuration names it.
    Configured,
    /// It has the slot's whole tag for a name, which is a digest of the content.
    ByDigest,
    /// It has the slot's whole tag for a name. Other content may have that tag, too: whatever
    /// images were made with one UUID.
    ByTag,
    /// It has the first bytes of the slot's tag for a name, as a disk has of a long one.
    ByPartOfTag,
}

impl Found {
    /// Returns whether a device that was found in these ways for two slots of one tag and length is the
    /// blob of both.
    fn is_one_blob(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Configured | Self::ByDigest, Self::Configured | Self::ByDigest)
                // By the tag that the configuration says it has.
                | (Self::Configured, Self::ByTag)
                | (Self::ByTag, Self::Configured)
        )
    }
}

/// The first use of a source.
#[derive(Clone, Copy)]
struct Use {
    slot: u16,
    found: Found,
}

/// The sources that serve a slot, in the order of their keys.
pub(super) struct Served(Uses);

impl Served {
    /// Returns the image alone as served, by its own source.
    pub(super) fn new(image: SourceKey) -> Self {
        let mut served = Self(Uses::new());
        served.insert(0, (image, Use { slot: 0, found: Found::Configured }));
        served
    }

    /// Lets `source` serve `slot`, for which it was `found`.
    ///
    /// # Errors
    /// The slot that `source` serves already and that is not known to be the same blob.
    pub(super) fn claim(
        &mut self,
        devices: &Devices,
        source: SourceKey,
        slot: u16,
        found: Found,
    ) -> Result<(), u16> {
        let this = Use { slot, found };
        let at = self.0.partition_point(|(known, _)| *known < source);
        match self.0.get(at) {
            Some((known, other)) if *known == source => {
                // The image has none, and an empty tag is no name.
                let blob = |slot| {
                    let slot = devices.slot(slot).filter(|slot| !slot.tag().is_empty())?;
                    Some((slot.tag(), slot.blocks))
                };
                match (blob(other.slot), blob(slot)) {
                    (Some(one), Some(two)) if one == two && other.found.is_one_blob(found) => {
                        Ok(())
                    }
                    _ => Err(other.slot),
                }
            }
            _ => {
                self.insert(at, (source, this));
                Ok(())
            }
        }
    }

    /// Inserts an entry. There is room for every slot.
    fn insert(&mut self, at: usize, entry: (SourceKey, Use)) {
        #[cfg(feature = "alloc")]
        self.0.insert(at, entry);
        #[cfg(not(feature = "alloc"))]
        let _ = self.0.insert(at, entry);
    }
}
