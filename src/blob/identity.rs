//! The identity of a blob: the key by which a region knows it.
//!
//! Always: the same slot of the same image over the same source has the same identity in every
//! boot. Two images that name the same blob have two identities for it, because nobody has verified
//! that the blob is what its name says; unless both are mounted in one domain, whose images the
//! configuration trusts to name their blobs truly.
//!
//! Limit: the digest covers only the head of an image, so two images with equal heads in one domain
//! have equal identities. A disk without a version ([`crate::storage::Discover::set_version`])
//! keeps its identity when its content changes, if superblock and device table of the image do not
//! change at all. Random UUIDs, or tags that are digests, rule this out.

use super::image::Image;
use super::order::Order;
use crate::cache::{BlobIdentity, IDENTITY_BYTES};
use crate::erofs::DeviceSlot;
use core::cell::OnceCell;
use twox_hash::XxHash3_64;

/// The longest name of a domain, in bytes.
pub const DOMAIN_BYTES_MAX: usize = 32;

/// The kind byte of an identity of one image's slot.
const OF_IMAGE: u8 = 1;
/// The kind byte of an identity of a tag in a domain.
const OF_DOMAIN: u8 = 2;

/// A set of images that share the blobs to which they give the same tag; images without a domain
/// (an empty name) share none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain(heapless::String<DOMAIN_BYTES_MAX>);

impl Domain {
    /// Returns the domain of this name; `None` if the name is longer than [`DOMAIN_BYTES_MAX`].
    pub fn new(name: &str) -> Option<Self> {
        heapless::String::try_from(name).ok().map(Self)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Returns the digest of the name, which keeps images of different domains apart: one could
    /// have the head of another and other content. 0 without a name.
    fn digest(&self) -> u64 {
        if self.0.is_empty() { 0 } else { XxHash3_64::oneshot(self.0.as_bytes()) }
    }
}

/// The fields of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Described<'i> {
    /// A slot of one image.
    OfImage {
        /// The device slot of the blob.
        slot: u16,
        /// The UUID of the image.
        image: [u8; 16],
        /// The digest of the image's superblock and device table.
        digest: u64,
        /// The version of the source; 0 for a disk without one.
        version: u64,
        /// The slot's tag, without the zeros at its end.
        tag: &'i [u8],
        /// The digest of the domain's name; 0 without a domain.
        domain: u64,
    },
    /// A tag in a domain.
    OfDomain {
        /// The name of the domain.
        domain: &'i [u8],
        /// The version of the source; 0 for a disk without one.
        version: u64,
        /// The tag.
        tag: &'i [u8],
    },
}

impl Described<'_> {
    /// Returns the tag.
    pub fn tag(&self) -> &[u8] {
        match self {
            Self::OfImage { tag, .. } | Self::OfDomain { tag, .. } => tag,
        }
    }
}

/// Returns the fields of an identity; `None` if its kind is unknown.
pub fn describe(identity: &BlobIdentity) -> Option<Described<'_>> {
    let (kind, rest) = identity.0.split_first()?;
    let (slot, rest) = rest.split_first_chunk()?;
    let (_, rest) = rest.split_first_chunk::<5>()?;
    let (name, rest) = rest.split_first_chunk::<DOMAIN_BYTES_MAX>()?;
    match *kind {
        OF_IMAGE => {
            let (image, name) = name.split_first_chunk()?;
            let (digest, version) = name.split_first_chunk()?;
            let (tag, domain) = rest.split_at_checked(64)?;
            Some(Described::OfImage {
                slot: u16::from_le_bytes(*slot),
                image: *image,
                digest: u64::from_le_bytes(*digest),
                version: u64::from_le_bytes(*version.first_chunk()?),
                tag: trimmed(tag),
                domain: u64::from_le_bytes(*domain.first_chunk()?),
            })
        }
        OF_DOMAIN => {
            let (version, tag) = rest.split_first_chunk()?;
            let version = u64::from_le_bytes(*version);
            Some(Described::OfDomain { domain: trimmed(name), version, tag: trimmed(tag) })
        }
        _ => None,
    }
}

/// Returns `bytes` without the zeros at their end.
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let Some((0, rest)) = bytes.split_last() {
        bytes = rest;
    }
    bytes
}

/// Returns the identity of device slot `slot` of `image`, whose source has the version `version`.
///
/// Two layouts, little endian, with the bytes of each field. In a domain, if the tag is not empty
/// and no other slot has it: kind 2 (1), padding (7), the domain's name (32), version of the source
/// (8), tag (64). Else: kind 1 (1), slot (2), padding (5), image UUID (16), digest of superblock
/// and device table (8), version of the source (8), tag (64), digest of the domain's name (8, 0
/// without one).
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

    /// Returns the identity of a slot; see [`identity`].
    pub fn of(&self, slot: u16, version: u64) -> BlobIdentity {
        let image = self.image;
        // The primary device has no tag.
        let tag = image.devices.slot(slot).map_or(&[][..], |device| device.tag());
        let shared = !image.domain.0.is_empty() && !tag.is_empty() && self.is_unique(tag);
        let mut raw = [0; IDENTITY_BYTES];
        if shared {
            put(&mut raw, 0, &[OF_DOMAIN]);
            put(&mut raw, 8, image.domain.0.as_bytes());
            put(&mut raw, 40, &version.to_le_bytes());
            put(&mut raw, 48, tag);
        } else {
            let digest = self.digest.get_or_init(|| image.digest());
            put(&mut raw, 0, &[OF_IMAGE]);
            put(&mut raw, 1, &slot.to_le_bytes());
            put(&mut raw, 8, &image.superblock.uuid);
            put(&mut raw, 24, &digest.to_le_bytes());
            put(&mut raw, 32, &version.to_le_bytes());
            put(&mut raw, 40, tag);
            put(&mut raw, 104, &image.domain.digest().to_le_bytes());
        }
        BlobIdentity(raw)
    }

    /// Returns whether a single slot has this tag: two slots could be bound to different sources.
    fn is_unique(&self, tag: &[u8]) -> bool {
        let devices = &self.image.devices;
        let tag_of = |number| devices.slot(number).map(DeviceSlot::tag);
        let order = self.by_tag.get_or_init(|| Order::new(1..=devices.len(), tag_of));
        matches!(order.at(&Some(tag), tag_of).0, [_])
    }
}

impl BlobIdentity {
    /// Returns the identity with the version of the source set to 0.
    pub fn of_any_version(mut self) -> Self {
        let at = if self.0.first() == Some(&OF_DOMAIN) { 40 } else { 32 };
        put(&mut self.0, at, &[0; 8]);
        self
    }

    /// Returns the version of the source.
    pub fn version(&self) -> u64 {
        match describe(self) {
            Some(Described::OfImage { version, .. } | Described::OfDomain { version, .. }) => {
                version
            }
            None => 0,
        }
    }
}

fn put(raw: &mut [u8; IDENTITY_BYTES], at: usize, field: &[u8]) {
    let to = raw.iter_mut().skip(at);
    to.zip(field).for_each(|(to, from)| *to = *from);
}
