//! The jump into a kernel (Linux Documentation/arch/riscv/boot.rst, "Register state", "MMU").
//!
//! Always: interrupts and translation are off, and the hart is the one that firmware began with.

use core::arch::asm;

use rootlet_guest::boot::{Arch, Facts, Handover};

use super::{interrupts_off, second};
use crate::device_tree;

/// Calls `with` with what the device tree says of the machine.
pub(crate) fn facts<T>(with: impl FnOnce(&Facts<'_>) -> T) -> T {
    let tree = device_tree::get().map_or(&[][..], |tree| tree.bytes);
    with(&Facts { arch: Arch::Riscv64, map: &[], rsdp: 0, tree })
}

/// Gives the hart to a kernel.
///
/// # Safety
///
/// What is handed over is a kernel with all that it needs, in memory that nobody else uses; no
/// device touches memory any more.
pub(crate) unsafe fn hand_over(to: &Handover) -> ! {
    let _ = interrupts_off();
    // SAFETY: this code is mapped to itself, and uses no memory from here on; the caller promises
    // the kernel, which does not come back.
    unsafe {
        asm!(
            "csrw sie, zero",
            "csrw satp, zero",
            "sfence.vma",
            "fence rw, rw",
            "fence.i",
            "jr a2",
            in("a0") second::first(),
            in("a1") to.told,
            in("a2") to.entry,
            options(noreturn),
        );
    }
}
