//! Sleeping for a moment, by SBI's timer (SBI 2.0, 6).
//!
//! Always: interrupts stay off; one that is pending ends the sleep without being taken (RISC-V
//! Privileged 1.12, 3.3.3).

use core::arch::asm;

use super::sbi;

const TIME: usize = 0x5449_4d45;
/// The supervisor's timer among the interrupts that end a sleep (sie.STIE).
const STIE: usize = 1 << 5;

/// Waits for `ns` nanoseconds; not at all where there is no such timer.
pub(crate) fn nap(ns: u32) {
    let Some(hz) = super::ticks_per_second() else { return };
    let ticks = u64::from(ns) * hz / 1_000_000_000;
    let until = super::ticks() + ticks;
    // SAFETY: the timer is nobody else's.
    if unsafe { sbi::call(TIME, 0, [until as usize, 0, 0]) }.is_none() {
        return;
    }
    // SAFETY: interrupts are off, so that what this lets through ends the sleep, and no more.
    unsafe { asm!("csrs sie, {stie}", "wfi", "csrc sie, {stie}", stie = in(reg) STIE) };
}
