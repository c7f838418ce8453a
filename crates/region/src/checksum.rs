//! The keyed checks of a region: of the pages of its tables, and of every block of data.
//!
//! Always: the same bytes under another region, blob, blob generation or block number have
//! another check (but for one chance in 2^64), so that a stale slot, a misdirected write, the
//! leftovers of an earlier format and a mixed-up blob are all rejected.

mod words;

use super::BLOCK_BYTES;
use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{Immutable, IntoBytes};

/// The hash of one region: rapidhash v3, as published, under numbers of the region's own.
///
/// The numbers are drawn from the region's UUID. Under published ones a block that holds them as
/// data could hide changes of the words beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionHash(RapidSecrets);

impl RegionHash {
    /// Returns the hash of the region with this UUID.
    pub fn new(region: &[u8; 16]) -> Self {
        let [low, high]: [U64; 2] = zerocopy::transmute!(*region);
        let mut state = low.get();
        // Mixed between the halves: two that are alike must not cancel out.
        state = split_mix(&mut state) ^ high.get();
        let seed = split_mix(&mut state);
        Self(RapidSecrets { seed, secrets: [(); 7].map(|()| split_mix(&mut state)) })
    }

    /// Returns the hash of `data` from another seed.
    fn seeded(&self, seed: u64, data: &[u8]) -> u64 {
        let secrets = RapidSecrets { seed, secrets: self.0.secrets };
        let of_any = || rapidhash_v3_inline::<true, false, false>(data, &secrets);
        words::hash(data, &secrets).unwrap_or_else(of_any)
    }

    fn of(&self, data: &[u8]) -> u64 {
        self.seeded(self.0.seed, data)
    }

    /// Returns the check of a page or superblock.
    pub fn page_check(&self, body: &[u8]) -> u64 {
        self.of(body)
    }
}

/// Returns the next number of SplitMix64, and moves its state on.
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

/// What the key of a blob is the hash of.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Name {
    /// The hash of the blob's identity.
    identity: U64,
    generation: U32,
}

impl BlobKey {
    /// Returns the key of the blob with this identity and generation in the region with this UUID.
    pub fn new(region: &[u8; 16], identity: &[u8], generation: u32) -> Self {
        let hash = RegionHash::new(region);
        let name = Name { identity: hash.of(identity).into(), generation: generation.into() };
        Self { hash, key: hash.of(name.as_bytes()) }
    }

    /// Returns the check of the blob's block `number` (in units of 4 KiB), whose bytes are `data`; a
    /// last block that is shorter is hashed as it lies in the region, padded with zeros.
    pub fn checksum(&self, number: u64, data: &[u8]) -> u64 {
        if data.len() < BLOCK_BYTES {
            return self.copy(number, data, &mut [0; BLOCK_BYTES]);
        }
        self.hash.seeded(self.place(number), data)
    }

    /// Copies `data` to `to`, padded with zeros, and returns its [`BlobKey::checksum`].
    pub(super) fn copy(&self, number: u64, data: &[u8], to: &mut [u8; BLOCK_BYTES]) -> u64 {
        let (filled, padding) = to.split_at_mut(data.len().min(BLOCK_BYTES));
        filled.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
        padding.fill(0);
        self.hash.seeded(self.place(number), to)
    }

    /// Returns the seed for block `number`: a hash of key and number.
    fn place(&self, number: u64) -> u64 {
        self.hash.of([self.key, number].map(u64::to_le_bytes).as_flattened())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "test code")]
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
                let at = 64 * 3 + lane * 16;
                block[at..at + 8].copy_from_slice(&secret.to_le_bytes());
                let sum = key.checksum(9, &block);
                for changed in [at + 8, at - 64, at - 56] {
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
    #[test]
    fn any_changed_bit_or_exchanged_words_change_the_checksum() {
        let key = BlobKey::new(&[7; 16], &[1; 112], 1);
        let mut state = 1;
        let noise = core::array::from_fn(|_| split_mix(&mut state).to_le_bytes()[0]);
        let blocks = [[0; BLOCK_BYTES], [0xff; BLOCK_BYTES], noise];
        for block in blocks {
            let sum = key.checksum(9, &block);
            let mut changed = block;
            for bit in 0..BLOCK_BYTES * 8 {
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(key.checksum(9, &changed), sum, "bit {bit}");
                changed[bit / 8] = block[bit / 8];
            }
        }
        // Words, lanes, steps, sectors: what lies where is part of the sum.
        let block = noise;
        let sum = key.checksum(9, &block);
        for size in [8, 16, 64, 512, 2048] {
            for at in 1..BLOCK_BYTES / size {
                let mut changed = block;
                let (first, rest) = changed.split_at_mut(size);
                first.swap_with_slice(&mut rest[(at - 1) * size..at * size]);
                assert_ne!(key.checksum(9, &changed), sum, "{size} bytes at 0 and {}", at * size);
            }
        }
    }

    #[test]
    fn what_is_copied_has_the_checksum_of_what_is_looked_at() {
        let key = BlobKey::new(&[7; 16], &[1; 112], 1);
        let block: [u8; BLOCK_BYTES] =
            core::array::from_fn(|at| u8::try_from(at * 31 % 251).unwrap_or(0));
        for len in [0, 1, 63, 64, 4095, 4096] {
            let mut copy = [0xcc; BLOCK_BYTES];
            let sum = key.copy(3, &block[..len], &mut copy);
            assert_eq!(copy[..len], block[..len]);
            assert!(copy[len..].iter().all(|byte| *byte == 0), "{len}");
            assert_eq!(key.checksum(3, &block[..len]), sum, "{len}");
            assert_eq!(key.checksum(3, &copy), sum, "{len}");
        }
    }
}
