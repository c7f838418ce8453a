//! Sleeping for a moment, by the virtual timer.
//!
//! Always: interrupts stay masked; one that is pending ends the sleep without being taken (Arm ARM,
//! D1.6.1); nobody sleeps whom the timer's interrupt would not reach.

use core::arch::asm;

use spin::Once;

use super::gic::Gic;
use crate::device_tree;

/// The timer counts, and its interrupt is not masked (CNTV_CTL_EL0).
const ON: u64 = 1;

/// Waits for `ns` nanoseconds; not at all where that cannot be.
pub(crate) fn nap(ns: u32) {
    static REACHES: Once<bool> = Once::new();
    if *REACHES.call_once(reaches) {
        set(u64::from(ns) * super::ticks_per_second() / 1_000_000_000, ON);
        // SAFETY: waiting is always allowed.
        unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
        set(0, 0);
    }
}

/// Lets the timer's interrupt through, and tries whether it arrives.
fn reaches() -> bool {
    let Some(gic) = device_tree::get().and_then(|tree| tree.gic) else { return false };
    let gic = Gic::begin(gic);
    set(0, ON);
    let arrives = gic.timer_is_pending();
    set(0, 0);
    arrives
}

/// Sets the timer to so many ticks from now.
fn set(ticks: u64, control: u64) {
    // SAFETY: EL1 may always set it, and the interrupt that it may raise is masked.
    unsafe {
        asm!("msr cntv_tval_el0, {}", "msr cntv_ctl_el0, {}", "isb", in(reg) ticks,
            in(reg) control, options(nostack, preserves_flags));
    }
}
