//! The cipher of a region: HCTR2 with AES-256 over a whole block, tweaked by the block's number
//! (Crowley, Huckleberry, Biggers: Length-preserving encryption with HCTR2, 2021).
//!
//! AES and POLYVAL are RustCrypto's. What joins them is ours, because the crate that has it takes 16
//! bytes at a time, and several times as long; the tests hold both against each other.
//!
//! Always: a block that was changed in one bit, or that lies in another place than it was written
//! to, deciphers to noise from its first byte to its last.

use core::fmt;

use aes::Aes256;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use polyval::Polyval;
use polyval::universal_hash::UniversalHash;
use rootlet_storage::Cipher;

/// The bytes of a block.
const BLOCK_BYTES: usize = 4096;
/// Parts of a block whose key stream is computed at once.
const AT_ONCE: usize = 32;
/// The bits of a tweak, twice, and 2: what is hashed is whole parts.
const LENGTH: u128 = 2 * 128 + 2;

/// The 16 bytes that AES takes.
type Part = aes::Block;

/// A cipher with the key of one region.
pub struct Blocks {
    aes: Aes256,
    /// The hash, which has seen the length of the tweak.
    hash: Polyval,
    /// The mask of the counter.
    mask: u128,
}

impl Blocks {
    /// Returns the cipher with this key.
    pub fn new(key: &[u8; 32]) -> Self {
        let aes = Aes256::new(key.into());
        let mut hash = Polyval::new(&encrypted(&aes, 0).to_le_bytes().into());
        hash.update(&[LENGTH.to_le_bytes().into()]);
        let mask = encrypted(&aes, 1);
        Self { aes, hash, mask }
    }

    /// Returns the hash of a tweak and the parts after the first.
    fn hash(&self, tweak: u64, rest: &[Part]) -> u128 {
        let mut hash = self.hash.clone();
        hash.update(&[u128::from(tweak).to_le_bytes().into()]);
        hash.update(rest);
        u128::from_le_bytes(hash.finalize().into())
    }

    /// Adds the key stream of the counters from 1 on, masked by `seed`.
    fn add_stream(&self, seed: u128, rest: &mut [Part]) {
        let mut counters = 1_u128..;
        for parts in rest.chunks_mut(AT_ONCE) {
            let mut stream = [Part::default(); AT_ONCE];
            for (stream, counter) in stream.iter_mut().zip(&mut counters) {
                *stream = (seed ^ counter).to_le_bytes().into();
            }
            self.aes.encrypt_blocks(&mut stream);
            for (part, stream) in parts.iter_mut().zip(stream) {
                part.iter_mut().zip(stream).for_each(|(byte, with)| *byte ^= with);
            }
        }
    }

    /// Enciphers or deciphers a block, of which AES makes the hashed first part another one as
    /// `of_first` says.
    fn change(
        &self,
        tweak: u64,
        block: &mut [u8; BLOCK_BYTES],
        of_first: impl FnOnce(u128) -> u128,
    ) {
        let (parts, _) = Part::slice_as_chunks_mut(block);
        let [first, rest @ ..] = parts else { panic!("a block has parts") };
        let before = u128::from_le_bytes((*first).into()) ^ self.hash(tweak, rest);
        let after = of_first(before);
        self.add_stream(before ^ after ^ self.mask, rest);
        *first = (after ^ self.hash(tweak, rest)).to_le_bytes().into();
    }
}

/// Returns the encrypted part that is a number.
fn encrypted(aes: &Aes256, number: u128) -> u128 {
    let mut part = number.to_le_bytes().into();
    aes.encrypt_block(&mut part);
    u128::from_le_bytes(part.into())
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HCTR2-AES-256")
    }
}

impl Cipher for Blocks {
    fn encipher(&self, number: u64, block: &mut [u8; BLOCK_BYTES]) {
        self.change(number, block, |part| encrypted(&self.aes, part));
    }

