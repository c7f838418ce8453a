//! The ways to end a machine: isa-debug-exit, which alone gives a status; ACPI; a reset by the
//! keyboard's controller or a triple fault, which some monitors take for the end.
//!
//! Always: a machine that is started again instead does not run a second time.
//!
//! Sources: QEMU docs/specs/isa-debug-exit; ACPI 6.5, 4.8.3; Firecracker, which ends by a reset with
//! status 0 and by a triple fault with status 1.

use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU64, Ordering};

use spin::Once;
use x86_64::VirtAddr;
use x86_64::instructions::tables::lidt;
use x86_64::instructions::{hlt, interrupts};
use x86_64::structures::DescriptorTablePointer;

use super::clock::ticks;
use super::paging;
use super::port::{read_port8, write_port8, write_port16, write_port32};
use crate::acpi::{Place, PowerOff};
use crate::arch::Kind;
use crate::registers::Registers;
use crate::verdict::Ending;

/// QEMU's isa-debug-exit, where everyone has it: a write of v ends with status `v << 1 | 1`.
const DEBUG_EXIT: u16 = 0xf4;

/// The keyboard's controller: its status and command port, and the command that resets.
const KEYBOARD: u16 = 0x64;
const RESET: u8 = 0xfe;
const NOBODY: u8 = 0xff;

/// Ticks that a monitor has to act in: some tenths of a second.
const PATIENCE_TICKS: u64 = 1 << 30;

/// A mark in memory of a machine whose run has ended, where no loader writes: a reset keeps it.
const ENDED: [u64; 2] = [0x7275_6e20_6861_7320, 0x656e_6465_6420_2e2e];
/// Bytes after the image that are kept for the mark.
pub(super) const MARK_BYTES: u64 = 64;

/// In the order in which they are tried.
pub(crate) const WAYS_OUT: [fn(Ending, u8); 5] = [
    |_, status| by_debug_exit(status),
    |_, _| by_tables(),
    |_, _| mark_as_ended(),
    |ending, _| by_keyboard(ending),
    |_, _| triple_fault(),
];

/// How ACPI switches the machine off.
static POWER_OFF: Once<PowerOff> = Once::new();

/// Keeps how ACPI switches the machine off; `None` if the register cannot be reached.
pub(crate) fn by_acpi(power_off: PowerOff) -> Option<()> {
    if let PowerOff::SleepControl { register: Place::Memory(address), .. } = power_off {
        paging::map(&(address..address.checked_add(1)?), Kind::Registers)?;
    }
    POWER_OFF.call_once(|| power_off);
    Some(())
}

/// Returns the mark, after the image.
fn mark() -> [&'static AtomicU64; 2] {
    let first = crate::start::image_end() as usize;
    [first, first + 8].map(|at| {
        // SAFETY: RAM follows the image, aligned to a page, and free memory begins after the mark;
        // nothing else names these two words.
        unsafe { AtomicU64::from_ptr(with_exposed_provenance_mut(at)) }
    })
}

/// Halts a machine that was reset because its run had ended. A reset by somebody else runs again.
pub(super) fn unless_ended() {
    if mark().map(|word| word.load(Ordering::Relaxed)) == ENDED {
        mark()[0].store(0, Ordering::Relaxed);
        halt();
    }
}

/// Returns whether anything ends the machine: three faults in one always do.
pub(crate) fn has_way_out() -> bool {
    true
}

/// Writes `status` to QEMU's isa-debug-exit, which reads as 0 (hw/misc/debugexit.c). What reads as
/// something else is another device, or nothing.
fn by_debug_exit(status: u8) {
    if read_port8(DEBUG_EXIT) == 0 {
        write_port32(DEBUG_EXIT, u32::from(status >> 1));
    }
}

fn by_tables() {
    if let Some(power_off) = POWER_OFF.get() {
        write(*power_off);
        wait();
    }
}

/// Notes that the run has ended: what is left may start the machine again.
fn mark_as_ended() {
    mark().into_iter().zip(ENDED).for_each(|(word, value)| word.store(value, Ordering::SeqCst));
}

fn by_keyboard(ending: Ending) {
    if ending == Ending::Passed && read_port8(KEYBOARD) != NOBODY {
        write_port8(KEYBOARD, RESET);
        wait();
    }
}

fn write(power_off: PowerOff) {
    match power_off {
        PowerOff::SleepControl { register: Place::Port(port), value } => write_port8(port, value),
        PowerOff::SleepControl { register: Place::Memory(address), value } => {
            let at = (address & !3) as usize;
            // SAFETY: firmware says that the register is there, and `by_acpi` has mapped it.
            if let Some(mut block) = unsafe { Registers::new(at, 4) } {
                block.write8((address & 3) as usize, value);
            }
        }
        PowerOff::Pm1 { port, value } => write_port16(port, value),
    }
}

/// Waits for the monitor, whose other threads end the machine.
fn wait() {
    let begin = ticks();
    while ticks().wrapping_sub(begin) < PATIENCE_TICKS {
        core::hint::spin_loop();
    }
}

/// Does nothing more.
pub(crate) fn halt() -> ! {
    loop {
        interrupts::disable();
        hlt();
    }
}

/// Raises an exception without a table to handle it.
fn triple_fault() {
    let nothing = DescriptorTablePointer { limit: 0, base: VirtAddr::zero() };
    // SAFETY: no code runs after this that could need a handler.
    unsafe { lidt(&nothing) };
    interrupts::int3();
}
