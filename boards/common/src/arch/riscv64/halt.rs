//! The end of a machine whose board has no better one: SBI's system reset (SBI 2.0, 10).
//!
//! Always: does not return.

use core::arch::asm;

const SYSTEM_RESET: usize = 0x5352_5354;

/// Switches the machine off, else halts.
pub(crate) fn switch_off() -> ! {
    // SAFETY: the SBI answers such calls, also those that it does not know; type 0 is shutdown,
    // reason 0 is none.
    unsafe {
        asm!("ecall", inout("a0") 0_usize => _, inout("a1") 0_usize => _, in("a6") 0_usize,
            in("a7") SYSTEM_RESET);
    }
    loop {
        // SAFETY: waiting is always allowed.
        unsafe { asm!("wfi", options(nomem, nostack)) };
    }
}
