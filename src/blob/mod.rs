//! Blobs: what an image says about its devices, and which devices of the machine they are.
//!
//! Always: every slot has one source, whose length was checked, before the first read; and every
//! source one slot, or several that are known to be one blob.

mod bind;
mod bind_error;
mod identity;
mod image;
mod order;
mod served;
mod source;

pub(crate) use bind::fit;
pub use bind_error::{BindError, Name, Own};
pub use identity::{DOMAIN_BYTES_MAX, Described, Domain, Identities, describe, identity};
pub use image::{Image, foreign};
#[cfg(feature = "command")]
pub(crate) use source::SourceKey;
pub use source::{SOURCES_MAX, SourceName, SourcePart, Sources};
