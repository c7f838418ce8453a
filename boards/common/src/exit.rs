//! Ends the machine with a status that its host sees.
//!
//! Always: does not return, whether or not the machine has what the board names; the status of
//! QEMU means the same on every board.

use crate::arch;
use crate::board::{self, Exit};
use crate::verdict::Ending;

/// The status of QEMU: odd, because isa-debug-exit gives no other, and never 0 or 1, which QEMU
/// itself ends with.
fn status(ending: Ending) -> u8 {
    match ending {
        Ending::Passed => 33,
        Ending::Failed => 35,
        Ending::Panicked => 37,
        Ending::Exception => 39,
    }
}

/// Ends the machine as the board says, else as the firmware does, else by halting.
pub(crate) fn exit(ending: Ending) -> ! {
    let status = status(ending);
    match board::BOARD.exit {
        #[cfg(target_arch = "x86_64")]
        Exit::Port(port) => arch::write_port32(port, u32::from(status >> 1)),
        #[cfg(target_arch = "aarch64")]
        Exit::Semihosting => crate::semihosting::exit(status),
        #[cfg(target_arch = "riscv64")]
        Exit::Test(at) => test_device(at, status),
    }
    arch::switch_off()
}

/// SiFive's test device: 0x5555 passes with status 0, `status << 16 | 0x3333` ends with it.
#[cfg(target_arch = "riscv64")]
fn test_device(at: usize, status: u8) {
    const FAIL: u32 = 0x3333;
    let register = core::ptr::with_exposed_provenance_mut::<u32>(at);
    // SAFETY: the board names the device's address, where a machine without it has nothing.
    unsafe { register.write_volatile(u32::from(status) << 16 | FAIL) }
}
