//! The virtual counter, whose rate firmware tells.
//!
//! Always: no calibration takes time.

use core::arch::asm;

/// Reads the counter.
pub(crate) fn ticks() -> u64 {
    let ticks;
    // SAFETY: EL1 may always read it; the barrier keeps the read in its place.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// The counter at entry.
#[derive(Clone, Copy)]
pub(crate) struct Calibration {
    entry_ticks: u64,
}

impl Calibration {
    /// From the counter at entry.
    pub(super) fn begin(entry_ticks: u64) -> Self {
        Self { entry_ticks }
    }

    /// The counter at entry.
    pub(crate) fn entry_ticks(&self) -> u64 {
        self.entry_ticks
    }

    /// Ticks a second.
    pub(crate) fn ticks_per_second(&self) -> u64 {
        let rate;
        // SAFETY: EL1 may always read it.
        unsafe { asm!("mrs {}, cntfrq_el0", out(reg) rate, options(nomem, nostack)) };
        rate
    }
}
