//! Sleeping for a moment, by the virtual timer.
//!
//! Always: interrupts stay masked; one that is pending ends the sleep without being taken (Arm ARM,
//! D1.6.1); nobody sleeps whom the timer's interrupt would not reach, which the second processor has
//! not let through.

use core::arch::asm;

use spin::Once;

use super::gic::{self, Gic};
use super::second;
use crate::arch::Kind;
use crate::device_tree;

/// How long the timer's interrupt may take to the processor, in nanoseconds.
const ARRIVES_NS: u32 = 100_000;
/// The timer counts, and its interrupt is not masked (CNTV_CTL_EL0).
const ON: u64 = 1;

/// Waits for `ns` nanoseconds; not at all where that cannot be.
pub(crate) fn nap(ns: u32) {
    static REACHES: Once<bool> = Once::new();
    if second::is_second() {
        return;
    }
    let Some(hz) = super::ticks_per_second() else { return };
    if *REACHES.call_once(|| reaches(hz)) {
        set(ticks_of(ns, hz), ON);
        // SAFETY: waiting is always allowed.
        unsafe { asm!("dsb sy", "wfi", options(nostack, preserves_flags)) };
        set(0, 0);
    }
}

/// Lets the timer's interrupt through, and tries whether it arrives.
fn reaches(hz: u64) -> bool {
    let Some((tree, place)) = device_tree::get().and_then(|tree| Some((tree, tree.gic?))) else {
        return false;
    };
    // Where there is RAM, the address is one of another bus.
    let is_device = |block: &usize| {
        let at = *block as u64;
        let end = at.checked_add(gic::BLOCK_BYTES);
        end.is_some_and(|end| {
            !tree.ram.overlaps(&(at..end)) && super::map(&(at..end), Kind::Registers).is_some()
        })
    };
    if !place.blocks().iter().all(is_device) {
        return false;
    }
    let Some(gic) = Gic::begin(place) else { return false };
    set(0, ON);
    // It takes a moment, under a hypervisor that of leaving the guest and coming back.
    let until = super::ticks() + ticks_of(ARRIVES_NS, hz);
    let mut arrives = gic.timer_is_pending();
    while !arrives && super::ticks() < until {
        arrives = gic.timer_is_pending();
    }
    set(0, 0);
    arrives
}

fn ticks_of(ns: u32, hz: u64) -> u64 {
    u64::from(ns) * hz / 1_000_000_000
}

/// Sets the timer to `ticks` from now.
fn set(ticks: u64, control: u64) {
    // SAFETY: EL1 may always set it, and the interrupt that it may raise is masked.
    unsafe {
        asm!("msr cntv_tval_el0, {}", "msr cntv_ctl_el0, {}", "isb", in(reg) ticks,
            in(reg) control, options(nostack, preserves_flags));
    }
}
