//! The trap of a semihosting call (Arm semihosting 2.0).
//!
//! Always: all calls are made at one place, which `exception` knows.

use core::arch::naked_asm;

/// One call.
///
/// # Safety
///
/// `argument` is what the operation asks for.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn semihosting_call(operation: usize, argument: usize) -> usize {
    naked_asm!(".global semihosting_trap", "semihosting_trap:", "hlt #0xf000", "ret")
}
