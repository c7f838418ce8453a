//! What makes a blob this blob, for the region.
//!
//! Always: the same image over the same source has the same identity in every boot; another
//! image, another slot, another tag or another version of the source has another.
//!
//! Limit: a disk whose content changed under the same tag, in an image whose superblock and
//! device table did not change at all, is the same blob to us. Images made with random UUIDs, or
//! tags that are digests, do not meet this.

use super::image::Image;
use crate::cache::{BlobIdentity, IDENTITY_BYTES};

/// The identity of slot `slot` of `image`, whose source is of `version`.
///
/// Layout: kind (1), slot (2, little endian), padding (5), image UUID (16), digest of superblock
/// and device table (8), version of the source (8), tag (64), padding.
pub fn identity(image: &Image, slot: u16, version: u64) -> BlobIdentity {
    let tag = image.devices.slot(slot).map(|device| device.tag()).unwrap_or_default();
    let [low, high] = slot.to_le_bytes();
    let fields = [1, low, high, 0, 0, 0, 0, 0]
        .into_iter()
        .chain(image.superblock.uuid)
        .chain(image.digest.to_le_bytes())
        .chain(version.to_le_bytes())
        .chain(tag.iter().copied());
    let mut raw = [0; IDENTITY_BYTES];
    for (to, from) in raw.iter_mut().zip(fields) {
        *to = from;
    }
    BlobIdentity(raw)
}
