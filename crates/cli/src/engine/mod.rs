//! Engines: programs of others that fetch the bytes of a source, and serve them to a guest.
//!
//! Always: an engine is gone when its [`Engine`] is; readers get the content that was there when the
//! engine was started, or an error.

mod args;
mod curl;
mod nbdkit;
mod oci;
mod registry;

pub use args::WebArgs;
pub use curl::{Asked, Object};
pub use nbdkit::{Command, Engine};
pub use oci::resolve;
pub use registry::{Body, Registry};
