//! aarch64 after a Linux boot (Documentation/arch/arm64/booting.rst), or as an ELF: memory mapped
//! to itself, EL1, interrupts off, one processor but while a second one is lent some work.
//!
//! Always: every system register that is touched belongs to EL1, or to the way down from EL2.

mod ask;
mod clock;
mod entry;
mod exception;
mod gic;
mod halt;
mod handover;
mod nap;
mod paging;
mod psci;
mod random;
mod second;

pub(crate) use clock::{ticks, ticks_per_second, ticks_per_second_at_most};
pub(crate) use halt::{WAYS_OUT, halt, has_way_out};
pub(crate) use handover::{facts, hand_over};
pub(crate) use nap::nap;
pub(crate) use paging::{REACH, forget_translations, map};
pub(crate) use random::random;
pub(crate) use second::Start;

/// Returns whether software plays the processor, by an implementer's code that is kept for it (Arm
/// ARM, MIDR_EL1).
pub(crate) fn is_emulated() -> bool {
    let id: u64;
    // SAFETY: reading who made the processor has no effect.
    unsafe { core::arch::asm!("mrs {}, midr_el1", out(reg) id, options(nomem, nostack)) };
    id >> 24 & 0xff == 0
}

/// Turns interrupts off; the answer is whether they were on.
pub(crate) fn interrupts_off() -> bool {
    let mask: u64;
    // SAFETY: reading the mask has no effect.
    unsafe { core::arch::asm!("mrs {}, daif", out(reg) mask, options(nomem, nostack)) };
    // SAFETY: masking interrupts is always allowed.
    unsafe { core::arch::asm!("msr daifset, #0xf", options(nostack)) };
    mask & (1 << 7) == 0
}

/// Turns interrupts on again if `on`.
pub(crate) fn interrupts_restore(on: bool) {
    if on {
        // SAFETY: they were on before, so there is a handler.
        unsafe { core::arch::asm!("msr daifclr, #0x2", options(nostack)) };
    }
}
