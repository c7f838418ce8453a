//! Blobs: the device slots of an image, and the devices of the machine that are their sources.
//!
//! Always: before the first read every slot has one source, whose length was checked; a source
//! serves one slot, or several slots that are known to be one blob.

mod bind;
mod bind_error;
mod domain;
mod fit;
#[cfg(feature = "alloc")]
mod identity;
mod image;
mod order;
#[cfg(feature = "alloc")]
mod region;
mod served;
mod source;

pub use bind_error::{BindError, Name, Own};
pub use domain::Domain;
pub(crate) use fit::fit;
#[cfg(feature = "alloc")]
pub use identity::{Identities, identity};
pub use image::{Image, foreign};
pub use source::{SOURCES_MAX, SourceName, SourcePart, Sources};
