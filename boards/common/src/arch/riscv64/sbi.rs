//! Calls of the firmware below the supervisor (RISC-V SBI 2.0).

use core::arch::asm;

/// Makes one call. Returns the answer; `None` for an error, which is also what an SBI answers that
/// does not know the call.
///
/// # Safety
///
/// What the call does to this processor or another is right.
pub(super) unsafe fn call(
    extension: usize,
    function: usize,
    arguments: [usize; 3],
) -> Option<usize> {
    let [first, second, third] = arguments;
    let (error, answer): (isize, usize);
    // SAFETY: the caller promises what is asked for. An SBI keeps all registers but these. What was
    // written before is seen by others.
    unsafe {
        asm!("fence rw, rw", "ecall", inout("a0") first => error, inout("a1") second => answer,
            in("a2") third, in("a6") function, in("a7") extension);
    }
    (error == 0).then_some(answer)
}
