//! Time since entry.
//!
//! Always: monotonic; 0 is the moment the loader jumped to us, not the moment the machine was
//! switched on.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::{self, Calibration};

/// Rates in ticks or counts a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// The counter's.
    pub(crate) ticks: u64,
    /// That of the timer that ends a nap, where that is another one.
    pub(crate) timer: Option<u64>,
}

/// Nothing tells the rate of the processor's counter: no deadline could be kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("clock: nothing tells the rate of the processor's counter")
    }
}

static ENTRY_TICKS: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds a tick, as a fraction of 2^32; 0 until calibrated.
static NS_PER_TICK: AtomicU64 = AtomicU64::new(0);
/// Counts a second of the timer that ends a nap; 0 where there is none.
static TIMER_HZ: AtomicU64 = AtomicU64::new(0);

/// Sets the zero point.
pub(crate) fn begin(calibration: &Calibration) {
    ENTRY_TICKS.store(calibration.entry_ticks(), Ordering::Relaxed);
}

/// Sets the rates.
///
/// # Errors
///
/// [`Unknown`].
pub(crate) fn calibrate(calibration: &Calibration) -> Result<(), Unknown> {
    let Rates { ticks, timer } = calibration.rates().ok_or(Unknown)?;
    let ns_per_tick = (1_000_000_000_u128 << 32).checked_div(ticks.into()).ok_or(Unknown)?;
    // A counter that is slower than a tick in four seconds is none.
    NS_PER_TICK.store(u64::try_from(ns_per_tick).map_err(|_| Unknown)?, Ordering::Relaxed);
    if let Some(hz) = timer {
        TIMER_HZ.store(hz, Ordering::Relaxed);
    }
    Ok(())
}

/// Returns the counts a second of the timer that ends a nap, once it is known.
#[cfg(target_arch = "x86_64")]
pub(crate) fn timer_hz() -> Option<u64> {
    Some(TIMER_HZ.load(Ordering::Relaxed)).filter(|hz| *hz > 0)
}

/// A wait that ends, also before the clock is calibrated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    looked: u64,
    step_max: u64,
    left: u64,
}

impl Wait {
    /// Looks a second that a wait may have; a machine that stood still in between has not waited.
    const LOOKS: u64 = 5;

    /// Begins a wait of `seconds`; of several times that while nothing tells the counter's rate.
    pub(crate) fn begin(seconds: u64) -> Self {
        let hz = match NS_PER_TICK.load(Ordering::Relaxed) {
            0 => arch::ticks_per_second_at_most(),
            ns => (1_000_000_000 << 32) / ns,
        };
        Self { looked: arch::ticks(), step_max: hz / Self::LOOKS + 1, left: seconds * hz }
    }

    /// Returns whether all of it has passed.
    pub(crate) fn is_over(&mut self) -> bool {
        let now = arch::ticks();
        // One that goes back has not moved.
        let step = now.checked_sub(self.looked).map_or(0, |step| step.min(self.step_max));
        self.looked = now;
        self.left -= step.min(self.left);
        self.left == 0
    }
}

/// Nanoseconds since entry; 0 until the clock is calibrated, right before devices are started, and
/// for a counter that was set back to before entry. Goes round after 584 years.
pub fn now_ns() -> u64 {
    let entry = ENTRY_TICKS.load(Ordering::Relaxed);
    let Some(ticks) = arch::ticks().checked_sub(entry) else { return 0 };
    let rate = u128::from(NS_PER_TICK.load(Ordering::Relaxed));
    ((u128::from(ticks) * rate) >> 32) as u64
}
