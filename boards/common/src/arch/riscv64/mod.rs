//! riscv64 in supervisor mode above an SBI (OpenSBI): memory mapped to itself, one hart but
//! while a second one works, interrupts off.
//!
//! Always: what is cached is the machine's own knowledge (physical memory attributes).

mod ask;
mod clock;
mod entry;
mod exception;
mod halt;
mod handover;
mod nap;
mod paging;
mod sbi;
mod second;

pub(crate) use clock::{ticks, ticks_per_second, ticks_per_second_at_most};
pub(crate) use halt::{WAYS_OUT, halt, has_way_out};
pub(crate) use handover::{facts, hand_over};
pub(crate) use nap::nap;
pub(crate) use paging::{REACH, forget_translations, map};
pub(crate) use second::Start;

/// Interrupts of the supervisor are on (sstatus.SIE).
const SIE: usize = 1 << 1;

/// Returns no random number: `seed` (Zkr) may be read in this mode only where the SBI allows it,
/// which nobody says.
pub(crate) fn random() -> Option<u64> {
    None
}

/// Returns whether nobody is said to have made the processor, as an emulator says (SBI 2.0, 4.5).
pub(crate) fn is_emulated() -> bool {
    const BASE: usize = 0x10;
    const VENDOR: usize = 4;
    // SAFETY: a question changes nothing.
    unsafe { sbi::call(BASE, VENDOR, [0; 3]) == Some(0) }
}

/// Turns interrupts off; the answer is whether they were on.
pub(crate) fn interrupts_off() -> bool {
    let status: usize;
    // SAFETY: turning interrupts off is always allowed.
    unsafe { core::arch::asm!("csrrc {}, sstatus, {}", out(reg) status, in(reg) SIE) };
    status & SIE != 0
}

/// Turns interrupts on again if `on`.
pub(crate) fn interrupts_restore(on: bool) {
    if on {
        // SAFETY: they were on before, so there is a handler.
        unsafe { core::arch::asm!("csrs sstatus, {}", in(reg) SIE) };
    }
}
