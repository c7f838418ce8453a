//! fs-verity's descriptor: what its digest is of.
//!
//! Always: a descriptor is made out of what is pinned, and never read from a disk.
//!
//! Source: `struct fsverity_descriptor` in the kernel's Documentation/filesystems/fsverity.rst.

use crate::hash::{Algorithm, DIGEST_BYTES_MAX, Digest, Hasher};
use crate::shape::{FS_SALT_BYTES_MAX, Shape};
use rootlet_base::num::{Bug, OrBug, low8};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

/// The descriptor.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Descriptor {
    /// 1.
    version: u8,
    /// 1 for SHA-256, 2 for SHA-512.
    hash_algorithm: u8,
    /// The base 2 logarithm of the size of a block.
    log_block_size: u8,
    salt_size: u8,
    reserved_0: U32,
    /// The length of the file in bytes.
    data_size: U64,
    root_hash: [u8; DIGEST_BYTES_MAX],
    salt: [u8; FS_SALT_BYTES_MAX],
    reserved_1: [u8; 144],
}

const _: () = assert!(size_of::<Descriptor>() == 256);

/// Returns fs-verity's digest of a file with a tree of this form and this root hash.
pub(crate) fn digest(hasher: &dyn Hasher, shape: &Shape, root: &Digest) -> Result<Digest, Bug> {
    let salt = shape.salt.as_bytes();
    let mut descriptor = Descriptor {
        version: 1,
        hash_algorithm: match shape.algorithm {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        },
        log_block_size: low8(shape.data_block.bits()),
        salt_size: u8::try_from(salt.len()).ok().or_bug()?,
        reserved_0: U32::ZERO,
        data_size: shape.data_bytes().into(),
        root_hash: [0; DIGEST_BYTES_MAX],
        salt: [0; FS_SALT_BYTES_MAX],
        reserved_1: [0; 144],
    };
    let bytes = root.as_bytes();
    descriptor.root_hash.get_mut(..bytes.len()).or_bug()?.copy_from_slice(bytes);
    descriptor.salt.get_mut(..salt.len()).or_bug()?.copy_from_slice(salt);
    crate::hash::digest(hasher, shape.algorithm, descriptor.as_bytes())
}
