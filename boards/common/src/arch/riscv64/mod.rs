//! riscv64 in supervisor mode above an SBI (OpenSBI): memory mapped to itself, one hart,
//! interrupts off.
//!
//! Always: what is cached is the machine's own knowledge (physical memory attributes).

mod ask;
mod clock;
mod entry;
mod exception;
mod halt;
mod nap;
mod paging;

pub(crate) use clock::{ticks, ticks_per_second, ticks_per_second_at_most};
pub(crate) use halt::{WAYS_OUT, halt, has_way_out};
pub(crate) use nap::nap;
pub(crate) use paging::{REACH, forget_translations, map};

use crate::second::Absent;

/// Interrupts of the supervisor are on (sstatus.SIE).
const SIE: usize = 1 << 1;

/// Returns no random number: `seed` (Zkr) may be read in this mode only where the SBI allows it,
/// which nobody says.
pub(crate) fn random() -> Option<u64> {
    None
}

/// Returns whether nobody is said to have made the processor, as an emulator says (SBI 2.0, 4.5).
pub(crate) fn is_emulated() -> bool {
    const BASE: usize = 0x10;
    const VENDOR: usize = 4;
    let (error, vendor): (isize, usize);
    // SAFETY: the SBI answers such calls, also those that it does not know, and keeps all registers
    // but these.
    unsafe {
        core::arch::asm!("ecall", out("a0") error, out("a1") vendor, in("a6") VENDOR,
            in("a7") BASE);
    }
    error == 0 && vendor == 0
}

/// Turns interrupts off; the answer is whether they were on.
pub(crate) fn interrupts_off() -> bool {
    let status: usize;
    // SAFETY: turning interrupts off is always allowed.
    unsafe { core::arch::asm!("csrrc {}, sstatus, {}", out(reg) status, in(reg) SIE) };
    status & SIE != 0
}

/// Turns interrupts on again if `on`.
pub(crate) fn interrupts_restore(on: bool) {
    if on {
        // SAFETY: they were on before, so there is a handler.
        unsafe { core::arch::asm!("csrs sstatus, {}", in(reg) SIE) };
    }
}

/// What starts a second processor: nothing yet. SBI's hart state management would.
pub(crate) enum Start {}

impl Start {
    /// Readies the stacks of a second processor.
    ///
    /// # Errors
    ///
    /// [`Absent::NoWay`].
    pub(crate) fn prepare() -> Result<Self, Absent> {
        Err(Absent::NoWay)
    }

    /// Starts it.
    pub(crate) fn start(self) {
        match self {}
    }
}
