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

/// What an identity that [`identity`] made says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described<'i> {
    /// The device slot that the blob has in its image.
    pub slot: u16,
    /// UUID of the image.
    pub image: [u8; 16],
    /// Digest of the image's superblock and device table.
    pub digest: u64,
    /// Version of the source, 0 for a disk.
    pub version: u64,
    /// The slot's tag, without the zeros behind it.
    pub tag: &'i [u8],
}

/// Takes an identity apart; `None` if another than [`identity`] made it.
pub fn describe(identity: &BlobIdentity) -> Option<Described<'_>> {
    let raw = &identity.0;
    let (kind, rest) = raw.split_first()?;
    let (slot, rest) = rest.split_first_chunk()?;
    let (_, rest) = rest.split_first_chunk::<5>()?;
    let (image, rest) = rest.split_first_chunk()?;
    let (digest, rest) = rest.split_first_chunk()?;
    let (version, tag) = rest.split_first_chunk()?;
    let len = tag.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    (*kind == 1).then_some(Described {
        slot: u16::from_le_bytes(*slot),
        image: *image,
        digest: u64::from_le_bytes(*digest),
        version: u64::from_le_bytes(*version),
        tag: tag.get(..len)?,
    })
}

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
