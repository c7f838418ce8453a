//! Merkle trees of dm-verity and fs-verity, without I/O: what a digest covers, where the nodes of
//! its tree lie, and whether a block is right.
//!
//! | module | |
//! |-|-|
//! | `hash` | SHA-256 and SHA-512 over a compression function that a board gives |
//! | `shape`, `tree` | the form of a tree; the check of blocks and nodes up to a root |
//! | `spec`, `seal` | what a command line or a sealed text says of an image and its blobs |
//! | `superblock`, `descriptor` | the two structures of the formats |
//! | `build` | makes a tree |
//!
//! Always: what is verified depends on pinned values alone, never on a superblock, a length or a
//! table that a disk has; one reader serves both formats, which differ in the salt.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "alloc")]
mod build;
mod descriptor;
mod hash;
mod seal;
mod shape;
mod spec;
mod subject;
mod superblock;
mod text;
mod tree;

#[cfg(feature = "alloc")]
pub use build::Builder;
pub use hash::{Algorithm, Digest, Hasher, Software, digest};
pub use seal::{LineFault, SEAL_BYTES_MAX, Seal, SealError, parse_root};
pub use shape::{Format, Node, Salt, Shape};
pub use spec::{Key, Place, Spec, SpecError};
pub use subject::{Reason, Refused, Subject};
pub use superblock::{Differs, SUPERBLOCK_BYTES, compare, is_superblock, superblock};
pub use text::Brief;
pub use tree::{Claim, Data, Proof, Root, Tree, Untrue, What, Wrong};
