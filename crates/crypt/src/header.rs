//! The header of an encrypted region as it lies on disk: what has to be known before there is a key.
//!
//! Always: a header tells nothing about the key but whether it is this one; a changed byte makes it
//! another header.

use rootlet_region::signature::Signature;
use sha2::{Digest, Sha256};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::key::{Key, RegionKey};

/// The version of the format, which also names the cipher.
const VERSION: u32 = 1;
/// A header's block.
pub const BLOCK_BYTES: usize = 4096;

/// A header. All that counts lies in the first sector.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    fields: Fields,
    proof: [u8; 32],
    check: [u8; 32],
    rest: [u8; BLOCK_BYTES - 128],
}

/// What is proved.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Fields {
    magic: [u8; 8],
    version: U32,
    unused: [u8; 4],
    salt: [u8; 32],
    start: U64,
    bytes: U64,
}

const _: () = assert!(size_of::<Raw>() == BLOCK_BYTES && size_of::<Fields>() == 64);

impl Raw {
    /// Returns the digest of all before it, which tells damage from another key.
    fn digest(&self) -> [u8; 32] {
        let hasher = Sha256::new().chain_update(self.fields.as_bytes());
        hasher.chain_update(self.proof).finalize().into()
    }
}

/// Why a block is not the header of the region that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Not {
    /// It has no magic.
    AHeader,
    /// It was a header, and is damaged.
    Whole,
    /// It is of another version.
    Version(u32),
    /// It is of a region that starts at this byte of its disk.
    Here(u64),
    /// It was made with another key.
    Ours,
}

/// A header that was made with the key that is at hand.
pub struct Header {
    /// The length of the region in bytes, that of the headers included.
    pub bytes: u64,
    /// What its key is for it.
    pub key: RegionKey,
}

impl Header {
    /// Returns the header in `block` of a region that starts at byte `start` of its disk.
    pub fn parse(block: &[u8], key: &Key, start: u64) -> Result<Self, Not> {
        let raw = Raw::ref_from_bytes(block).map_err(|_| Not::AHeader)?;
        let fields = &raw.fields;
        if fields.magic != Signature::ENCRYPTED_MAGIC {
            return Err(Not::AHeader);
        }
        if raw.check != raw.digest() {
            return Err(Not::Whole);
        }
        if fields.version.get() != VERSION {
            return Err(Not::Version(fields.version.get()));
        }
        if fields.start.get() != start {
            return Err(Not::Here(fields.start.get()));
        }
        let key = key.of_region(&fields.salt);
        if key.proof(fields.as_bytes()) != raw.proof {
            return Err(Not::Ours);
        }
        Ok(Self { bytes: fields.bytes.get(), key })
    }

    /// Returns the header of a new region, and its block. `salt` is another one for each.
    pub fn new(key: &Key, salt: [u8; 32], start: u64, bytes: u64) -> (Self, [u8; BLOCK_BYTES]) {
        let fields = Fields {
            magic: Signature::ENCRYPTED_MAGIC,
            version: VERSION.into(),
            unused: [0; 4],
            salt,
            start: start.into(),
            bytes: bytes.into(),
        };
        let key = key.of_region(&salt);
        let proof = key.proof(fields.as_bytes());
        let mut raw = Raw { fields, proof, check: [0; 32], rest: [0; _] };
        raw.check = raw.digest();
        (Self { bytes, key }, zerocopy::transmute!(raw))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that fails panics")]
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; 32]).unwrap()
    }

    fn parsed(block: &[u8], byte: u8, start: u64) -> Result<u64, Not> {
        Header::parse(block, &key(byte), start).map(|header| header.bytes)
    }

    #[test]
    fn header_is_of_its_key_and_its_place() {
        let (_, block) = Header::new(&key(7), [1; 32], 4096, 1 << 20);
        assert_eq!(parsed(&block, 7, 4096), Ok(1 << 20));
        assert_eq!(parsed(&block, 8, 4096), Err(Not::Ours));
        assert_eq!(parsed(&block, 7, 0), Err(Not::Here(4096)));
        assert_eq!(parsed(&[0; BLOCK_BYTES], 7, 0), Err(Not::AHeader));
    }

    #[test]
    fn changed_header_is_damaged_and_a_forged_one_is_of_another_key() {
        let (_, block) = Header::new(&key(7), [1; 32], 4096, 1 << 20);
        for at in 0..128 {
            let mut changed = block;
            let Some(byte) = changed.get_mut(at) else { break };
            *byte ^= 1;
            let why = if at < 8 { Not::AHeader } else { Not::Whole };
            assert_eq!(parsed(&changed, 7, 4096), Err(why), "byte {at}");
            if at >= 96 {
                continue;
            }
            // Anybody can make the digest right; the proof only who has the key.
            let mut raw = Raw::read_from_bytes(&changed).unwrap();
            raw.check = raw.digest();
            let refused = parsed(raw.as_bytes(), 7, 4096).unwrap_err();
            let told = matches!(refused, Not::AHeader | Not::Version(_) | Not::Here(_) | Not::Ours);
            assert!(told, "byte {at}: {refused:?}");
        }
    }
}
