//! Where an image and its parts are: what a user names, and how it is opened.
//!
//! Always: the same words name the same image, blobs and region to a command of this machine and to
//! a guest.

mod args;
mod avb;
pub mod disk_file;
mod node;
mod oci;
mod open;
mod place;
mod platform;
mod seal;
mod store;
mod url;
mod web;

pub use args::{BlobArg, BlobPlace, LayerArg, RegionPlace, SourceArgs, VerityArg, key_place};
pub use node::{Drive, Node, Ssh};
pub use oci::{Oci, is_sha256};
pub use open::{AVB_NOTICE, HostStorage, Opened, Prepared, Standard, entropy, open, open_for};
pub use place::{Source, is_file_name};
pub use platform::Platform;
pub use seal::digests;
pub use store::{Store, StoreKind};
pub use web::Web;
