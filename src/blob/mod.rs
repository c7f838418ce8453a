//! Blobs: the device slots of an image, and the devices of the machine that are their sources.
//!
//! Always: before the first read every slot has one source, whose length was checked; a source
//! serves one slot, or several slots that are known to be one blob.

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
