//! The hashes of both formats: SHA-256 and SHA-512, over a compression function that a board may
//! give.
//!
//! Always: a digest has as many bytes as its algorithm says; the padding (FIPS 180-4, 5.1) is done
//! here once, so that a board gives only the loop over blocks. The crate `sha2` has the padding for
//! its own loops alone.

use crate::text::{Hex, unhex};
use core::fmt;
use rootlet_base::num::{Bug, OrBug, clip, wide};

/// Bytes of the longest digest.
pub(crate) const DIGEST_BYTES_MAX: usize = 64;
/// Bytes of the longest input block of a hash.
pub(crate) const INPUT_BYTES_MAX: usize = 128;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256: digests of 32 bytes, input blocks of 64.
    Sha256,
    /// SHA-512: digests of 64 bytes, input blocks of 128.
    Sha512,
}

impl Algorithm {
    /// Returns the algorithm that both formats call `name`; `None` for any other.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|one| one.name() == name)
    }

    /// Returns the name in both formats: `sha256` or `sha512`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the bytes of a digest.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Returns the bytes that the hash takes at once.
    pub(crate) const fn input_bytes(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// Returns the hash of nothing so far.
    const fn start(self) -> State {
        match self {
            Self::Sha256 => State::Sha256(START_256),
            Self::Sha512 => State::Sha512(START_512),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The digest of some bytes. `Display` writes it in lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    algorithm: Algorithm,
    /// The bytes of the digest, and zeros after these.
    bytes: [u8; DIGEST_BYTES_MAX],
}

impl Digest {
    /// Returns the digest with these bytes; `None` if `algorithm` has digests of another length.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        let mut digest = Self::zero(algorithm);
        let place = digest.bytes.get_mut(..algorithm.digest_bytes())?;
        if place.len() != bytes.len() {
            return None;
        }
        place.copy_from_slice(bytes);
        Some(digest)
    }

    /// Returns the digest that `digits` write, in lower or upper case; `None` for any other text.
    pub fn from_hex(algorithm: Algorithm, digits: &str) -> Option<Self> {
        let mut bytes = [0; DIGEST_BYTES_MAX];
        Self::from_bytes(algorithm, unhex(digits, &mut bytes)?)
    }

    /// Returns the digest of zeros alone, which stands for the root of an empty file.
    pub(crate) const fn zero(algorithm: Algorithm) -> Self {
        Self { algorithm, bytes: [0; DIGEST_BYTES_MAX] }
    }

    /// Returns the algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the bytes, as many as the algorithm says.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(self.algorithm.digest_bytes()).0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm)
    }
}

/// The compression functions of the hashes: what a board gives that has instructions for them.
///
/// A board implements the loop over whole blocks (FIPS 180-4, 6.2.2 and 6.4.2); the state is in the
/// processor's words.
pub trait Hasher: Sync + fmt::Debug {
    /// Takes `blocks`, in order, into the state of a SHA-256.
    fn sha256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]);

    /// Takes blocks into two states, as [`Hasher::sha256`] does into each: as many into one as into the
    /// other. A processor with instructions for it does both in less than twice the time of one.
    fn sha256_pair(&self, states: [&mut [u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) {
        for (state, blocks) in states.into_iter().zip(blocks) {
            self.sha256(state, blocks);
        }
    }

    /// Takes `blocks`, in order, into the state of a SHA-512.
    fn sha512(&self, state: &mut [u64; 8], blocks: &[[u8; 128]]);
}

/// The compression functions of the crate `sha2`: with the processor's instructions where an
/// operating system lets them be found, else in software.
#[derive(Clone, Copy, Debug, Default)]
pub struct Software;

impl Hasher for Software {
    fn sha256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        sha2::block_api::compress256(state, blocks);
    }

    fn sha512(&self, state: &mut [u64; 8], blocks: &[[u8; 128]]) {
        sha2::block_api::compress512(state, blocks);
    }
}

/// FIPS 180-4, 5.3.3.
const START_256: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
/// FIPS 180-4, 5.3.5.
const START_512: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];

#[derive(Clone, Copy)]
enum State {
    Sha256([u32; 8]),
    Sha512([u64; 8]),
}

/// A hash of bytes that come one after another.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    algorithm: Algorithm,
    state: State,
    /// The bytes of an input block that is not full yet.
    rest: [u8; INPUT_BYTES_MAX],
    /// How many bytes `rest` has, always fewer than an input block.
    filled: usize,
    /// All bytes so far.
    bytes: u64,
}

impl Message {
    /// Returns the hash of no bytes.
    pub(crate) const fn new(algorithm: Algorithm) -> Self {
        let state = algorithm.start();
        Self { algorithm, state, rest: [0; INPUT_BYTES_MAX], filled: 0, bytes: 0 }
    }

