//! The jump into a kernel (Linux Documentation/arch/arm64/booting.rst, "Call the kernel image").
//!
//! Always: interrupts are masked; what is handed over is in memory, past the caches, before the MMU
//! is off. EL2 was left at entry: a kernel that is started here has no hypervisor.

use core::arch::asm;

use rootlet_guest::boot::{Arch, Facts, Handover};

use super::interrupts_off;
use crate::device_tree;

/// SCTLR_EL1 with MMU and caches off.
const SCTLR_OFF: u64 = 0x30d0_0800;

/// Calls `with` with what the device tree says of the machine.
pub(crate) fn facts<T>(with: impl FnOnce(&Facts<'_>) -> T) -> T {
    let tree = device_tree::get().map_or(&[][..], |tree| tree.bytes);
    with(&Facts { arch: Arch::Aarch64, map: &[], rsdp: 0, tree })
}

/// Gives the processor to a kernel.
///
/// # Safety
///
/// What is handed over is a kernel with all that it needs, in memory that nobody else uses; no
/// device touches memory any more.
pub(crate) unsafe fn hand_over(to: &Handover) -> ! {
    let _ = interrupts_off();
    let line = data_line_bytes();
    for (start, bytes) in to.written {
        let mut at = start & !(line - 1);
        while at < start + bytes {
            // SAFETY: cleaning a line of memory that is mapped loses nothing.
            unsafe { asm!("dc civac, {}", in(reg) at, options(nostack, preserves_flags)) };
            at += line;
        }
    }
    // SAFETY: this code is mapped to itself, and uses no memory from here on; the caller promises
    // the kernel, which does not come back.
    unsafe {
        asm!(
            "dsb sy",
            "msr cntv_ctl_el0, xzr",
            "msr sctlr_el1, {off}",
            "isb",
            "tlbi vmalle1",
            "ic iallu",
            "dsb sy",
            "isb",
            "mov x1, xzr",
            "mov x2, xzr",
            "mov x3, xzr",
            "br x4",
            off = in(reg) SCTLR_OFF,
            in("x0") to.told,
            in("x4") to.entry,
            options(noreturn),
        );
    }
}

/// Returns the bytes of the shortest line of the data caches (Arm ARM, CTR_EL0, DminLine).
fn data_line_bytes() -> u64 {
    let kind: u64;
    // SAFETY: reading the register has no effect.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) kind, options(nomem, nostack, preserves_flags)) };
    4 << (kind >> 16 & 0xf)
}
