//! What may be asked where nobody is: a semihosting host (RISC-V Semihosting 1.0), and a register.
//!
//! Always: such an instruction has four bytes and lies between `ask_begin` and `ask_end`; one that is
//! a fault there has an answer of -1 from `exception`, and the run continues.

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
