//! The clock of an architecture whose counter has a stated rate.
//!
//! Always: no calibration takes time.

use crate::clock::Rates;

/// The counter at entry.
#[derive(Clone, Copy)]
pub(crate) struct Calibration {
    entry_ticks: u64,
}

impl Calibration {
    /// Returns the clock that counts from the counter at entry.
    pub(super) fn begin(entry_ticks: u64) -> Self {
        Self { entry_ticks }
    }

    /// Returns the counter at entry.
    pub(crate) fn entry_ticks(&self) -> u64 {
        self.entry_ticks
    }

    /// Returns the rates; `None` where nothing tells the counter's.
    pub(crate) fn rates(&self) -> Option<Rates> {
        super::ticks_per_second().map(|ticks| Rates { ticks, timer: None })
    }
}
