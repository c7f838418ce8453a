//! The end of a machine: SiFive's test device where the device tree names one, which alone takes a
//! status; else SBI's system reset (SBI 2.0, 10).
//!
//! Always: does not return; no place is written to that the tree does not name.

use core::arch::asm;

use crate::device_tree;
use crate::registers::Registers;
use crate::verdict::Ending;

/// The test device ends with `status << 16 | FAIL`.
const FAIL: u32 = 0x3333;

const SYSTEM_RESET: usize = 0x5352_5354;

/// Ends the machine with `status`, where there is something that takes one.
pub(crate) fn end(_: Ending, status: u8) -> ! {
    if let Some(at) = device_tree::get().and_then(|tree| tree.test_device) {
        // SAFETY: the device tree says that the device is there, and nothing else drives it.
        if let Some(mut device) = unsafe { Registers::new(at, 4) } {
            device.write32(0, u32::from(status) << 16 | FAIL);
        }
    }
    // SAFETY: the SBI answers such calls, also those that it does not know; type 0 is shutdown,
    // reason 0 is none.
    unsafe {
        asm!("ecall", inout("a0") 0_usize => _, inout("a1") 0_usize => _, in("a6") 0_usize,
            in("a7") SYSTEM_RESET);
    }
    loop {
        // SAFETY: waiting is always allowed.
        unsafe { asm!("wfi", options(nomem, nostack)) };
    }
}
