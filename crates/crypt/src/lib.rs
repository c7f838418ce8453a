//! Regions with a key: an enemy who has the disk and not the key reads nothing of the region's bytes,
//! and forges none.
//!
//! Always: a region whose key is another one, or that has none, is left as it is, and told by name.
//! The cryptography is RustCrypto's, but for the mode that joins two of its parts (`cipher.rs`).
//! `crates/region/DESIGN.md` says why it is as it is, `crates/region/FORMAT.md` has the bytes.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cipher;
mod header;
mod key;
mod open;

pub use key::{KEY_BYTES_MAX, KEY_BYTES_MIN, Key, KeyError};
pub use open::{HEADER_BYTES, open};
