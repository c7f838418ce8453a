//! The keyed block checksum: rapidhash v3 of the data, combined with a key for its place.
//!
//! Always: the same bytes under another region, blob, blob generation or block number have
//! another checksum (but for one chance in 2^64), so that a stale slot, a misdirected write, the
//! leftovers of an earlier format and a mixed-up blob are all rejected.

use super::BLOCK_BYTES;
use rapidhash::v3::{DEFAULT_RAPID_SECRETS, rapidhash_v3_inline};

/// rapidhash v3 with its default secrets: one 64-bit multiplication for 16 bytes, which an
/// emulator runs two to three times as fast as XXH3 without vectors (DESIGN.md has the table).
fn hash(data: &[u8]) -> u64 {
    rapidhash_v3_inline::<true, false, false>(data, &DEFAULT_RAPID_SECRETS)
}

/// The key of one blob in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobKey(u64);

impl BlobKey {
    /// The key of the blob with this identity and generation in the region with this UUID.
    pub fn new(region: &[u8; 16], identity: &[u8], generation: u32) -> Self {
        let region = hash(region);
        let identity = hash(identity);
        let mut raw = [0; 20];
        for (to, from) in raw.iter_mut().zip(
            region
                .to_le_bytes()
                .into_iter()
                .chain(identity.to_le_bytes())
                .chain(generation.to_le_bytes()),
        ) {
            *to = from;
        }
        Self(hash(&raw))
    }

    /// The checksum of the blob's block `number` (in units of 4 KiB), whose bytes are `data`; a
    /// last block that is shorter is hashed as it would lie in the region, padded with zeros.
    pub fn checksum(self, number: u64, data: &[u8]) -> u64 {
        let sum = if data.len() == BLOCK_BYTES {
            hash(data)
        } else {
            let mut padded = [0; BLOCK_BYTES];
            for (to, from) in padded.iter_mut().zip(data) {
                *to = *from;
            }
            hash(&padded)
        };
        let mut place = [0; 16];
        for (to, from) in
            place.iter_mut().zip(self.0.to_le_bytes().into_iter().chain(number.to_le_bytes()))
        {
            *to = from;
        }
        sum.wrapping_add(hash(&place))
    }
}

/// The check of a page or superblock: the hash of its bytes, under the region's UUID.
pub fn page_check(region: &[u8; 16], body: &[u8]) -> u64 {
    hash(body).wrapping_add(hash(region))
}
