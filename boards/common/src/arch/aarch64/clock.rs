//! The virtual counter, whose rate firmware tells.

use core::arch::asm;

/// Reads the counter.
pub(crate) fn ticks() -> u64 {
    let ticks;
    // SAFETY: EL1 may always read it; the barrier keeps the read in its place.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// Returns the ticks a second, if firmware has said so.
pub(crate) fn ticks_per_second() -> Option<u64> {
    let rate: u64;
    // SAFETY: EL1 may always read it.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) rate, options(nomem, nostack)) };
    (rate > 0).then_some(rate)
}

/// Returns a rate that the counter does not exceed (Arm ARM, D12.1.2: from Armv8.6 on 1 GHz).
pub(crate) fn ticks_per_second_at_most() -> u64 {
    ticks_per_second().unwrap_or(1_000_000_000)
}
