//! The time stamp counter, whose rate CPUID or a hypervisor tells, or which is measured against
//! a timer of a rate that is known: the local APIC's under QEMU and KVM, else ACPI's.
//!
//! Always: measuring costs at most [`WINDOW_NS`] of waiting, and usually none, because its first
//! sample is taken at entry and the second when devices are about to be started; a timer that
//! stands still is given up; a rate that nothing tells is an error, and not guessed.
//!
//! Why not the PIT: its channel 2 is absent on microvm and reads as garbage. Sources: Intel SDM
//! volume 3, 11.5.4; ACPI 6.5, 4.8.3.3; Hypervisor Top Level Functional Specification, 12.4.

use core::arch::x86_64::{__cpuid, _rdtsc};
use core::hint::spin_loop;

use x86_64::registers::model_specific::Msr;

use super::{apic, port};
use crate::clock::Rates;
use crate::rates::{self, Leaf, Player};

/// The shortest distance between two samples: half a millisecond. A sample is good to half a
/// microsecond, so the rate is to 0.2 %; a fast emulator is here before a longer one has passed.
const WINDOW_NS: u64 = 500_000;
/// Reads of one sample; the one that took the fewest ticks counts, because a host that is busy
/// stretches single reads two- to fourfold.
const READS: u32 = 8;
/// Ticks in which a timer has to move: those of a second or more, whatever the processor.
const TICKS_MAX: u64 = 1 << 33;

/// ACPI's timer.
const ACPI_TIMER_HZ: u64 = 3_579_545;
const ACPI_TIMER_MASK: u32 = (1 << 24) - 1;

/// Rates that a monitor on Hyper-V has.
const HYPERV_COUNTER_HZ: Msr = Msr::new(0x4000_0022);
const HYPERV_APIC_HZ: Msr = Msr::new(0x4000_0023);
/// The leaf that says who may read them, and the bit of its first word that says so of these.
const HYPERV_FEATURES: u32 = 0x4000_0003;
const HYPERV_HAS_RATES: u32 = 1 << 11;

/// Reads the counter.
pub(crate) fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and CR4.TSD is clear.
    unsafe { _rdtsc() }
}

/// Returns a rate that no processor's counter exceeds.
pub(crate) fn ticks_per_second_at_most() -> u64 {
    TICKS_MAX
}

fn leaf(number: u32) -> Leaf {
    let leaf = __cpuid(number);
    [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]
}

/// Returns whether an emulator plays the processor.
pub(crate) fn is_emulated() -> bool {
    rates::player(&leaf) == Player::Tcg
}

/// A calibration under way.
#[derive(Clone, Copy)]
pub(crate) struct Calibration {
    entry_ticks: u64,
    /// The counter and the local APIC's timer soon after entry.
    first: Option<Sample>,
    /// The port of ACPI's timer.
    acpi_timer: Option<u16>,
}

#[derive(Clone, Copy)]
struct Sample {
    ticks: u64,
    count: u32,
}

/// What passed between two samples.
struct Passed {
    ticks: u64,
    counts: u64,
}

impl Passed {
    fn ticks_per_second(&self, counts_per_second: u64) -> Option<u64> {
        scaled(self.ticks, counts_per_second, self.counts)
    }

    fn counts_per_second(&self, ticks_per_second: u64) -> Option<u64> {
        scaled(self.counts, ticks_per_second, self.ticks)
    }
}

/// Returns `of * by / per`, where that is a rate.
fn scaled(of: u64, by: u64, per: u64) -> Option<u64> {
    let scaled = (u128::from(of) * u128::from(by)).checked_div(u128::from(per))?;
    u64::try_from(scaled).ok().filter(|rate| *rate > 0)
}

impl Calibration {
    /// Starts the local APIC's timer and takes the first sample.
    pub(super) fn begin(entry_ticks: u64, acpi_timer: Option<u16>) -> Self {
        apic::begin();
        Self { entry_ticks, first: sample(apic::count), acpi_timer }
    }

    /// Returns the counter at entry.
    pub(crate) fn entry_ticks(&self) -> u64 {
        self.entry_ticks
    }