    /// Takes whole input blocks into the state.
    fn compress(&mut self, hasher: &dyn Hasher, blocks: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => hasher.sha256(state, blocks.as_chunks().0),
            State::Sha512(state) => hasher.sha512(state, blocks.as_chunks().0),
        }
    }

    /// Takes the next bytes of the message.
    pub(crate) fn add(&mut self, hasher: &dyn Hasher, mut bytes: &[u8]) -> Result<(), Bug> {
        self.bytes = self.bytes.checked_add(wide(bytes.len())).or_bug()?;
        let unit = self.algorithm.input_bytes();
        if self.filled > 0 {
            let room = self.rest.get_mut(self.filled..unit).or_bug()?;
            let (now, later) = bytes.split_at(room.len().min(bytes.len()));
            room.get_mut(..now.len()).or_bug()?.copy_from_slice(now);
            self.filled = self.filled.checked_add(now.len()).or_bug()?;
            bytes = later;
            if self.filled < unit {
                return Ok(());
            }
            let full = self.rest;
            self.compress(hasher, full.get(..unit).or_bug()?);
        }
        let whole = bytes.len().checked_next_multiple_of(unit).or_bug()?;
        let whole = if whole == bytes.len() { whole } else { whole.checked_sub(unit).or_bug()? };
        let (blocks, rest) = bytes.split_at(whole);
        self.compress(hasher, blocks);
        self.rest.get_mut(..rest.len()).or_bug()?.copy_from_slice(rest);
        self.filled = rest.len();
        Ok(())
    }

    /// Takes the next bytes of two messages, of one length, after as many bytes.
    pub(crate) fn add_pair(
        [one, other]: [&mut Self; 2],
        hasher: &dyn Hasher,
        [of_one, of_other]: [&[u8]; 2],
    ) -> Result<(), Bug> {
        if one.bytes != other.bytes || of_one.len() != of_other.len() {
            return Err(Bug::here());
        }
        let unit = one.algorithm.input_bytes();
        // Up to the end of the input block that is not full yet, and the whole ones after it.
        let begun = if one.filled == 0 { 0 } else { unit.checked_sub(one.filled).or_bug()? };
        let begun = begun.min(of_one.len());
        let left = of_one.len().checked_sub(begun).or_bug()?;
        let whole = left.checked_sub(left.checked_rem(unit).or_bug()?).or_bug()?;
        let [(head, blocks, tail), (other_head, others, other_tail)] =
            [of_one, of_other].map(|bytes| {
                let (head, rest) = bytes.split_at(begun);
                let (blocks, tail) = rest.split_at(whole);
                (head, blocks, tail)
            });
        one.add(hasher, head)?;
        other.add(hasher, other_head)?;
        match (&mut one.state, &mut other.state) {
            (State::Sha256(one), State::Sha256(other)) => {
                hasher.sha256_pair([one, other], [blocks.as_chunks().0, others.as_chunks().0]);
            }
            _ => {
                one.compress(hasher, blocks);
                other.compress(hasher, others);
            }
        }
        for (message, rest) in [(one, tail), (other, other_tail)] {
            message.bytes = message.bytes.checked_add(wide(blocks.len())).or_bug()?;
            message.add(hasher, rest)?;
        }
        Ok(())
    }

    /// Takes `len` zeros.
    pub(crate) fn add_zeros(&mut self, hasher: &dyn Hasher, len: u64) -> Result<(), Bug> {
        const ZEROS: [u8; 512] = [0; 512];
        let mut left = len;
        while left > 0 {
            let part = clip(left, ZEROS.len());
            self.add(hasher, ZEROS.get(..part).or_bug()?)?;
            left = left.checked_sub(wide(part)).or_bug()?;
        }
        Ok(())
    }

    /// Returns the digest of all bytes that were added.
    pub(crate) fn finish(mut self, hasher: &dyn Hasher) -> Result<Digest, Bug> {
        let bits = u128::from(self.bytes).checked_mul(8).or_bug()?;
        let unit = self.algorithm.input_bytes();
        // The length in bits takes an eighth of an input block (FIPS 180-4, 5.1).
        let length = unit / 8;
        self.add(hasher, &[0x80])?;
        let last = unit.checked_sub(length).or_bug()?;
        let fill = if self.filled <= last { last } else { last.checked_add(unit).or_bug()? };
        self.add_zeros(hasher, wide(fill.checked_sub(self.filled).or_bug()?))?;
        let skip = size_of::<u128>().checked_sub(length).or_bug()?;
        self.add(hasher, bits.to_be_bytes().get(skip..).or_bug()?)?;
        if self.filled != 0 {
            return Err(Bug::here());
        }
        let mut bytes = [0; DIGEST_BYTES_MAX];
        match self.state {
            State::Sha256(state) => {
                let words = bytes.as_chunks_mut::<4>().0.iter_mut().zip(state);
                words.for_each(|(place, word)| *place = word.to_be_bytes());
            }
            State::Sha512(state) => {
                let words = bytes.as_chunks_mut::<8>().0.iter_mut().zip(state);
                words.for_each(|(place, word)| *place = word.to_be_bytes());
            }
        }
        Ok(Digest { algorithm: self.algorithm, bytes })
    }
}

