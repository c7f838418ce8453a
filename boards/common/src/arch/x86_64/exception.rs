//! The vectors of exceptions, each of which ends the run with a report, and the two that end a
//! nap.
//!
//! Always: devices are polled, and interrupts are off but for naps, so a vector after these fires
//! only by a fault of ours: a general protection with that vector in the error code. An exception's
//! handler runs on a stack of its own and takes no lock.
//!
//! Source: Intel SDM volume 3, 6.14 (64-bit interrupts) and table 6-1 (vectors, error codes).

use core::arch::global_asm;
use core::fmt::Write;

use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::registers::control::Cr2;
use x86_64::structures::DescriptorTablePointer;

use super::segments::{self, CODE, FAULT_STACK_INDEX};
use crate::verdict::{self, Ending};

/// How many vectors are the processor's own.
const EXCEPTIONS: usize = 32;
/// That of the local APIC's timer.
pub(super) const TIMER_VECTOR: u8 = 32;
/// That of an interrupt that was over before it was taken.
pub(super) const SPURIOUS_VECTOR: u8 = 33;
const VECTORS: usize = 34;
/// Bytes of one entry stub below.
const STUB_BYTES: u64 = 16;

// One stub a vector: bring the stack to one form (the processor pushes an error code for some
// vectors only) and say which vector it was. 16 bytes each.
global_asm!(
    ".balign 16",
    ".global exception_stubs",
    "exception_stubs:",
    ".set vector, 0",
    ".rept {vectors}",
    ".balign 16",
    ".if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)",
    "push 0",
    ".endif",
    "push vector",
    "jmp exception_common",
    ".set vector, vector + 1",
    ".endr",
    "exception_common:",
    "cld",
    "push rbp",
    "push rbx",
    "push rax",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {report}",
    "ud2",
    report = sym report,
    vectors = const EXCEPTIONS,
);

// A nap ends by an interrupt, after which its caller continues.
global_asm!("nothing_happened:", "iretq");

unsafe extern "C" {
    /// The first stub; never called from Rust.
    safe static exception_stubs: u8;
    /// The handler of the timer's interrupt and of a spurious one; never called from Rust.
    safe static nothing_happened: u8;
}

/// What the stubs leave on the stack, lowest address first.
#[repr(C)]
struct Frame {
    rax: u64,
    rbx: u64,
    rbp: u64,
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

#[repr(C, align(16))]
struct Idt([[u64; 2]; VECTORS]);

static mut IDT: Idt = Idt([[0; 2]; VECTORS]);

/// Fills the table and loads it; called once at entry, after the segments.
pub(super) fn begin() {
    let table = &raw mut IDT;
    let stubs = (&raw const exception_stubs).addr() as u64;
    // SAFETY: called once on the only processor, and the table is not loaded yet.
    let gates = unsafe { &mut (*table).0 };
    for (vector, gate) in gates[..EXCEPTIONS].iter_mut().enumerate() {
        *gate = interrupt_gate(stubs + STUB_BYTES * vector as u64, FAULT_STACK_INDEX);
    }
    let own_stack = 0;
    for vector in [TIMER_VECTOR, SPURIOUS_VECTOR] {
        let handler = (&raw const nothing_happened).addr() as u64;
        gates[usize::from(vector)] = interrupt_gate(handler, own_stack);
    }
    load();
}

/// Loads the table, which is filled.
pub(super) fn load() {
    let table = &raw const IDT;
    let limit = (size_of::<Idt>() - 1) as u16;
    let pointer = DescriptorTablePointer { limit, base: VirtAddr::from_ptr(table) };
    // SAFETY: the table is complete, lives as long as the program, and every gate names a handler
    // in the code segment of the table that `segments` has.
    unsafe { lidt(&pointer) };
}

/// Returns a gate to `handler`, on the stack with this index in the task state; 0 is the one in
/// use.
fn interrupt_gate(handler: u64, stack: u8) -> [u64; 2] {
    const PRESENT_INTERRUPT_GATE: u64 = 0x8e00;
    let low = (handler & 0xffff)
        | u64::from(CODE) << 16
        | u64::from(stack) << 32
        | PRESENT_INTERRUPT_GATE << 32
        | (handler >> 16 & 0xffff) << 48;
    [low, handler >> 32]
}

extern "C" fn report(frame: &Frame) -> ! {
    verdict::emergency(Ending::Exception, |message| {
        let (vector, code) = (frame.vector, frame.error_code);
        write!(
            message,
            "exception {vector} ({}) at rip {:#x}, error code {code:#x}",
            name(vector),
            frame.rip
        )?;
        if vector == 14 {
            write!(message, ", touching address {:#x}", Cr2::read_raw())?;
        }
        write!(
            message,
            ", rsp {:#x}, rbp {:#x}, rax {:#x}, rbx {:#x}, rflags {:#x}, cs {:#x}, ss {:#x}",
            frame.rsp, frame.rbp, frame.rax, frame.rbx, frame.rflags, frame.cs, frame.ss
        )?;
        message.write_str(if segments::is_second() { ", on the second processor" } else { "" })
    })
}

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range",
        6 => "invalid opcode",
        7 => "no floating point",
        8 => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        12 => "stack segment",
        13 => "general protection",
        14 => "page fault",
        16 => "x87 floating point",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating point",
        _ => "reserved",
    }
}
