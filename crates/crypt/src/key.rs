//! A key, and what is derived from it for one region.
//!
//! Always: no key leaves this module, and none is shown; each use has a key of its own.

use alloc::vec::Vec;
use core::fmt;

use hkdf::Hkdf;
use sha2::Sha256;

/// The fewest bytes of a key.
pub const KEY_BYTES_MIN: usize = 16;
/// The most bytes of a key.
pub const KEY_BYTES_MAX: usize = 1024;

/// What a key is derived for, with the version of the format in it.
const FOR_CIPHER: &[u8] = b"rootlet region 1: cipher";
const FOR_HEADER: &[u8] = b"rootlet region 1: header";
const FOR_IDENTITY: &[u8] = b"rootlet region 1: identity";

/// A secret of [`KEY_BYTES_MIN`] to [`KEY_BYTES_MAX`] bytes. It has to be random: nothing slows down
/// somebody who guesses it.
pub struct Key(Vec<u8>);

impl Key {
    /// Returns the key that a file or a disk holds. Zeros at its end do not count: they fill the last
    /// sector of a disk.
    ///
    /// # Errors
    /// [`KeyError`]: it has too few bytes, or too many.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut key = bytes;
        while let Some((0, rest)) = key.split_last() {
            key = rest;
        }
        match key.len() {
            0 => Err(KeyError::Empty),
            len @ ..KEY_BYTES_MIN => Err(KeyError::Short(len)),
            KEY_BYTES_MIN..=KEY_BYTES_MAX => Ok(Self(key.into())),
            _ => Err(KeyError::Long),
        }
    }

    /// Returns what is derived for the region with this salt.
    pub(crate) fn of_region(&self, salt: &[u8; 32]) -> RegionKey {
        RegionKey(Hkdf::new(Some(salt), &self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Why bytes are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// There are none but zeros.
    Empty,
    /// So few that they can be guessed.
    Short(usize),
    /// More than [`KEY_BYTES_MAX`]: not a key, but some other file.
    Long,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the key is empty")?,
            Self::Short(1) => f.write_str("the key has 1 byte")?,
            Self::Short(bytes) => write!(f, "the key has {bytes} bytes")?,
            Self::Long => write!(f, "the key has more than {KEY_BYTES_MAX} bytes")?,
        }
        write!(
            f,
            "; a key has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} random ones: head -c 32 /dev/urandom > FILE"
        )
    }
}

impl core::error::Error for KeyError {}

/// What a key is for one region.
pub(crate) struct RegionKey(Hkdf<Sha256>);

impl RegionKey {
    /// Returns the key of the cipher.
    pub fn cipher(&self) -> [u8; 32] {
        self.derive(&[FOR_CIPHER])
    }

    /// Returns what proves that a header with these fields was made with the key.
    pub fn proof(&self, fields: &[u8]) -> [u8; 32] {
        self.derive(&[FOR_HEADER, fields])
    }

    /// Returns bytes that only the key's owner can tell, other ones for other `entropy`: what a
    /// region draws its secrets from must not be guessed where entropy is poor.
    pub fn identity(&self, entropy: &[u8; 16]) -> [u8; 16] {
        self.derive(&[FOR_IDENTITY, entropy])
    }

    fn derive<const N: usize>(&self, info: &[&[u8]]) -> [u8; N] {
        let mut derived = [0; N];
        // HKDF refuses lengths beyond 255 times that of the hash.
        const { assert!(N <= 255 * 32) };
        let filled = self.0.expand_multi_info(info, &mut derived);
        assert!(filled.is_ok(), "HKDF gives as many bytes");
        derived
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails panics")]
    use super::*;
    use std::format;
    use std::string::ToString;
    use std::vec;

    #[test]
    fn key_has_enough_bytes_and_not_too_many() {
        let said = |bytes: &[u8]| Key::new(bytes).map_err(|error| error.to_string());
        let next = "; a key has 16 to 1024 random ones: head -c 32 /dev/urandom > FILE";
        for (bytes, why) in [
            (vec![], "the key is empty"),
            (vec![0; 512], "the key is empty"),
            (vec![7; 1], "the key has 1 byte"),
            (vec![7; 15], "the key has 15 bytes"),
            (vec![7; 1025], "the key has more than 1024 bytes"),
        ] {
            assert_eq!(said(&bytes).unwrap_err(), format!("{why}{next}"));
        }
        for len in [16, 32, 1024] {
            assert!(said(&vec![7; len]).is_ok(), "{len}");
        }
        let shown = format!("{:?}", Key::new(&[7; 32]));
        assert_eq!(shown, "Ok(Key)", "no key is shown");
    }

    #[test]
    fn zeros_that_fill_a_sector_do_not_count() {
        let derived =
            |bytes: &[u8]| Key::new(bytes).ok().map(|key| key.of_region(&[3; 32]).cipher());
        let padded = [&[7; 32][..], &[0; 480]].concat();
        assert_eq!(derived(&[7; 32]), derived(&padded));
        assert_ne!(derived(&[7; 32]), derived(&[7; 33]));
    }

    #[test]
    fn each_use_and_each_salt_has_another_key() {
        let key = Key::new(&[7; 32]).unwrap();
        let (one, other) = (key.of_region(&[1; 32]), key.of_region(&[2; 32]));
        let all = [
            one.cipher(),
            other.cipher(),
            one.proof(b"fields"),
            one.proof(b"field"),
            other.proof(b"fields"),
        ];
        for (at, key) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != key), "{at}");
        }
        assert_ne!(one.identity(&[1; 16]), one.identity(&[2; 16]));
        assert_ne!(one.identity(&[1; 16]), other.identity(&[1; 16]));
    }
}
