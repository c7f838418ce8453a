//! Instructions that a processor refuses.
//!
//! Always: each function fails at one place that is known, its first instruction but where a
//! register has to be filled before.

use core::arch::naked_asm;

/// An address after all memory and registers that the boards map.
#[cfg(target_arch = "x86_64")]
pub const UNMAPPED: usize = 0x1_2345_6008;
/// As above.
#[cfg(target_arch = "aarch64")]
pub const UNMAPPED: usize = 0x80_1234_5008;
/// As above.
#[cfg(target_arch = "riscv64")]
pub const UNMAPPED: usize = 0x40_1234_5008;

/// Runs an instruction that does not exist, with `mark` in a register that is reported.
///
/// # Safety
///
/// The machine ends.
#[unsafe(naked)]
pub unsafe extern "C" fn undefined(mark: usize) -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rax, rdi", "ud2");
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x30, x0", "udf #0");
    #[cfg(target_arch = "riscv64")]
    naked_asm!("mv ra, a0", "unimp");
}

/// Reads 8 bytes.
///
/// # Safety
///
/// The address is one that may be read, or the machine ends.
#[unsafe(naked)]
pub unsafe extern "C" fn load(at: usize) -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rax, [rdi]", "ud2");
    #[cfg(target_arch = "aarch64")]
    naked_asm!("ldr x0, [x0]", "udf #0");
    #[cfg(target_arch = "riscv64")]
    naked_asm!("ld a0, 0(a0)", "unimp");
}

/// Divides by `divisor`.
///
/// # Safety
///
/// The machine ends.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub unsafe extern "C" fn divide(divisor: usize) -> ! {
    naked_asm!("div rdi", "ud2");
}

/// Makes each access of an I/O port a fault, after it was done (Intel SDM volume 3, 18.2).
///
/// # Safety
///
/// Whatever reads or writes the port ends the machine.
#[cfg(target_arch = "x86_64")]
pub unsafe fn break_at_port(port: u64) {
    const DEBUGGING_EXTENSIONS: u64 = 1 << 3;
    // The first breakpoint is on, of one byte, for input and output.
    const FIRST_AT_PORT: u64 = 1 << 1 | 0b10 << 16;
    // SAFETY: debug registers have no effect on memory, and the fault is what the caller wants.
    unsafe {
        core::arch::asm!("mov {at}, cr4", "or {at}, {extensions}", "mov cr4, {at}", "mov dr0, {port}",
            "mov dr7, {control}", at = out(reg) _, extensions = in(reg) DEBUGGING_EXTENSIONS,
            port = in(reg) port, control = in(reg) FIRST_AT_PORT);
    }
}
