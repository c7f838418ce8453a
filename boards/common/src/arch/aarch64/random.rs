//! Random numbers of the processor (FEAT_RNG).
//!
//! Always: none is as good an answer as one; a processor may run dry.

use core::arch::asm;

/// Tries that one number is worth.
const TRIES: u32 = 10;

/// Returns a random number, if the processor makes any.
pub(crate) fn random() -> Option<u64> {
    let features: u64;
    // SAFETY: reading what the processor can do has no effect.
    unsafe { asm!("mrs {}, id_aa64isar0_el1", out(reg) features, options(nomem, nostack)) };
    // ID_AA64ISAR0_EL1.RNDR.
    if features >> 60 == 0 {
        return None;
    }
    (0..TRIES).find_map(|_| number())
}

fn number() -> Option<u64> {
    let (number, is_made): (u64, u64);
    // SAFETY: the processor has RNDR, which says in Z that it has run dry.
    unsafe {
        asm!("mrs {0}, s3_3_c2_c4_0", "cset {1}, ne", out(reg) number, out(reg) is_made,
            options(nomem, nostack));
    }
    (is_made != 0).then_some(number)
}
