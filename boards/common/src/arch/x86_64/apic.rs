//! The local APIC's timer: it counts down for the clock's calibration, and ends a nap.
//!
//! Always: its interrupt is masked but for a nap.
//!
//! Source: Intel SDM volume 3, 11.4.1 (registers), 11.5.1 (local vector table), 11.5.4 (timer).

use core::ptr::with_exposed_provenance_mut;

use x86_64::instructions::interrupts;

use super::exception::{SPURIOUS_VECTOR, TIMER_VECTOR};

/// Where every PC and microvm has its local APIC.
const APIC: usize = 0xfee0_0000;
/// The address to which an interrupt's end is told.
pub(super) const END_OF_INTERRUPT: usize = APIC + 0xb0;
const SPURIOUS: usize = 0xf0;
const LVT_TIMER: usize = 0x320;
const LVT_LINT0: usize = 0x350;
const INITIAL_COUNT: usize = 0x380;
const CURRENT_COUNT: usize = 0x390;
const DIVIDE: usize = 0x3e0;
const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;

/// Starts the timer from the highest count, a count a nanosecond under QEMU and KVM.
pub(super) fn begin() {
    // What firmware lets through of the older interrupt controller is not for us. Before the next
    // write, which has the interrupts looked at that are pending: QEMU takes one that is pending
    // and has been masked since for number -1 (`cpu_get_pic_interrupt`).
    write(LVT_LINT0, MASKED);
    write(SPURIOUS, ENABLED | u32::from(SPURIOUS_VECTOR));
    write(DIVIDE, 0xb); // by 1
    write(LVT_TIMER, MASKED); // one shot
    write(INITIAL_COUNT, u32::MAX);
}

/// What is left of the count.
pub(super) fn count() -> u32 {
    let at = with_exposed_provenance_mut::<u32>(APIC + CURRENT_COUNT);
    // SAFETY: the local APIC's page is mapped (all of 0..4 GiB is) and only this module uses it,
    // but for the end of an interrupt, which its handler tells; registers are 32 bits wide on
    // 16-byte boundaries.
    unsafe { at.read_volatile() }
}

/// Halts the processor for `ns` nanoseconds, at least one: a count of 0 has no end.
pub(crate) fn nap(ns: u32) {
    write(LVT_TIMER, u32::from(TIMER_VECTOR));
    write(INITIAL_COUNT, ns.max(1));
    // In one: an interrupt that comes between would be over before the halt.
    interrupts::enable_and_hlt();
    interrupts::disable();
    write(LVT_TIMER, MASKED);
}

fn write(register: usize, value: u32) {
    let at = with_exposed_provenance_mut::<u32>(APIC + register);
    // SAFETY: as in `count`; what the timer's vector names is an entry of the table of vectors.
    unsafe { at.write_volatile(value) }
}
