//! The ways to end a machine: SiFive's test device where the device tree names one, which alone takes
//! a status; SBI's system reset (SBI 2.0, 10), or the shutdown of older ones (5.9).
//!
//! Always: no place is written to that the tree does not name.

use core::arch::asm;

use super::sbi;
use crate::device_tree;
use crate::registers::Registers;
use crate::verdict::Ending;

/// The test device ends with `status << 16 | FAIL`.
const FAIL: u32 = 0x3333;

const SYSTEM_RESET: usize = 0x5352_5354;
/// Shutdown, before there was that: an extension of one function.
const SHUTDOWN: usize = 8;
/// What asks for an extension (4.4).
const BASE: usize = 0x10;
const PROBE: usize = 3;

/// In the order in which they are tried. Function 0 of a reset with argument 0 is to switch off, for
/// no reason.
pub(crate) const WAYS_OUT: [fn(Ending, u8); 3] =
    [|_, status| by_test_device(status), |_, _| by_sbi(SYSTEM_RESET), |_, _| by_sbi(SHUTDOWN)];

/// Returns whether anything is known that ends the machine.
pub(crate) fn has_way_out() -> bool {
    device_tree::get().is_some_and(|tree| tree.test_device.is_some())
        // SAFETY: a question changes nothing.
        || unsafe { sbi::call(BASE, PROBE, [SYSTEM_RESET, 0, 0]) }.is_some_and(|answer| answer != 0)
}

fn by_test_device(status: u8) {
    if let Some(at) = device_tree::get().and_then(|tree| tree.test_device) {
        // SAFETY: the device tree says that the device is there, and nothing else drives it.
        if let Some(mut device) = unsafe { Registers::new(at, 4) } {
            device.write32(0, u32::from(status) << 16 | FAIL);
        }
    }
}

/// Comes back where the SBI does not know the call, or refuses it.
fn by_sbi(extension: usize) {
    // SAFETY: the machine is to end.
    let _ = unsafe { sbi::call(extension, 0, [0; 3]) };
}

/// Does nothing more.
pub(crate) fn halt() -> ! {
    loop {
        // SAFETY: waiting is always allowed.
        unsafe { asm!("wfi", options(nomem, nostack)) };
    }
}
