//! Every trap, each of which ends the run with a report; but for what is asked where nobody is
//! (`ask`), after which the run continues.
//!
//! Always: interrupts stay off and devices are polled, so any other trap is a fault of ours. The
//! handler runs on a stack of its own, which `sscratch` keeps.
//!
//! Source: RISC-V Privileged 1.12, 4.1.

use core::arch::global_asm;
use core::fmt::Write;

use super::second;
use crate::verdict::{self, Ending};

global_asm!(
    ".balign 4",
    ".global exception_vector",
    "exception_vector:",
    "csrrw sp, sscratch, sp",
    "addi sp, sp, -16",
    "sd t0, 0(sp)",
    "sd t1, 8(sp)",
    "csrr t0, sepc",
    "lla t1, ask_begin",
    "bltu t0, t1, 2f",
    "lla t1, ask_end",
    "bgeu t0, t1, 2f",
    // Something was asked where nobody is: -1 is the answer.
    "addi t0, t0, 4",
    "csrw sepc, t0",
    "li a0, -1",
    "ld t0, 0(sp)",
    "ld t1, 8(sp)",
    "addi sp, sp, 16",
    "csrrw sp, sscratch, sp",
    "sret",
    "2:",
    "csrr a0, scause",
    "csrr a1, sepc",
    "csrr a2, stval",
    "csrr a3, sscratch",
    "csrw sscratch, sp", // a trap from here on stays on this stack
    "mv a4, ra",
    "call {report}",
    "unimp",
    report = sym report,
);

extern "C" fn report(cause: u64, pc: u64, value: u64, sp: u64, ra: u64) -> ! {
    verdict::emergency(Ending::Exception, |message| {
        write!(
            message,
            "exception {cause:#x} ({}) at pc {pc:#x}, touching address {value:#x}, sp {sp:#x}, ra \
             {ra:#x}",
            name(cause),
        )?;
        message.write_str(if second::is_second() { ", on the second processor" } else { "" })
    })
}

fn name(cause: u64) -> &'static str {
    match cause {
        0 => "misaligned instruction",
        1 => "instruction access",
        2 => "illegal instruction",
        3 => "breakpoint",
        4 => "misaligned load",
        5 => "load access",
        6 => "misaligned store",
        7 => "store access",
        8 | 9 => "call",
        12 => "instruction page",
        13 => "load page",
        15 => "store page",
        cause if cause >> 63 == 1 => "unexpected interrupt",
        _ => "reserved",
    }
}