/// Returns the digest of `bytes`.
///
/// # Errors
/// A [`Bug`] if 64 bits do not hold their number.
pub fn digest(hasher: &dyn Hasher, algorithm: Algorithm, bytes: &[u8]) -> Result<Digest, Bug> {
    let mut message = Message::new(algorithm);
    message.add(hasher, bytes)?;
    message.finish(hasher)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails panics")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest as _;
    use std::string::ToString;
    use std::vec::Vec;

    proptest! {
        /// The padding, beside that of the crate: every length around the ends of blocks, in any
        /// pieces.
        #[test]
        fn digest_is_that_of_the_crate_in_any_pieces(
            bytes in prop::collection::vec(any::<u8>(), 0..600),
            cuts in prop::collection::vec(0_usize..600, 0..5),
        ) {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let mut message = Message::new(algorithm);
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(bytes.len())).collect();
                cuts.sort_unstable();
                let mut from = 0;
                for cut in cuts.into_iter().chain([bytes.len()]) {
                    message.add(&Software, bytes.get(from..cut).unwrap()).unwrap();
                    from = cut;
                }
                let found = message.finish(&Software).unwrap();
                let expected = match algorithm {
                    Algorithm::Sha256 => sha2::Sha256::digest(&bytes).to_vec(),
                    Algorithm::Sha512 => sha2::Sha512::digest(&bytes).to_vec(),
                };
                prop_assert_eq!(found.as_bytes(), &expected[..]);
                prop_assert_eq!(found, digest(&Software, algorithm, &bytes).unwrap());
                prop_assert_eq!(Digest::from_hex(algorithm, &found.to_string()), Some(found));
            }
        }
    }

    proptest! {
        /// Two at once are what each is alone, whatever came before.
        #[test]
        fn pair_has_the_digests_of_its_messages(
            before in prop::collection::vec(any::<u8>(), 0..300),
            pair in prop::collection::vec(any::<[u8; 2]>(), 0..600),
        ) {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let (first, second): (Vec<u8>, Vec<u8>) =
                    pair.iter().map(|[one, other]| (*one, *other)).unzip();
                let mut one = Message::new(algorithm);
                one.add(&Software, &before).unwrap();
                let mut other = one;
                Message::add_pair([&mut one, &mut other], &Software, [&first, &second]).unwrap();
                for (message, bytes) in [(one, first), (other, second)] {
                    let whole = [before.as_slice(), &bytes].concat();
                    let found = message.finish(&Software).unwrap();
                    prop_assert_eq!(found, digest(&Software, algorithm, &whole).unwrap());
                }
            }
        }
    }

    #[test]
    fn every_length_up_to_two_input_blocks_is_padded() {
        let bytes = [0x5a; 257];
        for len in 0..bytes.len() {
            let bytes = bytes.get(..len).unwrap();
            let found = digest(&Software, Algorithm::Sha256, bytes).unwrap();
            assert_eq!(found.as_bytes(), &sha2::Sha256::digest(bytes)[..], "{len}");
            let found = digest(&Software, Algorithm::Sha512, bytes).unwrap();
            assert_eq!(found.as_bytes(), &sha2::Sha512::digest(bytes)[..], "{len}");
        }
    }

    #[test]
    fn digest_is_written_as_digits_of_its_length_and_read_from_no_others() {
        let digits = "5f".repeat(32);
        let digest = Digest::from_hex(Algorithm::Sha256, &digits).unwrap();
        assert_eq!(digest.to_string(), digits);
        assert_eq!(Digest::from_hex(Algorithm::Sha256, &digits.to_uppercase()), Some(digest));
        for wrong in
            ["", "5", &digits[1..], &digits[2..], &(digits.clone() + "00"), &"+1".repeat(32)]
        {
            assert_eq!(Digest::from_hex(Algorithm::Sha256, wrong), None, "{wrong}");
        }
        assert_eq!(Digest::from_hex(Algorithm::Sha512, &digits), None);
        assert_eq!(Algorithm::named("sha1"), None);
    }
}
