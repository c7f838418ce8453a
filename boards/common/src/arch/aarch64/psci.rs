//! Calls of firmware that switches processors on and the machine off (Arm DEN 0022).

use core::arch::asm;

use crate::device_tree::Conduit;

/// Makes one call. Returns the answer, where there is one.
///
/// # Safety
///
/// The device tree says that firmware answers such calls in this way, and what the call does to
/// this processor or another is right.
pub(super) unsafe fn call(conduit: Conduit, function: u64, arguments: [u64; 3]) -> u64 {
    let [first, second, third] = arguments;
    let answer;
    match conduit {
        // SAFETY: the caller promises what is asked for; what an older firmware answers is in
        // registers that a call may change. What was written before is seen by others.
        Conduit::Hypervisor => unsafe {
            asm!("dsb sy", "hvc #0", inout("x0") function => answer, in("x1") first,
                in("x2") second, in("x3") third, clobber_abi("C"));
        },
        // SAFETY: as above.
        Conduit::Monitor => unsafe {
            asm!("dsb sy", "smc #0", inout("x0") function => answer, in("x1") first,
                in("x2") second, in("x3") third, clobber_abi("C"));
        },
    }
    answer
}
