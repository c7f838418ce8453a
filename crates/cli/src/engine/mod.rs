//! Engines: programs of others that fetch the bytes of a source, and serve them to a guest.
//!
//! Always: an engine is gone when its [`Engine`] is; readers get the content that was there when the
//! engine was started, or an error.

mod args;
mod credential;
mod curl;
mod login;
mod manifest;
mod nbdkit;
mod object;
mod pull;
mod registry;
mod store;
mod target;
mod ticket;
mod wait;

pub use args::WebArgs;
pub use curl::Fault;
pub use manifest::Layer;
pub use nbdkit::{Command, Engine};
pub use object::Object;
pub use pull::{Body, Pull};
pub use registry::{Fetched, Registry, fetched};
pub use target::Target;
pub use wait::Wait;
