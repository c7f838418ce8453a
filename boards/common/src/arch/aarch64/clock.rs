//! The virtual counter, whose rate firmware tells.

use core::arch::asm;

/// Reads the counter.
pub(crate) fn ticks() -> u64 {
    let ticks;
    // SAFETY: EL1 may always read it; the barrier keeps the read in its place.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// Ticks a second.
pub(crate) fn ticks_per_second() -> u64 {
    let rate;
    // SAFETY: EL1 may always read it.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) rate, options(nomem, nostack)) };
    rate
}