    fn decipher(&self, number: u64, block: &mut [u8; BLOCK_BYTES]) {
        self.change(number, block, |part| {
            let mut part = part.to_le_bytes().into();
            self.aes.decrypt_block(&mut part);
            u128::from_le_bytes(part.into())
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::arithmetic_side_effects,
        reason = "a test that fails panics"
    )]
    use super::*;

    fn noise(seed: u64) -> [u8; BLOCK_BYTES] {
        let mut state = seed;
        core::array::from_fn(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            state.to_be_bytes()[0]
        })
    }

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digit = |at: usize| u8::from_str_radix(hex.get(at..at + 1).unwrap(), 16).unwrap();
        core::array::from_fn(|at| digit(2 * at) << 4 | digit(2 * at + 1))
    }

    /// The crate gives what the authors publish (a vector of theirs, of AES-256 with a tweak of 16 bytes
    /// and 128 bytes of text), and so may judge what is here.
    #[test]
    fn block_is_what_another_implementation_makes_of_it() {
        let key = bytes::<32>("8e98aa66ec9daf0cc665c336a21da2b238bcdcdd6422fbfebaa16e24abcd1ece");
        let tweak = bytes::<16>("9395235d16a3fa0296aa8d9a66c30405");
        let plain = bytes::<128>(concat!(
            "ccd28ace4fb249a2f437ec9e305815dd579e7071ce6181c1a75b01a688b39006",
            "c15535988d76c8d434ad6bb1c1b0f4346d5f3286b276a6627e97d59e6d1efe34",
            "a6fd6d137813bc83c979287a16bbc3231b60c06fc74a4a2efa60f99dc9622ef8",
            "10e234e93fd495ca19e8b05d3c6f6fa022c74a0a8fbef6ec4374364a40b093f2",
        ));
        let published = bytes::<128>(concat!(
            "456698cfc28826f28bb0c548d99097fac031e348f423aead621c9675793cfb20",
            "93f29d5de1e305de6e0860e44dc8732a1aff6ce7755dca67364a5c5adb53cd92",
            "a8485128833078853867b0303d2cb1e941a5cea4f67bf58cabd5f3524e0090c6",
            "eb4667beeaa40d60579fa097d2e5f173dddfd2e22e5039d7e8b1141513336e2b",
        ));
        let mut made = [0; 128];
        hctr2_rs::Hctr2_256::new(&key).encrypt(&plain, &tweak, &mut made).unwrap();
        assert_eq!(made, published);
        for seed in 0..20 {
            let key: [u8; 32] = *noise(seed).first_chunk().unwrap();
            let (number, plain) = ((seed * seed) << 50 | seed, noise(seed + 100));
            let mut enciphered = plain;
            Blocks::new(&key).encipher(number, &mut enciphered);
            let mut made = [0; BLOCK_BYTES];
            let tweak = u128::from(number).to_le_bytes();
            hctr2_rs::Hctr2_256::new(&key).encrypt(&plain, &tweak, &mut made).unwrap();
            assert!(enciphered == made, "seed {seed}");
            Blocks::new(&key).decipher(number, &mut enciphered);
            assert!(enciphered == plain, "seed {seed}");
        }
    }

    #[test]
    fn one_changed_bit_or_another_place_makes_noise_of_all_sectors() {
        let cipher = Blocks::new(&[7; 32]);
        let plain = [0; BLOCK_BYTES];
        let mut enciphered = plain;
        cipher.encipher(5, &mut enciphered);
        let mut back = enciphered;
        cipher.decipher(5, &mut back);
        assert_eq!(back, plain);
        let is_noise = |block: &[u8; BLOCK_BYTES]| {
            let zeros = |part: &[u8]| part.iter().filter(|byte| **byte == 0).count();
            block.chunks(64).all(|part| zeros(part) < 16)
        };
        assert!(is_noise(&enciphered));
        for bit in [0, 7, 8 * 15, 8 * 16, 8 * 2048 + 3, 8 * BLOCK_BYTES - 1] {
            let mut changed = enciphered;
            if let Some(byte) = changed.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            cipher.decipher(5, &mut changed);
            assert!(is_noise(&changed), "bit {bit}");
        }
        for number in [0, 4, 6, u64::MAX] {
            let mut moved = enciphered;
            cipher.decipher(number, &mut moved);
            assert!(is_noise(&moved), "block {number}");
        }
    }
}
