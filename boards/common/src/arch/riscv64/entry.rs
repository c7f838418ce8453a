//! From the first instruction to Rust.
//!
//! Always: the image may lie anywhere that is aligned to 2 MiB: it moves its own addresses before
//! Rust runs. One hart continues; others that come here wait for ever (a second one is started
//! elsewhere, `second`).
//!
//! Sources: Linux Documentation/arch/riscv/boot-image-header.rst and boot.rst (state at entry: a0
//! is the hart, a1 the device tree, no translation); RISC-V ELF psABI, 8.4 (relocations).

use core::arch::global_asm;

use crate::arch::stack::{FAULT_STACK, FAULT_STACK_BYTES, STACK, Stack};
use crate::start;

/// ELF's type of a word that holds an address of the image itself.
const R_RISCV_RELATIVE: u64 = 3;
/// sstatus.FS: floating point, which the compiler uses, is on.
pub(super) const FS: usize = 3 << 13;

// The first 64 bytes are the header of a Linux image.
global_asm!(
    ".section .text.head, \"ax\"",
    ".global image_head",
    "image_head:",
    ".option push",
    ".option norvc",
    "j 1f",
    ".long 0",
    ".option pop",
    ".quad 0x200000", // offset from the start of memory
    ".quad __image_bytes",
    ".quad 0", // little-endian
    ".long 2", // version 0.2
    ".long 0",
    ".quad 0",
    ".ascii \"RISCV\\0\\0\\0\"",
    ".ascii \"RSC\\x05\"",
    ".long 0",
    "1:",
    "csrw sie, zero",
    "csrci sstatus, {sie}", // none is taken, also when `nap` lets one end its sleep
    "csrw satp, zero",
    // The first one continues.
    "lla t0, image_lottery",
    "li t1, 1",
    ".option push",
    ".option arch, +a", // the target has it; the assembler is not told
    "amoadd.w t1, t1, (t0)",
    ".option pop",
    "beqz t1, 3f",
    "2:",
    "wfi",
    "j 2b",
    "3:",
    "rdtime s2", // the moment of entry
    "mv s1, a1", // the device tree
    "mv s5, a0", // the hart
    "mv tp, zero",
    "li t0, {fs}",
    "csrs sstatus, t0",
    // Zero what the file does not hold.
    "lla t0, __bss_start",
    "lla t1, __image_end",
    "4:",
    "sd zero, 0(t0)",
    "addi t0, t0, 8",
    "bltu t0, t1, 4b",
    // Move addresses by the distance between where the image is and where it was linked.
    "lla s3, image_head",
    "lla s4, 9f",
    "ld s4, 0(s4)",
    "sub s3, s3, s4",
    "lla t0, __rela_start",
    "lla t1, __rela_end",
    "li t5, {relative}",
    "5:",
    "bgeu t0, t1, 7f",
    "ld t2, 0(t0)",
    "ld t3, 8(t0)",
    "ld t4, 16(t0)",
    "addi t0, t0, 24",
    "6:",
    "bne t3, t5, 6b", // nothing else is in an image that links itself to nothing
    // The log's strings are addressed below the image, and are not loaded.
    "bltu t2, s4, 5b",
    "add t2, t2, s3",
    "add t4, t4, s3",
    "sd t4, 0(t2)",
    "j 5b",
    "7:",
    "fence.i",
    "lla t0, exception_vector",
    "csrw stvec, t0",
    "lla t0, {fault_stack}",
    "li t1, {fault_stack_bytes}",
    "add t0, t0, t1",
    "csrw sscratch, t0",
    "lla sp, {stack}",
    "li t0, {stack_bytes}",
    "add sp, sp, t0",
    "mv a0, s1",
    "mv a1, s2",
    "mv a2, s5",
    "mv ra, zero",
    "mv s0, zero",
    "call {rust}",
    "unimp",
    ".balign 8",
    "9:",
    ".quad __link_address",
    ".previous",
    ".section .data.lottery, \"aw\"",
    ".balign 4",
    "image_lottery:",
    ".long 0",
    ".previous",
    sie = const super::SIE,
    fs = const FS,
    relative = const R_RISCV_RELATIVE,
    fault_stack = sym FAULT_STACK,
    fault_stack_bytes = const FAULT_STACK_BYTES,
    stack = sym STACK,
    stack_bytes = const size_of::<Stack>(),
    rust = sym rust_start,
);

/// Runs the first Rust code: what the machine is, then the platform.
extern "C" fn rust_start(tree: usize, entry_ticks: u64, hart: usize) -> ! {
    super::second::note_first(hart);
    super::paging::start();
    let tree = crate::device_tree::read(tree).unwrap_or_else(|refused| start::refuse(&refused));
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
