//! The keyed block checksum: rapidhash v3 of the data under the region's own secrets, combined
//! with a key for its place.
//!
//! Always: the same bytes under another region, blob, blob generation or block number have
//! another checksum (but for one chance in 2^64), so that a stale slot, a misdirected write, the
//! leftovers of an earlier format and a mixed-up blob are all rejected.

use super::BLOCK_BYTES;
use super::bytes::u64_at;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};

/// The hash of one region: rapidhash v3, one 64-bit multiplication for 16 bytes, which an emulator
/// runs two to three times as fast as XXH3 without vectors (DESIGN.md has the table).
///
/// Its seed and seven secrets are drawn from the region's UUID: with the published ones a block
/// that holds them as data would hide changes of its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionHash(RapidSecrets);

impl RegionHash {
    /// The hash of the region with this UUID.
    pub fn new(region: &[u8; 16]) -> Self {
        let mut state = u64_at(region, 0);
        // Mixed between the halves: two that are alike must not cancel out.
        state = split_mix(&mut state) ^ u64_at(region, 8);
        let seed = split_mix(&mut state);
        Self(RapidSecrets { seed, secrets: [(); 7].map(|()| split_mix(&mut state)) })
    }

    fn of(&self, data: &[u8]) -> u64 {
        rapidhash_v3_inline::<true, false, false>(data, &self.0)
    }

    /// The check of a page or superblock.
    pub fn page_check(&self, body: &[u8]) -> u64 {
        self.of(body)
    }
}

/// SplitMix64: the next of a row of well-mixed numbers.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of one blob in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobKey {
    hash: RegionHash,
    key: u64,
}

impl BlobKey {
    /// The key of the blob with this identity and generation in the region with this UUID.
    pub fn new(region: &[u8; 16], identity: &[u8], generation: u32) -> Self {
        let hash = RegionHash::new(region);
        let mut raw = [0; 12];
        let fields = hash.of(identity).to_le_bytes().into_iter().chain(generation.to_le_bytes());
        for (to, from) in raw.iter_mut().zip(fields) {
            *to = from;
        }
        Self { hash, key: hash.of(&raw) }
    }

    /// The checksum of the blob's block `number` (in units of 4 KiB), whose bytes are `data`; a
    /// last block that is shorter is hashed as it would lie in the region, padded with zeros.
    pub fn checksum(self, number: u64, data: &[u8]) -> u64 {
        let sum = if data.len() == BLOCK_BYTES {
            self.hash.of(data)
        } else {
            let mut padded = [0; BLOCK_BYTES];
            for (to, from) in padded.iter_mut().zip(data) {
                *to = *from;
            }
            self.hash.of(&padded)
        };
        let mut place = [0; 16];
        let fields = self.key.to_le_bytes().into_iter().chain(number.to_le_bytes());
        for (to, from) in place.iter_mut().zip(fields) {
            *to = from;
        }
        sum.wrapping_add(self.hash.of(&place))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "test code")]
    use super::*;

    /// The published secrets of rapidhash v3.
    const PUBLISHED: [u64; 7] = [
        0x2d35_8dcc_aa6c_78a5,
        0x8bb8_4b93_962e_acc9,
        0x4b33_a62e_d433_d4a3,
        0x4d5a_2da5_1de1_aa47,
        0xa076_1d64_78bd_642f,
        0xe703_7ed1_a0b4_28db,
        0x90ed_1765_281c_388c,
    ];

    #[test]
    fn data_that_holds_the_published_secrets_hides_no_change() {
        let key = BlobKey::new(&[7; 16], &[1; 112], 1);
        for (lane, secret) in PUBLISHED.into_iter().enumerate() {
            for secret in [secret, !secret] {
                let mut block = [0x55; BLOCK_BYTES];
                let at = 112 * 3 + lane * 16;
                block[at..at + 8].copy_from_slice(&secret.to_le_bytes());
                let sum = key.checksum(9, &block);
                for changed in [at + 8, at - 112, at - 104] {
                    block[changed] ^= 1;
                    assert_ne!(key.checksum(9, &block), sum, "lane {lane} byte {changed}");
                    block[changed] ^= 1;
                }
            }
        }
    }

    #[test]
    fn a_checksum_is_of_its_region_blob_generation_and_place() {
        let block = [3; BLOCK_BYTES];
        let key = |region, identity, generation| {
            BlobKey::new(&[region; 16], &[identity; 112], generation)
        };
        let sum = key(1, 1, 1).checksum(5, &block);
        let others = [
            key(2, 1, 1).checksum(5, &block),
            key(1, 2, 1).checksum(5, &block),
            key(1, 1, 2).checksum(5, &block),
            key(1, 1, 1).checksum(6, &block),
        ];
        assert!(!others.contains(&sum));
        assert_eq!(key(1, 1, 1).checksum(5, &block), sum);
    }
}
