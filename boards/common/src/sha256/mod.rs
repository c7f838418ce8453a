//! SHA-256 by the processor's instructions, where it has them.
//!
//! Always: the instructions compute what the software does; the processor alone chooses.

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod instructions;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod instructions;

use rootlet_trust::{Hasher, Software};

/// The hasher of a processor with instructions for SHA-256.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
#[derive(Debug)]
struct Instructions(instructions::Present);

#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
impl Hasher for Instructions {
    fn sha256(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        self.0.compress(state, blocks);
    }

    fn sha256_pair(&self, states: [&mut [u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) {
        self.0.compress_pair(states, blocks);
    }

    fn sha512(&self, state: &mut [u64; 8], blocks: &[[u8; 128]]) {
        Software.sha512(state, blocks);
    }
}

/// Returns the fastest hasher of this processor.
pub fn hasher() -> &'static dyn Hasher {
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    {
        use spin::Once;
        static FOUND: Once<Option<Instructions>> = Once::new();
        let found = FOUND.call_once(|| instructions::Present::look().map(Instructions));
        if let Some(found) = found {
            return found;
        }
    }
    &Software
}

/// What the instructions take beside the data, where they can be loaded from at once.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
#[repr(C, align(16))]
struct Constants {
    /// FIPS 180-4, 4.2.2.
    rounds: [u32; 64],
    /// Where each byte of four big-endian words goes.
    swap: [u8; 16],
}

#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
static CONSTANTS: Constants = Constants {
    rounds: [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ],
    swap: [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_compute_what_software_does() {
        let found = hasher();
        if format!("{found:?}") == "Software" {
            println!("skipped: the processor has no instructions for SHA-256");
        }
        let mut seed = 1_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        };
        for count in [0, 1, 2, 3, 64, 65] {
            for _ in 0..50 {
                let start: [u32; 8] = core::array::from_fn(|_| next() ^ next() << 13);
                let mut block = |_| core::array::from_fn(|_| next() as u8);
                let blocks: Vec<[u8; 64]> = (0..count).map(&mut block).collect();
                let others: Vec<[u8; 64]> = (0..count).map(block).collect();
                let (mut one, mut other) = (start, [7; 8]);
                found.sha256_pair([&mut one, &mut other], [&blocks, &others]);
                let (mut ours, mut theirs) = (start, start);
                found.sha256(&mut ours, &blocks);
                Software.sha256(&mut theirs, &blocks);
                assert_eq!(ours, theirs, "{count} blocks");
                let mut alone = [7; 8];
                Software.sha256(&mut alone, &others);
                assert_eq!([one, other], [theirs, alone], "two of {count} blocks");
            }
        }
    }
}
