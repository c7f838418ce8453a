//! SHA-256 by the cryptographic extension of Arm (FEAT_SHA256).
//!
//! Always: only a processor that names the extension runs it.

use core::arch::aarch64::{
    uint32x4_t, vaddq_u32, vld1q_u8, vld1q_u32, vreinterpretq_u32_u8, vrev32q_u8, vsha256h2q_u32,
    vsha256hq_u32, vsha256su0q_u32, vsha256su1q_u32, vst1q_u32,
};
use core::arch::asm;

use super::CONSTANTS;

/// The processor has the instructions.
#[derive(Debug)]
pub struct Present(());

impl Present {
    /// Returns whether the instructions are there.
    pub fn look() -> Option<Self> {
        let features: u64;
        // SAFETY: reading what the processor can do has no effect.
        unsafe { asm!("mrs {}, id_aa64isar0_el1", out(reg) features, options(nomem, nostack)) };
        // ID_AA64ISAR0_EL1.SHA2.
        (features >> 12 & 0xf != 0).then_some(Self(()))
    }

    /// Takes `blocks` into a state.
    pub fn compress(&self, state: &mut [u32; 8], blocks: &[[u8; 64]]) {
        // SAFETY: the processor has the instructions.
        unsafe { compress(state, blocks) };
    }
}

/// Four words of the state or of the constants.
#[target_feature(enable = "neon,sha2")]
fn load(words: &[u32; 4]) -> uint32x4_t {
    // SAFETY: four words lie there.
    unsafe { vld1q_u32(words.as_ptr()) }
}

/// Four words of a block.
#[target_feature(enable = "neon,sha2")]
fn load_swapped(bytes: &[u8; 16]) -> uint32x4_t {
    // SAFETY: sixteen bytes lie there.
    let bytes = unsafe { vld1q_u8(bytes.as_ptr()) };
    vreinterpretq_u32_u8(vrev32q_u8(bytes))
}

#[target_feature(enable = "neon,sha2")]
fn store(words: &mut [u32; 4], value: uint32x4_t) {
    // SAFETY: there is room for four words.
    unsafe { vst1q_u32(words.as_mut_ptr(), value) };
}

#[target_feature(enable = "neon,sha2")]
fn compress(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
    let ([front, back], _) = state.as_chunks_mut::<4>() else { return };
    let (constants, _) = CONSTANTS.rounds.as_chunks::<4>();
    let (groups, _) = constants.as_chunks::<4>();
    let [first, second, third, last] = groups else { return };
    let (mut abcd, mut efgh) = (load(front), load(back));
    for block in blocks {
        let ([a, b, c, d], _) = block.as_chunks::<16>() else { return };
        let mut words = [load_swapped(a), load_swapped(b), load_swapped(c), load_swapped(d)];
        let mut sums = (abcd, efgh);
        for group in [first, second, third] {
            sums = rounds(sums, &words, group);
            let [w0, w1, w2, w3] = words;
            let w0 = vsha256su1q_u32(vsha256su0q_u32(w0, w1), w2, w3);
            let w1 = vsha256su1q_u32(vsha256su0q_u32(w1, w2), w3, w0);
            let w2 = vsha256su1q_u32(vsha256su0q_u32(w2, w3), w0, w1);
            let w3 = vsha256su1q_u32(vsha256su0q_u32(w3, w0), w1, w2);
            words = [w0, w1, w2, w3];
        }
        sums = rounds(sums, &words, last);
        (abcd, efgh) = (vaddq_u32(abcd, sums.0), vaddq_u32(efgh, sums.1));
    }
    store(front, abcd);
    store(back, efgh);
}

/// Sixteen rounds.
#[target_feature(enable = "neon,sha2")]
#[inline]
fn rounds(
    (mut abcd, mut efgh): (uint32x4_t, uint32x4_t),
    words: &[uint32x4_t; 4],
    constants: &[[u32; 4]; 4],
) -> (uint32x4_t, uint32x4_t) {
    for (words, constants) in words.iter().zip(constants) {
        let sum = vaddq_u32(*words, load(constants));
        let before = abcd;
        abcd = vsha256hq_u32(abcd, efgh, sum);
        efgh = vsha256h2q_u32(efgh, before, sum);
    }
    (abcd, efgh)
}
