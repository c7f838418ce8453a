//! Calls to a semihosting host: QEMU, or a debugger (RISC-V Semihosting 1.0).
//!
//! Always: all calls are made at one place, and where nobody answers, the breakpoint that comes
//! instead leads back as an answer of -1 (see `exception`). Then nothing is called again.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU8, Ordering};

const SYS_WRITEC: usize = 0x03;
const SYS_TIME: usize = 0x11;
const NOBODY: usize = usize::MAX;

const UNKNOWN: u8 = 0;
const HERE: u8 = 1;
const ABSENT: u8 = 2;

static HOST: AtomicU8 = AtomicU8::new(UNKNOWN);

/// One call. The three instructions mean it together, uncompressed, in one page.
///
/// # Safety
///
/// `argument` is what the operation asks for.
#[unsafe(naked)]
unsafe extern "C" fn call(operation: usize, argument: usize) -> usize {
    naked_asm!(
        ".option push",
        ".option norvc",
        ".balign 16",
        "slli x0, x0, 0x1f",
        ".global semihosting_trap",
        "semihosting_trap:",
        "ebreak",
        "srai x0, x0, 7",
        "ret",
        ".option pop"
    )
}

fn is_here() -> bool {
    if HOST.load(Ordering::Relaxed) == UNKNOWN {
        // SAFETY: asking for the time has no argument.
        let answer = unsafe { call(SYS_TIME, 0) };
        HOST.store(if answer == NOBODY { ABSENT } else { HERE }, Ordering::Relaxed);
    }
    HOST.load(Ordering::Relaxed) == HERE
}

/// Writes bytes to the host's console, one a call, because the call for several ends at a zero.
pub(crate) fn semihosting_write(bytes: &[u8]) {
    if is_here() {
        for byte in bytes {
            // SAFETY: the argument is the address of one byte.
            unsafe { call(SYS_WRITEC, (&raw const *byte).addr()) };
        }
    }
}
