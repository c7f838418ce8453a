//! From the PVH entry point (32-bit protected mode, paging off) to Rust in 64-bit mode.
//!
//! Always: the whole of 0..4 GiB is mapped to itself when Rust starts, writable, and cached as far
//! as the image reaches; the platform then has `paging` give RAM a cache. The stack has an unmapped
//! page below it as soon as Rust runs.
//!
//! Sources: Xen x86/HVM direct boot ABI (state at entry: EBX = start_info, flat 4 GiB segments);
//! Intel SDM volume 3, 10.8.5 (switching to IA-32e mode).

use core::arch::naked_asm;

use super::paging::{CACHED, PML4, Table, UNCACHED};
use super::segments;
use super::start_info::StartInfo;
use crate::arch::stack::{STACK, Stack};
use crate::start;

/// Where the segment table is.
#[repr(C, packed(2))]
struct TablePointer {
    limit: u16,
    table: &'static segments::Table,
}

static TABLE_POINTER: TablePointer =
    TablePointer { limit: (size_of::<segments::Table>() - 1) as u16, table: &segments::TABLE };

pvh::xen_elfnote_phys32_entry!(pvh_start);

/// Begins: the loader jumps here.
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
        "rdtsc", // the moment of entry, kept in EBP:ESI until 64-bit mode
        "mov esi, eax",
        "mov ebp, edx",
        // Zero what the file does not hold: not every loader does.
        "lea edi, [__bss_start]",
        "lea ecx, [__image_end]",
        "sub ecx, edi",
        "shr ecx, 2",
        "xor eax, eax",
        "rep stosd",
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
        // Level 2: 2048 pages of 2 MiB, because the default processor has no 1 GiB pages. None is
        // cached yet but the first, in which the image lies (one that is longer is slow until then).
        "add eax, 4096",
        "mov ecx, {uncached}",
        "xor edx, edx",
        "3:",
        "mov [eax + edx * 8], ecx",
        "add ecx, 0x200000",
        "inc edx",
        "cmp edx, 2048",
        "jne 3b",
        "mov dword ptr [eax], {cached}",
        "mov eax, cr4",
        "or eax, 0x220", // PAE, OSFXSR
        "mov cr4, eax",
        "lea eax, [{pml4}]",
        "mov cr3, eax",
        "mov ecx, 0xc0000080", // EFER.LME
        "rdmsr",
        "or eax, 0x100",
        "wrmsr",
        "mov eax, cr0",
        "and eax, 0x9ffffff3", // caches on (CD, NW), no x87 emulation (EM), no trap of XMM (TS)
        "or eax, 0x80010022",  // PG, WP, NE, MP
        "mov cr0, eax",
        "lgdt [{gdt}]",
        "push {code}",
        "lea eax, [4f]",
        "push eax",
        "retf",
        ".code64",
        "4:",
        "mov eax, {data}",
        "mov ss, eax",
        "mov ds, eax",
        "mov es, eax",
        "xor eax, eax",
        "mov fs, eax",
        "mov gs, eax",
        // Upper halves are undefined after the switch; these moves clear them.
        "mov esp, esp",
        "mov esi, esi",
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
        cached = const CACHED,
        uncached = const CACHED | UNCACHED,
        gdt = sym TABLE_POINTER,
        code = const segments::CODE,
        data = const segments::DATA,
        rust = sym rust_start,
    );
}

const _: () = assert!(size_of::<Table>() == 4096);

/// Runs the first Rust code: processor tables, what the loader says, then the platform.
extern "C" fn rust_start(start_info: u32, entry_ticks: u64) -> ! {
    segments::load();
    super::exception::begin();
    super::paging::guard();
    super::halt::unless_ended();
    let told = super::start_info::read(start_info);
    let StartInfo { cmdline, ram, acpi } = told.unwrap_or_else(|refused| start::refuse(&refused));
    super::paging::refine(&ram);
    if let Some(power_off) = acpi.power_off {
        // One that cannot be reached yet is tried once there is memory for tables.
        let _ = super::halt::by_acpi(power_off);
    }
    start::run(start::Boot {
        cmdline,
        ram,
        free_from: start::image_end() + super::halt::MARK_BYTES,
        split: super::paging::MAPPED_END,
        clock: super::Calibration::begin(entry_ticks, acpi.timer),
        generation: acpi.generation,
        acpi,
    })
}
