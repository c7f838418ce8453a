//! What may be asked where nobody is: a semihosting host (Arm semihosting 2.0), and a register.
//!
//! Always: such an instruction lies between `ask_begin` and `ask_end`; one that is a fault there has
//! an answer of -1 from `exception`, and the run continues.

use core::arch::global_asm;

global_asm!(
    ".global ask_begin, ask_end",
    "ask_begin:",
    ".global ask_semihosting, ask_register8, ask_register32",
    "ask_semihosting:",
    "hlt #0xf000",
    "ret",
    "ask_register8:",
    "ldrb w0, [x0]",
    "ret",
    "ask_register32:",
    "ldr w0, [x0]",
    "ret",
    "ask_end:",
);
