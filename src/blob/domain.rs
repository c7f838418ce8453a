//! A domain: images that share the blobs to which they give the same tag.
//!
//! Always: images without a domain share nothing.

use crate::cache::DOMAIN_BYTES_MAX;
#[cfg(feature = "alloc")]
use twox_hash::XxHash3_64;

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
    #[cfg(feature = "alloc")]
    pub(super) fn digest(&self) -> u64 {
        if self.0.is_empty() { 0 } else { XxHash3_64::oneshot(self.0.as_bytes()) }
    }
}
