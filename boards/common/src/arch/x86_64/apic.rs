//! The local APIC's timer: it counts down for the clock's calibration, and ends a nap.
//!
//! Always: its interrupt is masked but for a nap; where the controller is off, or answers by model
//! specific registers (x2APIC) instead of memory, there is neither.
//!
//! Source: Intel SDM volume 3, 11.4.1 (registers), 11.4.4 (where they are), 11.5.1 (local vector
//! table), 11.5.4 (timer), 11.8.5 (end of an interrupt).

use spin::Mutex;
use x86_64::instructions::interrupts;
use x86_64::registers::model_specific::Msr;

use super::exception::{SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::clock;
use crate::registers::Registers;

/// IA32_APIC_BASE: the address of the registers, and whether and how they answer.
const BASE: Msr = Msr::new(0x1b);
const BASE_ENABLED: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ADDRESS: u64 = 0xf_ffff_f000;

const BYTES: usize = 0x400;
const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS: usize = 0xf0;
const LVT_TIMER: usize = 0x320;
const LVT_LINT0: usize = 0x350;
const INITIAL_COUNT: usize = 0x380;
const CURRENT_COUNT: usize = 0x390;
const DIVIDE: usize = 0x3e0;
const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;

static APIC: Mutex<Option<Registers>> = Mutex::new(None);

/// Returns the address of the registers, if they answer there.
fn place() -> Option<usize> {
    // SAFETY: every processor of 64 bits has the register.
    let base = unsafe { BASE.read() };
    let address = (base & BASE_ADDRESS) as usize;
    // More is not mapped yet.
    (base & (BASE_ENABLED | BASE_X2APIC) == BASE_ENABLED && address < 1 << 32).then_some(address)
}

/// Starts the timer from the highest count, if there is one.
pub(super) fn begin() {
    // SAFETY: the registers are there, in a page that is mapped uncached and is not RAM; only this
    // module uses them.
    let apic = place().and_then(|at| unsafe { Registers::new(at, BYTES) });
    let Some(mut apic) = apic else { return };
    // What firmware lets through of the older interrupt controller is not for us. Before the next
    // write, which has the interrupts looked at that are pending: QEMU takes one that is pending
    // and has been masked since for number -1 (`cpu_get_pic_interrupt`).
    apic.write32(LVT_LINT0, MASKED);
    apic.write32(SPURIOUS, ENABLED | u32::from(SPURIOUS_VECTOR));
    apic.write32(DIVIDE, 0xb); // by 1
    apic.write32(LVT_TIMER, MASKED); // one shot
    apic.write32(INITIAL_COUNT, u32::MAX);
    *APIC.lock() = Some(apic);
}

/// Returns what is left of the count.
pub(super) fn count() -> Option<u32> {
    APIC.lock().as_ref().map(|apic| apic.read32(CURRENT_COUNT))
}

/// Halts the processor for `ns` nanoseconds; not at all where no timer would end that.
pub(crate) fn nap(ns: u32) {
    let mut apic = APIC.lock();
    let (Some(apic), Some(hz)) = (apic.as_mut(), clock::timer_hz()) else { return };
    let counts = u64::from(ns) * hz / 1_000_000_000;
    // A count of 0 has no end.
    let counts = u32::try_from(counts).ok().filter(|counts| *counts > 0);
    let Some(counts) = counts else { return };
    apic.write32(LVT_TIMER, u32::from(TIMER_VECTOR));
    apic.write32(INITIAL_COUNT, counts);
    // In one: an interrupt that comes between would be over before the halt.
    interrupts::enable_and_hlt();
    interrupts::disable();
    apic.write32(LVT_TIMER, MASKED);
    apic.write32(END_OF_INTERRUPT, 0);
}
