//! The jump into a kernel, by the 64-bit boot protocol.
//!
//! Always: interrupts are off, and the local APIC is as firmware left it; the page tables that the
//! kernel finds map all that it is handed to itself.
//!
//! Source: Linux Documentation/arch/x86/boot.rst, "64-bit Boot Protocol".

use core::arch::asm;

use rootlet_guest::boot::{Arch, Facts, Handover};
use x86_64::instructions::interrupts;

use super::apic;
use super::start_info::TOLD;

/// The segment table that the protocol asks for: 64-bit code at 0x10, data at 0x18.
static TABLE: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
const CODE: u64 = 0x10;
const DATA: u64 = 0x18;

/// Where a segment table is.
#[repr(C, packed(2))]
struct TablePointer {
    limit: u16,
    table: u64,
}

/// Calls `with` with what the loader said of the machine.
pub(crate) fn facts<T>(with: impl FnOnce(&Facts<'_>) -> T) -> T {
    let told = TOLD.lock();
    with(&Facts { arch: Arch::X86_64, map: &told.0, rsdp: told.1, tree: &[] })
}

/// Gives the processor to a kernel.
///
/// # Safety
///
/// What is handed over is a kernel with all that it needs, in memory that nobody else uses; no
/// device touches memory any more.
pub(crate) unsafe fn hand_over(to: &Handover) -> ! {
    interrupts::disable();
    apic::end();
    let pointer = TablePointer {
        limit: size_of_val(&TABLE) as u16 - 1,
        table: (&raw const TABLE).addr() as u64,
    };
    // SAFETY: the table has the segments that are loaded, all of memory each; the caller promises
    // the kernel, which does not come back.
    unsafe {
        asm!(
            "lgdt [rdi]",
            "mov ds, edx",
            "mov es, edx",
            "mov ss, edx",
            "mov fs, edx",
            "mov gs, edx",
            "push rcx",
            "lea rcx, [rip + 2f]",
            "push rcx",
            "retfq",
            "2:",
            "xor ebp, ebp",
            "xor edi, edi",
            "jmp rax",
            in("rdi") &raw const pointer,
            in("rdx") DATA,
            in("rcx") CODE,
            in("rax") to.entry,
            in("rsi") to.told,
            options(noreturn),
        );
    }
}
