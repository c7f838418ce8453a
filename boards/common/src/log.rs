//! defmt's way out: encoded frames over the log channel, apart from the console.
//!
//! Always: a frame is written whole, because it is written inside a critical section; on one
//! processor that means with interrupts off.

use core::cell::UnsafeCell;

#[cfg(target_arch = "x86_64")]
use spin::Once;

use crate::board::{self, Log};
use crate::{arch, clock};

defmt::timestamp!("{=u64:us}", clock::now_ns() / 1000);

struct OneProcessor;

critical_section::set_impl!(OneProcessor);

// SAFETY: there is one processor, so with interrupts off nothing else runs; release restores
// what acquire found, so sections nest.
unsafe impl critical_section::Impl for OneProcessor {
    unsafe fn acquire() -> critical_section::RawRestoreState {
        arch::interrupts_off()
    }

    unsafe fn release(were_on: critical_section::RawRestoreState) {
        arch::interrupts_restore(were_on);
    }
}

/// The state of the frame being written.
struct Frame {
    encoder: UnsafeCell<defmt::Encoder>,
    section: UnsafeCell<critical_section::RestoreState>,
}

// SAFETY: only `Channel` touches the cells, between `acquire` and `release`, where interrupts
// are off on the only processor; defmt does not call `acquire` again in between.
unsafe impl Sync for Frame {}

static FRAME: Frame = Frame {
    encoder: UnsafeCell::new(defmt::Encoder::new()),
    section: UnsafeCell::new(critical_section::RestoreState::invalid()),
};

#[defmt::global_logger]
struct Channel;

// SAFETY: `acquire` opens a critical section that `release` closes, and every access to the
// encoder lies between.
unsafe impl defmt::Logger for Channel {
    fn acquire() {
        // SAFETY: `release` closes the section with the state kept below.
        let section = unsafe { critical_section::acquire() };
        // SAFETY: see `Frame`: we are inside the section.
        unsafe { *FRAME.section.get() = section };
        // SAFETY: as above.
        let encoder = unsafe { &mut *FRAME.encoder.get() };
        encoder.start_frame(send);
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: see `Frame`: we are inside the section that `acquire` opened.
        let encoder = unsafe { &mut *FRAME.encoder.get() };
        encoder.end_frame(send);
        // SAFETY: as above.
        let section = unsafe { *FRAME.section.get() };
        // SAFETY: `section` came from the `acquire` that this call pairs with.
        unsafe { critical_section::release(section) };
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: see `Frame`: we are inside the section that `acquire` opened.
        let encoder = unsafe { &mut *FRAME.encoder.get() };
        encoder.write(bytes, send);
    }
}

/// What isa-debugcon reads as (QEMU, hw/char/debugcon.c).
#[cfg(target_arch = "x86_64")]
const DEBUGCON: u8 = 0xe9;

/// Sends bytes to the log channel. Where there is none, they are lost.
fn send(bytes: &[u8]) {
    match board::BOARD.log {
        #[cfg(target_arch = "x86_64")]
        Log::Port(port) => {
            // Where nobody is, a monitor may tell of each byte.
            static IS_THERE: Once<bool> = Once::new();
            if *IS_THERE.call_once(|| arch::read_port8(port) == DEBUGCON) {
                bytes.iter().for_each(|&byte| arch::write_port8(port, byte));
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Log::Semihosting => crate::semihosting::write(bytes),
    }
}
