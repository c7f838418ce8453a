//! The time stamp counter, measured against the local APIC's timer.
//!
//! Always: calibration costs at most [`WINDOW_APIC`] of waiting, and usually none, because its
//! first sample is taken at entry and the second when devices are about to be started.
//!
//! Why not CPUID leaf 0x15: it reads 0 in an emulated guest. Why not the PIT: its channel 2 is
//! absent on microvm and reads as garbage. Source: Intel SDM volume 3, 11.5.4.

use core::arch::x86_64::_rdtsc;
use core::hint::spin_loop;

use super::apic;

/// The timer's rate under QEMU and KVM: one count a nanosecond.
const APIC_HZ: u64 = 1_000_000_000;
/// The shortest distance between the two samples, in counts: 0.5 ms. A sample is good to half a
/// microsecond, so the rate is to 0.2 %; a fast emulator is here before a longer one has passed.
const WINDOW_APIC: u64 = 500_000;
/// Reads of one sample; the one that took the fewest ticks counts, because a host that is busy
/// stretches single reads two- to fourfold.
const READS: u32 = 8;

/// Reads the counter.
pub(crate) fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and CR4.TSD is clear.
    unsafe { _rdtsc() }
}

/// A calibration under way.
#[derive(Clone, Copy)]
pub(crate) struct Calibration {
    entry_ticks: u64,
    first: Sample,
}

#[derive(Clone, Copy)]
struct Sample {
    ticks: u64,
    apic: u64,
}

impl Calibration {
    /// Starts the timer and takes the first sample.
    pub(super) fn begin(entry_ticks: u64) -> Self {
        apic::begin();
        Self { entry_ticks, first: sample() }
    }

    /// The counter at entry.
    pub(crate) fn entry_ticks(&self) -> u64 {
        self.entry_ticks
    }

    /// Ticks a second, from a second sample.
    pub(crate) fn ticks_per_second(&self) -> u64 {
        loop {
            let now = sample();
            // The timer counts down, and stops at 0 after 4.3 s.
            let apic = self.first.apic.saturating_sub(now.apic);
            if apic >= WINDOW_APIC || now.apic == 0 {
                let ticks = u128::from(now.ticks.wrapping_sub(self.first.ticks));
                return (ticks * u128::from(APIC_HZ) / u128::from(apic.max(1))) as u64;
            }
            spin_loop();
        }
    }
}

// Not inlined: it is called twice, and an emulator translates each copy.
#[inline(never)]
fn sample() -> Sample {
    let mut best = (u64::MAX, Sample { ticks: 0, apic: 0 });
    for _ in 0..READS {
        let before = ticks();
        let apic = u64::from(apic::count());
        let width = ticks().wrapping_sub(before);
        if width < best.0 {
            best = (width, Sample { ticks: before.wrapping_add(width / 2), apic });
        }
    }
    best.1
}
