//! Digests of OCI, and readers that compute one.
//!
//! Always: a digest is one of two hashes and its hex digits, so it names a file of a layout and no
//! other place; bytes are right only after [`Summed::check`] has seen all of them.

use std::fmt;
use std::io::{self, Read};

use anyhow::{Result, bail};
use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512};

/// The digest of some bytes, as OCI writes it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub struct Digest {
    hash: Hash,
    digits: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hash {
    Sha256,
    Sha512,
}

impl Digest {
    /// Returns the SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { hash: Hash::Sha256, digits: HEXLOWER.encode(&Sha256::digest(bytes)) }
    }

    /// The name of the hash.
    pub fn hash(&self) -> &'static str {
        match self.hash {
            Hash::Sha256 => "sha256",
            Hash::Sha512 => "sha512",
        }
    }

    /// The hex digits.
    pub fn digits(&self) -> &str {
        &self.digits
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (hash, bytes, digits) = match text.split_once(':') {
            Some(("sha256", digits)) => (Hash::Sha256, 32, digits),
            Some(("sha512", digits)) => (Hash::Sha512, 64, digits),
            _ => return Err(format!("`{text}` is no digest: sha256:HEX or sha512:HEX is wanted")),
        };
        match HEXLOWER.decode(digits.as_bytes()) {
            Ok(found) if found.len() == bytes => Ok(Self { hash, digits: digits.into() }),
            _ => Err(format!("`{text}` is no digest: {bytes} bytes in hex are wanted")),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hash(), self.digits)
    }
}

#[derive(Clone, Debug)]
enum Sum {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// A reader that sums all bytes.
#[derive(Debug)]
pub struct Summed<'w, R> {
    inner: R,
    sum: Sum,
    wanted: &'w Digest,
    bytes: u64,
}

impl<'w, R: Read> Summed<'w, R> {
    /// Returns a reader of bytes that should have the digest `wanted`.
    pub fn new(inner: R, wanted: &'w Digest) -> Self {
        let sum = match wanted.hash {
            Hash::Sha256 => Sum::Sha256(Sha256::new()),
            Hash::Sha512 => Sum::Sha512(Sha512::new()),
        };
        Self { inner, sum, wanted, bytes: 0 }
    }

    /// The bytes that were read.
    pub fn seen(&self) -> u64 {
        self.bytes
    }

    /// Reads the rest, and compares the digest.
    ///
    /// # Errors
    /// Those of the reader; the bytes have another digest.
    pub fn check(&mut self) -> Result<()> {
        io::copy(self, &mut io::sink())?;
        let digits = match self.sum.clone() {
            Sum::Sha256(sum) => HEXLOWER.encode(&sum.finalize()),
            Sum::Sha512(sum) => HEXLOWER.encode(&sum.finalize()),
        };
        if digits != self.wanted.digits {
            bail!("{} is wanted, and the {} bytes are {digits}", self.wanted, self.bytes);
        }
        Ok(())
    }
}

impl<R: Read> Read for Summed<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(out)?;
        let bytes = &out[..len];
        match &mut self.sum {
            Sum::Sha256(sum) => sum.update(bytes),
            Sum::Sha512(sum) => sum.update(bytes),
        }
        self.bytes += len as u64;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_names_one_of_two_hashes_and_nothing_else() {
        let digest = Digest::of(b"");
        assert_eq!(Digest::try_from(digest.to_string()), Ok(digest));
        let long = format!("sha512:{}", "0a".repeat(64));
        assert_eq!(Digest::try_from(long.clone()).unwrap().to_string(), long);
        let upper = format!("sha256:{}", "0A".repeat(32));
        for wrong in ["", "sha256:", "sha256:../x", "md5:00", "sha256:00", upper.as_str()] {
            assert!(Digest::try_from(wrong.to_string()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_bytes_have_another_digest() {
        let wanted = Digest::of(b"abc");
        assert!(Summed::new(&b"abc"[..], &wanted).check().is_ok());
        let said = Summed::new(&b"abd"[..], &wanted).check().unwrap_err().to_string();
        assert!(said.contains("is wanted, and the 3 bytes are a52d1"), "{said}");
    }
}
