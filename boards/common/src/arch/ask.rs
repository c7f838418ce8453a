//! Asking where nobody may be: a semihosting host, and a register.
//!
//! Always: the instructions that ask stand in each architecture's own `ask.rs`; one that is a fault
//! has an answer of -1, and the run continues.

unsafe extern "C" {
    fn ask_semihosting(operation: usize, argument: usize) -> usize;
    safe fn ask_register8(at: usize) -> u64;
    safe fn ask_register32(at: usize) -> u64;
}

/// Makes one call.
///
/// # Safety
///
/// `argument` is what the operation asks for.
pub(crate) unsafe fn semihosting_call(operation: usize, argument: usize) -> usize {
    // SAFETY: as the caller says; where nobody answers, nothing is done.
    unsafe { ask_semihosting(operation, argument) }
}

/// Returns whether a byte of a register can be read without a fault.
pub(crate) fn answers8(at: usize) -> bool {
    ask_register8(at) != u64::MAX
}

/// Returns what [`answers8`] does, for 32 bits.
pub(crate) fn answers32(at: usize) -> bool {
    ask_register32(at) != u64::MAX
}
