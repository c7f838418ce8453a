//! What may be asked where nobody is: a semihosting host (RISC-V Semihosting 1.0), and a register.
//!
//! Always: such an instruction has four bytes and lies between `ask_begin` and `ask_end`; one that is
//! a fault there has an answer of -1 from `exception`, and the run goes on.

use core::arch::global_asm;

// The three instructions of a semihosting call mean it together, uncompressed, in one page.
global_asm!(
    ".option push",
    ".option norvc",
    ".balign 16",
    ".global ask_begin, ask_end",
    "ask_begin:",
    ".global ask_semihosting, ask_register8, ask_register32",
    "ask_semihosting:",
    "slli x0, x0, 0x1f",
    "ebreak",
    "srai x0, x0, 7",
    "ret",
    "ask_register8:",
    "lbu a0, 0(a0)",
    "ret",
    "ask_register32:",
    "lwu a0, 0(a0)",
    "ret",
    "ask_end:",
    ".option pop",
);

unsafe extern "C" {
    fn ask_semihosting(operation: usize, argument: usize) -> usize;
    safe fn ask_register8(at: usize) -> u64;
    safe fn ask_register32(at: usize) -> u64;
}

/// One call.
///
/// # Safety
///
/// `argument` is what the operation asks for.
pub(crate) unsafe fn semihosting_call(operation: usize, argument: usize) -> usize {
    // SAFETY: as the caller says; where nobody answers, nothing is done.
    unsafe { ask_semihosting(operation, argument) }
}

/// Returns whether reading a byte of a register is no fault.
pub(crate) fn answers8(at: usize) -> bool {
    ask_register8(at) != u64::MAX
}

/// As [`answers8`], of 32 bits.
pub(crate) fn answers32(at: usize) -> bool {
    ask_register32(at) != u64::MAX
}