    /// Returns the rates; `None` where nothing tells the counter's.
    pub(crate) fn rates(&self) -> Option<Rates> {
        let (ticks, timer) = told();
        if let Some(ticks) = ticks {
            let timer = timer.or_else(|| self.since_entry(0)?.counts_per_second(ticks));
            return Some(Rates { ticks, timer });
        }
        if let Some(hz) = timer
            && let Some(passed) = self.since_entry(hz * WINDOW_NS / 1_000_000_000)
        {
            return Some(Rates { ticks: passed.ticks_per_second(hz)?, timer });
        }
        if let Some(ticks) = self.by_acpi() {
            let timer = timer.or_else(|| self.since_entry(0)?.counts_per_second(ticks));
            return Some(Rates { ticks, timer });
        }
        let hz = rates::usual_apic_hz(&leaf)?;
        let passed = self.since_entry(hz * WINDOW_NS / 1_000_000_000)?;
        Some(Rates { ticks: passed.ticks_per_second(hz)?, timer: Some(hz) })
    }

    /// Waits until the local APIC's timer has counted at least `counts`, and returns the time and
    /// the counts since entry. The timer counts down and stops at 0: then both begin now.
    fn since_entry(&self, counts: u64) -> Option<Passed> {
        let mut first = self.first?;
        if apic::count()? == 0 {
            apic::begin();
            first = sample(apic::count)?;
        }
        until(first, counts, apic::count, |now| Some(u64::from(first.count.checked_sub(now)?)))
    }

    /// Returns the counter's rate by ACPI's timer, which counts up and around.
    fn by_acpi(&self) -> Option<u64> {
        let at = self.acpi_timer?;
        let count = || Some(port::read_port32(at) & ACPI_TIMER_MASK);
        let first = sample(count)?;
        let counts = ACPI_TIMER_HZ * WINDOW_NS / 1_000_000_000;
        let since = |now: u32| Some(u64::from(now.wrapping_sub(first.count) & ACPI_TIMER_MASK));
        until(first, counts, count, since)?.ticks_per_second(ACPI_TIMER_HZ)
    }
}

/// Returns the rates of counter and timer that somebody tells.
fn told() -> (Option<u64>, Option<u64>) {
    if rates::player(&leaf) == Player::HyperV && leaf(HYPERV_FEATURES)[0] & HYPERV_HAS_RATES != 0 {
        // SAFETY: the hypervisor says that it has the register.
        let ticks = unsafe { HYPERV_COUNTER_HZ.read() };
        // SAFETY: as above.
        let timer = unsafe { HYPERV_APIC_HZ.read() };
        // A register of 0 says nothing, and the leaves may.
        let is_rate = |hz: &u64| *hz > 0;
        return (
            Some(ticks).filter(is_rate).or_else(|| rates::counter_hz(&leaf)),
            Some(timer).filter(is_rate).or_else(|| rates::apic_hz(&leaf)),
        );
    }
    (rates::counter_hz(&leaf), rates::apic_hz(&leaf))
}

/// Returns what passed since `first` once the timer has moved by `counts`, as `since` has it;
/// `None` for one that does not.
fn until(
    first: Sample,
    counts: u64,
    count: impl Fn() -> Option<u32>,
    since: impl Fn(u32) -> Option<u64>,
) -> Option<Passed> {
    loop {
        let now = sample(&count)?;
        let passed =
            Passed { ticks: now.ticks.wrapping_sub(first.ticks), counts: since(now.count)? };
        if passed.counts > 0 && passed.counts >= counts {
            return Some(passed);
        }
        if passed.ticks > TICKS_MAX {
            return None;
        }
        // A read of the timer leaves the guest: the next comes when the rest should have passed.
        let rest = counts.checked_sub(passed.counts);
        let rest = rest.and_then(|rest| scaled(passed.ticks, rest, passed.counts));
        // A rate so early may be wrong; one wait at most doubles what has passed.
        let rest = rest.map_or(passed.ticks, |rest| rest.min(passed.ticks));
        while ticks().wrapping_sub(now.ticks) < rest {
            spin_loop();
        }
    }
}

/// Reads counter and timer in one moment.
fn sample(count: impl Fn() -> Option<u32>) -> Option<Sample> {
    let mut best: Option<(u64, Sample)> = None;
    for _ in 0..READS {
        let before = ticks();
        let count = count()?;
        let width = ticks().wrapping_sub(before);
        if best.is_none_or(|(least, _)| width < least) {
            best = Some((width, Sample { ticks: before.wrapping_add(width / 2), count }));
        }
    }
    best.map(|(_, sample)| sample)
}
