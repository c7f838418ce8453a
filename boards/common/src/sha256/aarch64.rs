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
        unsafe { compress([state], [blocks]) };
    }

    /// Takes blocks into two states, as many into each.
    pub fn compress_pair(&self, states: [&mut [u32; 8]; 2], blocks: [&[[u8; 64]]; 2]) {
        assert_eq!(blocks[0].len(), blocks[1].len(), "a pair has one length");
        // SAFETY: the processor has the instructions.
        unsafe { compress(states, blocks) };
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

/// Four words each of A to D and of E to H.
type Sums = (uint32x4_t, uint32x4_t);

/// Takes blocks into the states of some lanes. Rounds of one run while those of another wait for
/// their results.
#[target_feature(enable = "neon,sha2")]
fn compress<const LANES: usize>(states: [&mut [u32; 8]; LANES], blocks: [&[[u8; 64]]; LANES]) {
    let (constants, _) = CONSTANTS.rounds.as_chunks::<4>();
    let (groups, _) = constants.as_chunks::<4>();
    let mut before: [Sums; LANES] = core::array::from_fn(|lane| {
        let (halves, _) = states[lane].as_chunks::<4>();
        (load(&halves[0]), load(&halves[1]))
    });
    for (number, _) in blocks[0].iter().enumerate() {
        let mut words: [[uint32x4_t; 4]; LANES] = core::array::from_fn(|lane| {
            let (parts, _) = blocks[lane][number].as_chunks::<16>();
            core::array::from_fn(|part| load_swapped(&parts[part]))
        });
        let mut sums = before;
        for group in &groups[..3] {
            rounds(&mut sums, &words, group);
            words.iter_mut().for_each(|words| *words = scheduled(*words));
        }
        rounds(&mut sums, &words, &groups[3]);
        for (before, sums) in before.iter_mut().zip(sums) {
            *before = (vaddq_u32(before.0, sums.0), vaddq_u32(before.1, sums.1));
        }
    }
    for (state, (abcd, efgh)) in states.into_iter().zip(before) {
        let (halves, _) = state.as_chunks_mut::<4>();
        store(&mut halves[0], abcd);
        store(&mut halves[1], efgh);
    }
}

/// The next sixteen words of a schedule.
#[target_feature(enable = "neon,sha2")]
#[inline]
fn scheduled([w0, w1, w2, w3]: [uint32x4_t; 4]) -> [uint32x4_t; 4] {
    let w0 = vsha256su1q_u32(vsha256su0q_u32(w0, w1), w2, w3);
    let w1 = vsha256su1q_u32(vsha256su0q_u32(w1, w2), w3, w0);
    let w2 = vsha256su1q_u32(vsha256su0q_u32(w2, w3), w0, w1);
    let w3 = vsha256su1q_u32(vsha256su0q_u32(w3, w0), w1, w2);
    [w0, w1, w2, w3]
}

/// Sixteen rounds of each lane, four of each in turn.
#[target_feature(enable = "neon,sha2")]
#[inline]
fn rounds<const LANES: usize>(
    sums: &mut [Sums; LANES],
    words: &[[uint32x4_t; 4]; LANES],
    constants: &[[u32; 4]; 4],
) {
    for (part, constants) in constants.iter().enumerate() {
        let constants = load(constants);
        for ((abcd, efgh), words) in sums.iter_mut().zip(words) {
            let sum = vaddq_u32(words[part], constants);
            let before = *abcd;
            *abcd = vsha256hq_u32(before, *efgh, sum);
            *efgh = vsha256h2q_u32(*efgh, before, sum);
        }
    }
}
