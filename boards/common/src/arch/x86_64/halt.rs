//! The end of a machine without a device for it.
//!
//! Always: does not return.

use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::instructions::{hlt, interrupts};
use x86_64::structures::DescriptorTablePointer;

/// Ends the machine by a triple fault (which ends QEMU under `-no-reboot`), else by halting.
pub(crate) fn switch_off() -> ! {
    triple_fault();
    loop {
        interrupts::disable();
        hlt();
    }
}

/// Raises an exception without a table to handle it.
fn triple_fault() {
    let nothing = DescriptorTablePointer { limit: 0, base: VirtAddr::zero() };
    // SAFETY: no code runs after this that could need a handler.
    unsafe { lidt(&nothing) };
    interrupts::int3();
}
