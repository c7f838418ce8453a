//! defmt's way out: encoded frames over the log channel, apart from the console.
//!
//! Always: a frame is written whole, because it is written with interrupts off and under a lock that
//! other processors wait for.

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_arch = "x86_64")]
use spin::Once;

use crate::board::{self, Log};
use crate::{arch, clock};

defmt::timestamp!("{=u64:us}", clock::now_ns() / 1000);

/// The frame being written.
struct Frame {
    is_taken: AtomicBool,
    encoder: UnsafeCell<defmt::Encoder>,
    /// Whether interrupts were on before.
    were_on: UnsafeCell<bool>,
}

// SAFETY: only `Channel` touches the cells, between `acquire` and `release`: there the frame is
// taken, so no other processor does, and interrupts are off; defmt does not call `acquire` again in
// between.
unsafe impl Sync for Frame {}

static FRAME: Frame = Frame {
    is_taken: AtomicBool::new(false),
    encoder: UnsafeCell::new(defmt::Encoder::new()),
    were_on: UnsafeCell::new(false),
};

#[defmt::global_logger]
struct Channel;

// SAFETY: `acquire` takes the frame, `release` gives it back, and every access to the encoder lies
// between.
unsafe impl defmt::Logger for Channel {
    fn acquire() {
        let were_on = arch::interrupts_off();
        while FRAME.is_taken.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        // SAFETY: see `Frame`: it is taken.
        unsafe { *FRAME.were_on.get() = were_on };
        // SAFETY: as above.
        let encoder = unsafe { &mut *FRAME.encoder.get() };
        encoder.start_frame(send);
    }

    unsafe fn flush() {}

    unsafe fn release() {
        // SAFETY: see `Frame`: `acquire` has taken it.
        let encoder = unsafe { &mut *FRAME.encoder.get() };
        encoder.end_frame(send);
        // SAFETY: as above.
        let were_on = unsafe { *FRAME.were_on.get() };
        FRAME.is_taken.store(false, Ordering::Release);
        arch::interrupts_restore(were_on);
    }

    unsafe fn write(bytes: &[u8]) {
        // SAFETY: see `Frame`: `acquire` has taken it.
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
