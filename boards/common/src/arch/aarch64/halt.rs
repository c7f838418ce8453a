//! The end of a machine: a semihosting host, which alone takes a status; else PSCI's SYSTEM_OFF
//! (Arm DEN 0022, 5.1.9).
//!
//! Always: does not return.

use core::arch::asm;

use super::exception;
use crate::device_tree::{self, Conduit};
use crate::verdict::Ending;

const SYSTEM_OFF: u64 = 0x8400_0008;

/// Ends the machine with `status`, where there is something that takes one.
pub(crate) fn end(_: Ending, status: u8) -> ! {
    crate::semihosting::exit(status);
    exception::expect_the_end();
    match device_tree::get().and_then(|tree| tree.psci) {
        // SAFETY: the firmware answers such calls, and this one does not come back.
        Some(Conduit::Hypervisor) => unsafe { asm!("hvc #0", in("x0") SYSTEM_OFF) },
        // SAFETY: as above.
        Some(Conduit::Monitor) => unsafe { asm!("smc #0", in("x0") SYSTEM_OFF) },
        None => {}
    }
    loop {
        // SAFETY: waiting is always allowed.
        unsafe { asm!("wfi", options(nomem, nostack)) };
    }
}
