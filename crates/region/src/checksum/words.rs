//! Rapidhash v3 of a whole block, word by word.
//!
//! Always: what the crate rapidhash returns for the same bytes.
//!
//! Our own loop, because the crate takes its words from any byte. A target whose processor may not
//! do so loads each word by its eight bytes (aarch64-unknown-none, riscv64gc), which was three
//! quarters of the instructions that a read through a region took. A block in memory is aligned.

use rapidhash::v3::RapidSecrets;
use rootlet_base::num::low64;
use zerocopy::FromBytes;

use crate::BLOCK_BYTES;

const LANES: usize = 7;
const WORDS: usize = BLOCK_BYTES / size_of::<u64>();
/// Words that are left after 36 rounds over all lanes, and their bytes.
const REST: usize = WORDS % (LANES * 2);
const REST_BYTES: u64 = 64;
const _: () = assert!(REST == 8, "the end of the hash is that of 64 bytes");

/// Returns the hash of a block; `None` if `bytes` is none, or does not begin at a word.
pub(super) fn hash(bytes: &[u8], of: &RapidSecrets) -> Option<u64> {
    let words = <[u64; WORDS]>::ref_from_bytes(bytes).ok()?;
    let (rounds, rest) = words.split_last_chunk::<REST>()?;
    let (rounds, []) = rounds.as_chunks::<{ LANES * 2 }>() else { return None };
    let mut lanes = [of.seed; LANES];
    for round in rounds {
        let (pairs, _) = round.as_chunks();
        for ((lane, pair), secret) in lanes.iter_mut().zip(pairs).zip(of.secrets) {
            *lane = step(*lane, secret, *pair);
        }
    }
    let [_, first, second, ..] = of.secrets;
    let &[a, b, c, d, e, f, g, h] = rest;
    let seed = lanes.into_iter().fold(0, |all, lane| all ^ lane);
    let seed = step(seed, second, [a, b]);
    let seed = step(seed, second, [c, d]);
    let seed = step(seed, first, [e, f]);
    let product = times(u64::from_le(g) ^ REST_BYTES ^ first, u64::from_le(h) ^ seed);
    let (low, high) = (low64(product), low64(product >> 64));
    Some(mix(low ^ 0xaaaa_aaaa_aaaa_aaaa, high ^ first ^ REST_BYTES))
}

/// Returns what a lane is after two words.
fn step(lane: u64, secret: u64, [left, right]: [u64; 2]) -> u64 {
    mix(u64::from_le(left) ^ secret, u64::from_le(right) ^ lane)
}

fn mix(a: u64, b: u64) -> u64 {
    let product = times(a, b);
    low64(product) ^ low64(product >> 64)
}

fn times(a: u64, b: u64) -> u128 {
    u128::from(a).wrapping_mul(b.into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "test code")]
    use super::*;
    use proptest::prelude::*;
    use rapidhash::v3::rapidhash_v3_inline;
    use zerocopy::IntoBytes;

    proptest! {
        #[test]
        fn block_has_the_hash_that_the_crate_gives_it(
            words in prop::collection::vec(any::<u64>(), WORDS + 1),
            seed: u64,
            secrets: [u64; 7],
        ) {
            let (bytes, of) = (words.as_bytes(), RapidSecrets { seed, secrets });
            let block = &bytes[..BLOCK_BYTES];
            let theirs = rapidhash_v3_inline::<true, false, false>(block, &of);
            prop_assert_eq!(hash(block, &of), Some(theirs));
            // Others are the crate's to hash.
            prop_assert_eq!(hash(&bytes[1..=BLOCK_BYTES], &of), None);
            prop_assert_eq!(hash(&bytes[..BLOCK_BYTES - 8], &of), None);
        }
    }
}
