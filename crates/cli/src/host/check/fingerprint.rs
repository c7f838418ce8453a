//! The fingerprints of files: digests of their data in an xattr, as `mkfs.erofs --xattr-inode-digest`
//! writes them.
//!
//! Always: a fingerprint is compared with all the bytes of its file, holes included.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// What the value of a fingerprint begins with; 32 bytes follow.
const SHA256: &[u8] = b"sha256:";
/// Bytes of the longest value that is looked at.
pub const VALUE_BYTES_MAX: usize = 64 << 10;

/// The SHA-256 that the data of a file has by its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Returns the fingerprint that a value says; `None` for one of another kind.
    pub fn of(value: &[u8]) -> Option<Self> {
        value.strip_prefix(SHA256)?.try_into().ok().map(Self)
    }

    /// Compares with the hash of the data.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn compare(self, hash: Sha256) -> Result<(), String> {
        let found: [u8; 32] = hash.finalize().into();
        if found == self.0 {
            return Ok(());
        }
        Err(format!("its data is sha256 {}, its fingerprint says {}", hex(&found), hex(&self.0)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
