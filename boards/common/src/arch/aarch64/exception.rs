//! Every exception vector, each of which ends the run with a report; but for what is asked where
//! nobody is (`ask`), after which the run continues.
//!
//! Always: interrupts stay off and devices are polled, so any other exception is a fault of ours.
//! The program runs on SP_EL0 and handlers on SP_EL1, which is a stack of its own.
//!
//! Source: Arm ARM, D1.3 (vectors), D24.2.40 (ESR_EL1).

use core::arch::global_asm;
use core::fmt::Write;

use super::second;
use crate::verdict::{self, Ending};

// 16 vectors of 128 bytes each. Which one it was tells the kind.
global_asm!(
    ".balign 2048",
    ".global exception_vectors",
    "exception_vectors:",
    ".set vector, 0",
    ".rept 16",
    ".balign 128",
    "stp x0, x1, [sp, #-16]!",
    "mov x0, #vector",
    "b exception_common",
    ".set vector, vector + 1",
    ".endr",
    ".balign 128",
    "exception_common:",
    "mrs x1, elr_el1",
    // Something was asked where nobody is: -1 is the answer.
    "stp x2, x3, [sp, #-16]!",
    "adrp x2, ask_begin",
    "add x2, x2, :lo12:ask_begin",
    "cmp x1, x2",
    "b.lo 2f",
    "adrp x2, ask_end",
    "add x2, x2, :lo12:ask_end",
    "cmp x1, x2",
    "b.hs 2f",
    "add x1, x1, #4",
    "msr elr_el1, x1",
    "ldp x2, x3, [sp], #16",
    "ldp x0, x1, [sp], #16",
    "mov x0, #-1",
    "eret",
    "2:",
    "mrs x2, esr_el1",
    "mrs x3, far_el1",
    "mrs x4, sp_el0",
    "mov x5, x30",
    "bl {report}",
    "b .",
    report = sym report,
);

extern "C" fn report(vector: u64, elr: u64, esr: u64, far: u64, sp: u64, lr: u64) -> ! {
    verdict::emergency(Ending::Exception, |message| {
        let class = esr >> 26 & 0x3f;
        write!(
            message,
            "exception {} ({}) at pc {elr:#x}, esr {esr:#x}, touching address {far:#x}, sp \
             {sp:#x}, lr {lr:#x}",
            ["synchronous", "interrupt", "fast interrupt", "system error"][(vector & 3) as usize],
            name(class),
        )?;
        message.write_str(if second::is_second() { ", on the second processor" } else { "" })
    })
}

fn name(class: u64) -> &'static str {
    match class {
        0x00 => "unknown instruction",
        0x07 => "floating point is off",
        0x0e => "illegal state",
        0x15 => "supervisor call",
        0x18 => "system register",
        0x20 | 0x21 => "instruction abort",
        0x22 => "misaligned pc",
        0x24 | 0x25 => "data abort",
        0x26 => "misaligned sp",
        0x2f => "system error",
        0x3c => "breakpoint",
        _ => "other",
    }
}
