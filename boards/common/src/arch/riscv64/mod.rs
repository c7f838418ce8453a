//! riscv64 in supervisor mode above an SBI (OpenSBI): memory as it is, one hart, interrupts off.
//!
//! Always: no translation is on, so addresses are physical, and what is cached is the machine's
//! own knowledge (physical memory attributes).

mod clock;
mod entry;
mod exception;
mod halt;
mod semihosting;

pub(crate) use clock::{Calibration, ticks};
pub(crate) use halt::switch_off;
pub(crate) use semihosting::semihosting_write;

/// Where addresses of devices end: all can be used.
pub(crate) const REACH: u64 = u64::MAX;

/// Interrupts of the supervisor are on (sstatus.SIE).
const SIE: usize = 1 << 1;

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
