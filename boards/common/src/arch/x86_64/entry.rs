//! From the PVH entry point (32-bit protected mode, paging off) to Rust in 64-bit mode.
//!
//! Always: the whole of 0..4 GiB is mapped to itself when Rust starts, writable and cached;
//! `paging` then takes the cache away from what is no RAM. The stack has an unmapped page below
//! it as soon as `paging` ran.
//!
//! Sources: Xen x86/HVM direct boot ABI (state at entry: EBX = start_info, flat 4 GiB segments);
//! Intel SDM volume 3, 10.8.5 (switching to IA-32e mode).

use core::arch::naked_asm;

use super::paging::{PML4, Table};
use crate::arch::stack::{STACK, Stack};

/// The descriptors for the way into long mode: null, 64-bit code (0x08), data (0x10).
/// `segments` replaces them with a table that also has a task state.
static ENTRY_GDT: [u64; 3] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

#[repr(C, packed(2))]
struct GdtPointer {
    limit: u16,
    base: &'static [u64; 3],
}

static ENTRY_GDT_POINTER: GdtPointer = GdtPointer { limit: 23, base: &ENTRY_GDT };

pvh::xen_elfnote_phys32_entry!(pvh_start);

/// Where the loader jumps to.
///
/// # Safety
///
/// Only a PVH loader may enter here, once, in the state that the boot protocol promises.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn pvh_start() -> ! {
    naked_asm!(
        ".code32",
        "cld",
        "rdtsc", // the moment of entry, kept in EBP:EDI until 64-bit mode
        "mov edi, eax",
        "mov ebp, edx",
        "lea esp, [{stack} + {stack_len}]",
        // Level 4 and level 3: one and four entries, present and writable.
        "lea eax, [{pml4}]",
        "lea ecx, [eax + 4096]",
        "or ecx, 3",
        "mov [eax], ecx",
        "add eax, 4096",
        "lea ecx, [eax + 4096]",
        "or ecx, 3",
        "xor edx, edx",
        "2:",
        "mov [eax + edx * 8], ecx",
        "add ecx, 4096",
        "inc edx",
        "cmp edx, 4",
        "jne 2b",
        // Level 2: 2048 pages of 2 MiB, because the default processor has no 1 GiB pages.
        "add eax, 4096",
        "mov ecx, 0x83",
        "xor edx, edx",
        "3:",
        "mov [eax + edx * 8], ecx",
        "add ecx, 0x200000",
        "inc edx",
        "cmp edx, 2048",
        "jne 3b",
        "mov eax, cr4",
        "or eax, 0x20", // PAE
        "mov cr4, eax",
        "lea eax, [{pml4}]",
        "mov cr3, eax",
        "mov ecx, 0xc0000080", // EFER.LME
        "rdmsr",
        "or eax, 0x100",
        "wrmsr",
        "mov eax, cr0",
        "and eax, 0x9ffffffb", // caches on (CD, NW), no x87 emulation (EM)
        "or eax, 0x80010022",  // PG, WP, NE, MP
        "mov cr0, eax",
        "lgdt [{gdt}]",
        "push 0x08",
        "lea eax, [4f]",
        "push eax",
        "retf",
        ".code64",
        "4:",
        "mov eax, 0x10",
        "mov ss, eax",
        "mov ds, eax",
        "mov es, eax",
        "xor eax, eax",
        "mov fs, eax",
        "mov gs, eax",
        // Upper halves are undefined after the switch; these moves clear them.
        "mov esp, esp",
        "mov esi, edi",
        "mov ebp, ebp",
        "shl rbp, 32",
        "or rsi, rbp", // second argument: ticks at entry
        "mov edi, ebx", // first argument: start_info
        "xor ebp, ebp",
        "call {rust}",
        "ud2",
        stack = sym STACK,
        stack_len = const size_of::<Stack>(),
        pml4 = sym PML4,
        gdt = sym ENTRY_GDT_POINTER,
        rust = sym rust_start,
    );
}

const _: () = assert!(size_of::<Table>() == 4096);

/// The first Rust code: processor tables, then the platform.
extern "C" fn rust_start(start_info: u32, entry_ticks: u64) -> ! {
    let code = super::segments::load();
    super::exception::load(code);
    let info = super::start_info::read(start_info);
    super::paging::refine(info.ram());
    crate::start::run(crate::start::Boot {
        cmdline: info.cmdline(),
        heap: info.heap(),
        clock: super::Calibration::begin(entry_ticks),
    })
}
