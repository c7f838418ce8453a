//! The trap of a semihosting call (RISC-V Semihosting 1.0).
//!
//! Always: all calls are made at one place, which `exception` knows.

use core::arch::naked_asm;

/// One call. The three instructions mean it together, uncompressed, in one page.
///
/// # Safety
///
/// `argument` is what the operation asks for.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn semihosting_call(operation: usize, argument: usize) -> usize {
    naked_asm!(
        ".option push",
        ".option norvc",
        ".balign 16",
        "slli x0, x0, 0x1f",
        ".global semihosting_trap",
        "semihosting_trap:",
        "ebreak",
        "srai x0, x0, 7",
        "ret",
        ".option pop"
    )
}
