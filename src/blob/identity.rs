//! The identity of a blob: the key by which a region knows it.
//!
//! Always: the same slot of the same image over the same source has the same identity in every
//! boot. Two images that name the same blob have two identities for it, because nobody has verified
//! that the blob is what its name says; unless both are mounted in one domain, whose images the
//! configuration trusts to name their blobs truly. A blob whose every read is checked against a digest
//! is known by that alone, in all images.
//!
//! Limit: the digest covers only the head of an image, so two images with equal heads in one domain
//! have equal identities. A disk without a version ([`crate::storage::Discover::set_version`])
//! keeps its identity when its content changes, if superblock and device table of the image do not
//! change at all. Random UUIDs, or tags that are digests, rule this out.

use super::image::Image;
use super::order::Order;
use super::source::SourcePart;
use crate::cache::{BlobIdentity, Described};
use crate::erofs::DeviceSlot;
use core::cell::OnceCell;

/// Returns the identity of device slot `slot` of `image`, whose source has the version `version`.
///
/// In a domain, if the tag is not empty and no other slot has it, the identity is that of the tag
/// in the domain; else that of the slot in the image.
pub fn identity(image: &Image, slot: u16, version: u64) -> BlobIdentity {
    Identities::new(image).of(slot, version)
}

/// The maker of the identities of an image's slots.
#[derive(Debug)]
pub struct Identities<'i> {
    image: &'i Image,
    /// The digest of the image's head, from its first use on: the same for each slot.
    digest: OnceCell<u64>,
    /// The slots in the order of their tags, from its first use on.
    by_tag: OnceCell<Order>,
}

impl<'i> Identities<'i> {
    /// Returns the maker for `image`. Computes nothing yet.
    pub fn new(image: &'i Image) -> Self {
        Self { image, digest: OnceCell::new(), by_tag: OnceCell::new() }
    }

    /// Returns the identity of the source of a slot: that of its content if a digest names it, else
    /// that of the slot.
    pub fn of_part(&self, slot: u16, part: &SourcePart) -> BlobIdentity {
        match &part.content {
            Some(content) => BlobIdentity::of(&Described::OfContent { content, base: part.base }),
            None => self.of(slot, part.version),
        }
    }

    /// Returns the identity of a slot; see [`identity`].
    pub fn of(&self, slot: u16, version: u64) -> BlobIdentity {
        let image = self.image;
        // The primary device has no tag.
        let tag = image.devices().slot(slot).map_or(&[][..], |device| device.tag());
        let domain = &image.domain();
        if !domain.name().is_empty() && !tag.is_empty() && self.is_unique(tag) {
            let domain = domain.name().as_bytes();
            return BlobIdentity::of(&Described::OfDomain { domain, version, tag });
        }
        BlobIdentity::of(&Described::OfImage {
            slot,
            image: image.superblock().uuid(),
            digest: *self.digest.get_or_init(|| image.digest()),
            version,
            tag,
            domain: domain.digest(),
        })
    }

    /// Returns whether a single slot has this tag: two slots could be bound to different sources.
    fn is_unique(&self, tag: &[u8]) -> bool {
        let devices = &self.image.devices();
        let tag_of = |number| devices.slot(number).map(DeviceSlot::tag);
        let order = self.by_tag.get_or_init(|| Order::new(1..=devices.len(), tag_of));
        matches!(order.at(&Some(tag), tag_of).0, [_])
    }
}
