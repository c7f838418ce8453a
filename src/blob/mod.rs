//! Blobs: what an image says about its devices, and which devices of the machine they are.
//!
//! Always: every slot has one source, whose length was checked, before the first read.

mod bind;
mod identity;
mod image;

pub(crate) use bind::fit;
pub use bind::{BindError, Name, SOURCES_MAX, SourceName, SourcePart, Sources};
pub use identity::{DOMAIN_BYTES_MAX, Described, Domain, describe, identity};
pub use image::Image;
