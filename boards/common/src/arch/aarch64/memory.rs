//! Access to one register of a device.
//!
//! Always: one plain instruction each, which a hypervisor can emulate.

use core::arch::asm;

/// Reads a register.
///
/// # Safety
///
/// The register is there, and reading it has no effect on memory.
pub(crate) unsafe fn load32(at: *mut u32) -> u32 {
    let value;
    // SAFETY: the caller promises it.
    unsafe {
        asm!("ldr {value:w}, [{at}]", value = out(reg) value, at = in(reg) at,
            options(nostack, preserves_flags));
    }
    value
}

/// Writes a register.
///
/// # Safety
///
/// The register is there, and writing it has no effect on memory.
pub(crate) unsafe fn store32(at: *mut u32, value: u32) {
    // SAFETY: the caller promises it.
    unsafe {
        asm!("str {value:w}, [{at}]", value = in(reg) value, at = in(reg) at,
            options(nostack, preserves_flags));
    }
}
