//! The time counter, whose rate the device tree tells.

use core::arch::asm;

/// Reads the counter.
pub(crate) fn ticks() -> u64 {
    let ticks;
    // SAFETY: the SBI lets the supervisor read it.
    unsafe { asm!("rdtime {}", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// Returns the ticks a second, if the device tree tells.
pub(crate) fn ticks_per_second() -> Option<u64> {
    crate::device_tree::get()?.timebase_hz
}

/// Returns a rate that the counter does not exceed: that of the tree, or of the fastest in use.
pub(crate) fn ticks_per_second_at_most() -> u64 {
    ticks_per_second().unwrap_or(1_000_000_000)
}
