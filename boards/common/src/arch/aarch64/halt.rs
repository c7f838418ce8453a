//! The ways to end a machine: a semihosting host, which alone takes a status; PSCI's SYSTEM_OFF (Arm
//! DEN 0022, 5.1.9).
//!
//! Always: nobody is called whom the device tree does not name, or who did not answer.

use core::arch::asm;

use super::psci;
use crate::device_tree;
use crate::semihosting;
use crate::verdict::Ending;

/// In the order in which they are tried.
pub(crate) const WAYS_OUT: [fn(Ending, u8); 2] =
    [|_, status| semihosting::exit(status), |_, _| by_psci()];

const SYSTEM_OFF: u64 = 0x8400_0008;

/// Returns whether anything is known that ends the machine.
pub(crate) fn has_way_out() -> bool {
    semihosting::is_here() || device_tree::get().is_some_and(|tree| tree.psci.is_some())
}

fn by_psci() {
    if let Some(conduit) = device_tree::get().and_then(|tree| tree.psci) {
        // SAFETY: the device tree names the way to firmware, and the call does not come back.
        unsafe { psci::call(conduit, SYSTEM_OFF, [0; 3]) };
    }
}

/// Does nothing more.
pub(crate) fn halt() -> ! {
    loop {
        // SAFETY: waiting is always allowed.
        unsafe { asm!("wfi", options(nomem, nostack)) };
    }
}
