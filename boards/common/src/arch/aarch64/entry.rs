//! From the first instruction to Rust with the MMU on.
//!
//! Always: the image may lie anywhere that is aligned to 2 MiB: it moves its own addresses before
//! Rust runs. When Rust starts, 0..512 GiB is mapped to itself: the GiB with the image cached,
//! all else as devices; `paging` then adds RAM.
//!
//! Sources: Linux Documentation/arch/arm64/booting.rst (header; state at entry: x0 is the device
//! tree, MMU off, one processor); Arm ARM, D1.2 (exception levels), K1.3 (ELF relocations).

use core::arch::global_asm;

use super::paging::{CACHED, DEVICE, LEVEL1, MAIR, SCTLR, TCR};
use crate::arch::stack::{FAULT_STACK, FAULT_STACK_BYTES, STACK, Stack};
use crate::start;

/// Reset value of SCTLR_EL1 with everything off.
const SCTLR_OFF: u64 = 0x30d0_0800;
/// ELF's type of a word that holds an address of the image itself.
const R_AARCH64_RELATIVE: u64 = 1027;

// The first 64 bytes are the header of a Linux image.
global_asm!(
    ".section .text.head, \"ax\"",
    ".global image_head",
    "image_head:",
    "b 1f",
    ".long 0",
    ".quad 0", // offset from a base aligned to 2 MiB
    ".quad __image_bytes",
    ".quad 0xa", // little-endian, 4 KiB pages, anywhere in memory
    ".quad 0, 0, 0",
    ".ascii \"ARM\\x64\"",
    ".long 0",
    "1:",
    "msr daifset, #0xf",
    "mrs x21, cntvct_el0", // the moment of entry
    "mov x20, x0",         // the device tree
    "bl enter_el1",
    "msr tpidr_el1, xzr", // the first processor
    // Zero what the file does not hold.
    "adrp x9, __bss_start",
    "add x9, x9, :lo12:__bss_start",
    "adrp x10, __image_end",
    "add x10, x10, :lo12:__image_end",
    "3:",
    "stp xzr, xzr, [x9], #16",
    "cmp x9, x10",
    "b.lo 3b",
    // Move addresses by the distance between where the image is and where it was linked.
    "adrp x19, image_head",
    "add x19, x19, :lo12:image_head",
    "ldr x14, 9f",
    "sub x19, x19, x14",
    "adrp x9, __rela_start",
    "add x9, x9, :lo12:__rela_start",
    "adrp x10, __rela_end",
    "add x10, x10, :lo12:__rela_end",
    "4:",
    "cmp x9, x10",
    "b.hs 5f",
    "ldp x11, x12, [x9], #16",
    "ldr x13, [x9], #8",
    "cmp x12, #{relative}",
    "b.ne .", // nothing else is in an image that links itself to nothing
    // The log's strings are addressed below the image, and are not loaded.
    "cmp x11, x14",
    "b.lo 4b",
    "add x13, x13, x19",
    "str x13, [x11, x19]",
    "b 4b",
    "5:",
    // Throw away what a cache may hold from before of what was written here, past the cache. The
    // rest of the image is the loader's to write back (booting.rst), and stacks are not read before
    // they are written. It is an instruction a line.
    "mrs x9, ctr_el0",
    "ubfx x9, x9, #16, #4",
    "mov x10, #4",
    "lsl x10, x10, x9",
    "adrp x11, __data_start",
    "add x11, x11, :lo12:__data_start",
    "adrp x12, __data_end",
    "add x12, x12, :lo12:__data_end",
    "bl 6f",
    "adrp x11, __bss_start",
    "adrp x12, __image_end",
    "add x12, x12, :lo12:__image_end",
    "bl 6f",
    "dsb sy",
    // Level 1: all devices but the GiB that we are in.
    "adrp x9, {level1}",
    "add x9, x9, :lo12:{level1}",
    "ldr x10, ={device}",
    "mov x11, #512",
    "mov x12, #0x40000000",
    "7:",
    "str x10, [x9], #8",
    "add x10, x10, x12",
    "subs x11, x11, #1",
    "b.ne 7b",
    "adrp x9, {level1}",
    "add x9, x9, :lo12:{level1}",
    "adr x10, .",
    "lsr x10, x10, #30",
    "ldr x11, ={cached}",
    "add x11, x11, x10, lsl #30",
    "str x11, [x9, x10, lsl #3]",
    "dsb sy",
    "bl mmu_on",
    // Handlers run on SP_EL1, the program on SP_EL0.
    "msr spsel, #1",
    "adrp x9, {fault_stack}",
    "add x9, x9, :lo12:{fault_stack}",
    "ldr x10, ={fault_stack_bytes}",
    "add sp, x9, x10",
    "msr spsel, #0",
    "adrp x9, {stack}",
    "add x9, x9, :lo12:{stack}",
    "ldr x10, ={stack_bytes}",
    "add x9, x9, x10",
    "mov sp, x9",
    "mov x0, x20",
    "mov x1, x21",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl {rust}",
    "b .",
    // From x11, from where its line begins, to x12, by lines of x10 bytes.
    "6:",
    "sub x13, x10, #1",
    "bic x11, x11, x13",
    "10:",
    "dc ivac, x11",
    "add x11, x11, x10",
    "cmp x11, x12",
    "b.lo 10b",
    "ret",
    // Leaves EL2, if the processor is there, and readies EL1 with the MMU off.
    "enter_el1:",
    "mrs x9, CurrentEL",
    "cmp x9, #0x8",
    "b.lo 1f",
    // From EL2: 64 bits below, the timer and all registers for EL1, then down.
    "mov x9, #0x80000000",
    "msr hcr_el2, x9",
    "mov x9, #0x3",
    "msr cnthctl_el2, x9",
    "msr cntvoff_el2, xzr",
    "mov x9, #0x33ff",
    "msr cptr_el2, x9",
    // With a GICv3, its registers for EL1, which `nap` needs (the loader sets that for EL1 only).
    "mrs x9, id_aa64pfr0_el1",
    "ubfx x9, x9, #24, #4",
    "cbz x9, 2f",
    "mrs x9, S3_4_C12_C9_5", // ICC_SRE_EL2: SRE and Enable
    "orr x9, x9, #0x1",
    "orr x9, x9, #0x8",
    "msr S3_4_C12_C9_5, x9",
    "isb",
    "msr S3_4_C12_C11_0, xzr", // ICH_HCR_EL2
    "2:",
    "mov x9, #0x3c5",
    "msr spsr_el2, x9",
    "adr x9, 1f",
    "msr elr_el2, x9",
    "eret",
    "1:",
    "ldr x9, ={sctlr_off}",
    "msr sctlr_el1, x9",
    "mov x9, #0x300000", // floating point, which the compiler uses
    "msr cpacr_el1, x9",
    "isb",
    "ret",
    // Turns the MMU and the caches on, with the tables that are there.
    "mmu_on:",
    "adrp x9, {level1}",
    "add x9, x9, :lo12:{level1}",
    "msr ttbr0_el1, x9",
    "ldr x9, ={mair}",
    "msr mair_el1, x9",
    "ldr x9, ={tcr}",
    "msr tcr_el1, x9",
    "adrp x9, exception_vectors",
    "add x9, x9, :lo12:exception_vectors",
    "msr vbar_el1, x9",
    "isb",
    "tlbi vmalle1",
    "ic iallu",
    "dsb sy",
    "isb",
    "ldr x9, ={sctlr}",
    "msr sctlr_el1, x9",
    "isb",
    "ret",
    ".ltorg",
    ".balign 8",
    "9:",
    ".quad __link_address",
    ".previous",
    sctlr_off = const SCTLR_OFF,
    relative = const R_AARCH64_RELATIVE,
    level1 = sym LEVEL1,
    device = const DEVICE,
    cached = const CACHED,
    mair = const MAIR,
    tcr = const TCR,
    sctlr = const SCTLR,
    fault_stack = sym FAULT_STACK,
    fault_stack_bytes = const FAULT_STACK_BYTES,
    stack = sym STACK,
    stack_bytes = const size_of::<Stack>(),
    rust = sym rust_start,
);

/// Runs the first Rust code: what the machine is, its memory, then the platform.
extern "C" fn rust_start(tree: usize, entry_ticks: u64) -> ! {
    let tree = crate::device_tree::read(tree).unwrap_or_else(|refused| start::refuse(&refused));
    super::paging::refine(&tree.ram);
    start::run(start::Boot {
        cmdline: tree.cmdline,
        ram: tree.ram.clone(),
        free_from: start::image_end(),
        split: u64::MAX,
        clock: crate::arch::Calibration::begin(entry_ticks),
        acpi: crate::acpi::Facts::default(),
        generation: tree.generation,
    })
}
