//! A semihosting host: QEMU, or a debugger. The protocol is one for both architectures that have
//! it (Arm semihosting 2.0, RISC-V Semihosting 1.0); the trap is the architecture's.
//!
//! Always: where nobody answers, the exception that comes instead leads back as an answer of -1
//! (see each architecture's `exception`). Then nothing is called again.

use core::sync::atomic::{AtomicU8, Ordering};

use crate::arch::semihosting_call;

const SYS_WRITEC: usize = 0x03;
const SYS_TIME: usize = 0x11;
const NOBODY: usize = usize::MAX;

const UNKNOWN: u8 = 0;
const HERE: u8 = 1;
const ABSENT: u8 = 2;

static HOST: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Returns whether somebody answers.
pub(crate) fn is_here() -> bool {
    if HOST.load(Ordering::Relaxed) == UNKNOWN {
        // SAFETY: asking for the time has no argument.
        let answer = unsafe { semihosting_call(SYS_TIME, 0) };
        HOST.store(if answer == NOBODY { ABSENT } else { HERE }, Ordering::Relaxed);
    }
    HOST.load(Ordering::Relaxed) == HERE
}

/// Writes bytes to the host's console, one a call, because the call for several ends at a zero.
pub(crate) fn write(bytes: &[u8]) {
    if is_here() {
        for byte in bytes {
            // SAFETY: the argument is the address of one byte.
            unsafe { semihosting_call(SYS_WRITEC, (&raw const *byte).addr()) };
        }
    }
}

/// Ends the machine with a status; returns where nobody answers.
#[cfg(target_arch = "aarch64")]
pub(crate) fn exit(status: u8) {
    const SYS_EXIT: usize = 0x18;
    /// ADP_Stopped_ApplicationExit.
    const APPLICATION_EXIT: u64 = 0x2_0026;
    if is_here() {
        let block = [APPLICATION_EXIT, u64::from(status)];
        // SAFETY: the argument is the address of reason and status.
        unsafe { semihosting_call(SYS_EXIT, (&raw const block).addr()) };
    }
}
