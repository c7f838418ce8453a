//! The local APIC: its timer counts down for the clock's calibration, and ends a nap; its command
//! register wakes other processors.
//!
//! Always: its interrupt is masked but for a nap; where the controller is off, or answers by model
//! specific registers (x2APIC) instead of memory, there is neither. Each processor has a controller
//! of its own, and finds it at the same address.
//!
//! Source: Intel SDM volume 3, 11.4.1 (registers), 11.4.4 (where they are), 11.5.1 (local vector
//! table), 11.5.4 (timer), 11.6.1 (interrupts between processors), 11.8.5 (end of an interrupt).

use core::sync::atomic::{AtomicU32, Ordering};

use spin::Once;
use x86_64::instructions::interrupts;
use x86_64::registers::model_specific::Msr;

use super::exception::{SPURIOUS_VECTOR, TIMER_VECTOR};
use super::segments;
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
const COMMAND: usize = 0x300;
const LVT_TIMER: usize = 0x320;
const LVT_LINT0: usize = 0x350;
const INITIAL_COUNT: usize = 0x380;
const CURRENT_COUNT: usize = 0x390;
const DIVIDE: usize = 0x3e0;
const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;

/// To all processors but this one.
const TO_OTHERS: u32 = 0b11 << 18;
/// A command that is not sent yet.
const SENDING: u32 = 1 << 12;

/// What firmware has left in the first processor's controller.
static FIRMWARE_LINT0: AtomicU32 = AtomicU32::new(0);
static FIRMWARE_SPURIOUS: AtomicU32 = AtomicU32::new(0);
/// Where the registers are.
static PLACE: Once<usize> = Once::new();

/// Returns the address of the registers, if they answer there.
fn place() -> Option<usize> {
    // SAFETY: every processor of 64 bits has the register.
    let base = unsafe { BASE.read() };
    let address = (base & BASE_ADDRESS) as usize;
    // More is not mapped yet.
    (base & (BASE_ENABLED | BASE_X2APIC) == BASE_ENABLED && address < 1 << 32).then_some(address)
}

/// Returns the registers of this processor's controller, if they answer.
fn registers() -> Option<Registers> {
    let at = *PLACE.get()?;
    // SAFETY: the registers are there, in a page that is mapped uncached and is not RAM. Only this
    // module uses them; each processor reaches its own there, and no call is in another one.
    unsafe { Registers::new(at, BYTES) }
}

/// Starts the timer of this processor from the highest count, if there is one.
pub(super) fn begin() {
    if let Some(at) = place() {
        PLACE.call_once(|| at);
    }
    let Some(mut apic) = registers() else { return };
    // What firmware lets through of the older interrupt controller is not for us. Before the next
    // write, which has the interrupts looked at that are pending: QEMU takes one that is pending
    // and has been masked since for number -1 (`cpu_get_pic_interrupt`).
    if !segments::is_second() {
        FIRMWARE_LINT0.store(apic.read32(LVT_LINT0), Ordering::Relaxed);
        FIRMWARE_SPURIOUS.store(apic.read32(SPURIOUS), Ordering::Relaxed);
    }
    apic.write32(LVT_LINT0, MASKED);
    apic.write32(SPURIOUS, ENABLED | u32::from(SPURIOUS_VECTOR));
    apic.write32(DIVIDE, 0xb); // by 1
    apic.write32(LVT_TIMER, MASKED); // one shot
    apic.write32(INITIAL_COUNT, u32::MAX);
}

/// Leaves the controller as firmware did: the timer stands, and the older interrupt controller is let
/// through.
pub(super) fn end() {
    let Some(mut apic) = registers() else { return };
    apic.write32(INITIAL_COUNT, 0);
    apic.write32(LVT_TIMER, MASKED);
    apic.write32(LVT_LINT0, FIRMWARE_LINT0.load(Ordering::Relaxed));
    apic.write32(SPURIOUS, FIRMWARE_SPURIOUS.load(Ordering::Relaxed));
}

/// Returns what is left of the count.
pub(super) fn count() -> Option<u32> {
    registers().map(|apic| apic.read32(CURRENT_COUNT))
}

/// Returns whether commands to other processors can be sent.
pub(super) fn is_there() -> bool {
    registers().is_some()
}

/// Sends a command to all other processors, and waits for a while until it is sent.
pub(super) fn send_to_others(command: u32) {
    /// Looks at a command on its way, which a virtual controller sends at once.
    const LOOKS: u32 = 1000;
    let Some(mut apic) = registers() else { return };
    apic.write32(COMMAND, TO_OTHERS | command);
    let mut looks = 0..LOOKS;
    while apic.read32(COMMAND) & SENDING != 0 && looks.next().is_some() {}
}

/// Halts the processor for `ns` nanoseconds; not at all where no timer would end that.
pub(crate) fn nap(ns: u32) {
    let (Some(mut apic), Some(hz)) = (registers(), clock::timer_hz()) else { return };
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
