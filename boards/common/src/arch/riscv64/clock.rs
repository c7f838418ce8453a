//! The time counter, whose rate the device tree tells.

use core::arch::asm;

/// What QEMU has, for a tree that does not tell.
const RATE_HZ: u64 = 10_000_000;

/// Reads the counter.
pub(crate) fn ticks() -> u64 {
    let ticks;
    // SAFETY: the SBI lets the supervisor read it.
    unsafe { asm!("rdtime {}", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// Ticks a second.
pub(crate) fn ticks_per_second() -> u64 {
    crate::device_tree::get().and_then(|tree| tree.timebase_hz).unwrap_or(RATE_HZ)
}
