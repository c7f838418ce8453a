//! The identity of a blob: the bytes that a region knows the blob by.
//!
//! Always: two blobs are the same if, and only if, the bytes of their identities are; what
//! [`BlobIdentity::of`] was given [`BlobIdentity::describe`] returns. An identity holds everything
//! that must not be mixed up: the tag, the image that names the blob, the version of its source; or a
//! digest, which stands for all of these.

use crate::units::DeviceSlot;

/// Bytes of a [`BlobIdentity`].
pub const IDENTITY_BYTES: usize = 112;

/// The longest name of a domain, in bytes.
pub const DOMAIN_BYTES_MAX: usize = 32;

/// The bytes of a digest that names a content.
const CONTENT_BYTES: usize = 32;

/// The content that stands for all objects together: the digest of each chooses its place in the blob,
/// whatever image names it.
pub const OBJECTS: [u8; CONTENT_BYTES] = *b"rootlet: objects by their digest";

/// The longest tag of a slot, in bytes.
const TAG_BYTES_MAX: usize = 64;

/// The kind byte of an identity of one image's slot.
const OF_IMAGE: u8 = 1;
/// The kind byte of an identity of a tag in a domain.
const OF_DOMAIN: u8 = 2;
/// The kind byte of an identity of a content that a digest names.
const OF_CONTENT: u8 = 3;

/// The identity of a blob.
///
/// Three layouts, little endian, with the bytes of each field. In a domain: kind 2 (1), padding (7),
/// the domain's name (32), version of the source (8), tag (64). With a digest: kind 3 (1), padding
/// (7), the digest (32), the byte of the content that is the blob's first (8), padding (64). Else: kind 1 (1), slot (2), padding
/// (5), image UUID (16), digest of superblock and device table (8), version of the source (8), tag
/// (64), digest of the domain's name (8, 0 without one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobIdentity(pub [u8; IDENTITY_BYTES]);

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
    /// A content that a digest names, whatever image refers to it.
    OfContent {
        /// The digest.
        content: &'i [u8; CONTENT_BYTES],
        /// The byte of the content that is the blob's first.
        base: u64,
    },
}

impl Described<'_> {
    /// Returns the tag; an empty one if a digest names the blob.
    pub fn tag(&self) -> &[u8] {
        match self {
            Self::OfContent { .. } => &[],
            Self::OfImage { tag, .. } | Self::OfDomain { tag, .. } => tag,
        }
    }
}

impl BlobIdentity {
    /// Returns the identity with these fields. A name or a tag is cut at the end of its field.
    pub fn of(described: &Described<'_>) -> Self {
        let mut raw = [0; IDENTITY_BYTES];
        match *described {
            Described::OfImage { slot, image, digest, version, tag, domain } => {
                put(&mut raw, 0, 1, &[OF_IMAGE]);
                put(&mut raw, 1, 2, &slot.to_le_bytes());
                put(&mut raw, 8, 16, &image);
                put(&mut raw, 24, 8, &digest.to_le_bytes());
                put(&mut raw, 32, 8, &version.to_le_bytes());
                put(&mut raw, 40, TAG_BYTES_MAX, tag);
                put(&mut raw, 104, 8, &domain.to_le_bytes());
            }
            Described::OfDomain { domain, version, tag } => {
                put(&mut raw, 0, 1, &[OF_DOMAIN]);
                put(&mut raw, 8, DOMAIN_BYTES_MAX, domain);
                put(&mut raw, 40, 8, &version.to_le_bytes());
                put(&mut raw, 48, TAG_BYTES_MAX, tag);
            }
            Described::OfContent { content, base } => {
                put(&mut raw, 0, 1, &[OF_CONTENT]);
                put(&mut raw, 8, CONTENT_BYTES, content);
                put(&mut raw, 40, 8, &base.to_le_bytes());
            }
        }
        Self(raw)
    }

    /// Returns the fields of the identity; `None` if its kind is unknown.
    pub fn describe(&self) -> Option<Described<'_>> {
        let (kind, rest) = self.0.split_first()?;
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
            OF_CONTENT => {
                let (base, _) = rest.split_first_chunk()?;
                Some(Described::OfContent { content: name, base: u64::from_le_bytes(*base) })
            }
            _ => None,
        }
    }

    /// Returns the device slot that the blob has in its image; `None` for a blob of a domain or of a
    /// digest, which has others in other images.
    pub fn slot(&self) -> Option<DeviceSlot> {
        match self.describe()? {
            Described::OfImage { slot, .. } => Some(DeviceSlot::new(slot)),
            Described::OfDomain { .. } | Described::OfContent { .. } => None,
        }
    }

    /// Returns the identity with the version of the source set to 0, if it has one.
    pub fn of_any_version(mut self) -> Self {
        let at = match self.0.first() {
            Some(&OF_CONTENT) => return self,
            Some(&OF_DOMAIN) => 40,
            _ => 32,
        };
        put(&mut self.0, at, 8, &[0; 8]);
        self
    }

    /// Returns the version of the source; 0 if none is known.
    pub fn version(&self) -> u64 {
        match self.describe() {
            Some(Described::OfImage { version, .. } | Described::OfDomain { version, .. }) => {
                version
            }
            Some(Described::OfContent { .. }) | None => 0,
        }
    }
}

/// Returns `bytes` without the zeros at their end.
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let Some((0, rest)) = bytes.split_last() {
        bytes = rest;
    }
    bytes
}

/// Puts `field` at byte `at`, as much of it as `len` bytes hold.
fn put(raw: &mut [u8; IDENTITY_BYTES], at: usize, len: usize, field: &[u8]) {
    let to = raw.iter_mut().skip(at).take(len);
    to.zip(field).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_says_what_it_was_made_of() {
        let (image, tag, version) = ([7; 16], &[b'a'; 64][..], u64::MAX);
        let all = [
            Described::OfImage { slot: 513, image, digest: 2, version, tag, domain: 5 },
            Described::OfImage { slot: 1, image, digest: 0, version: 0, tag: b"", domain: 0 },
            Described::OfDomain { domain: &[b'd'; 32], version, tag },
            Described::OfDomain { domain: b"d", version: 0, tag: b"t" },
            Described::OfContent { content: &[0xee; 32], base: u64::MAX },
            Described::OfContent { content: &[0; 32], base: 0 },
        ];
        for said in all {
            let identity = BlobIdentity::of(&said);
            assert_eq!(identity.describe(), Some(said));
            assert_eq!(identity.of_any_version().version(), 0);
            assert_eq!(
                identity.of_any_version().describe().map(|said| said.tag().len()),
                Some(said.tag().len())
            );
        }
        assert_eq!(BlobIdentity([9; IDENTITY_BYTES]).describe(), None);
    }

    #[test]
    fn a_tag_that_is_too_long_reaches_no_other_field() {
        let (image, tag) = ([7; 16], &[b'a'; 200][..]);
        let said = Described::OfImage { slot: 1, image, digest: 2, version: 3, tag, domain: 0 };
        let identity = BlobIdentity::of(&said);
        assert!(matches!(identity.describe(), Some(Described::OfImage { domain: 0, .. })));
    }
}
