//! Waiting for a device in a loop.
//!
//! Always: it decides only how a round ends, never how many there are: deadlines are the storage's,
//! which looks at them, and lets the processor rest, once it has taken long.

use core::hint::spin_loop;

/// Rounds that a device has to answer in: some tens of microseconds of a processor, a hundred of an
/// emulated one. Most answers of a disk take less, and a thread that another one keeps from its
/// place waits tenfold.
const SHORT_ROUNDS: u32 = 1000;

/// Waiting in rounds, each of which looks for what is waited for.
///
/// The processor is told of the waiting ([`spin_loop`]) only when it is not short: some emulators
/// leave the guest for that, and it comes back late for what it waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin(u32);

impl Spin {
    /// Another round without what is waited for. Whether it takes so long by now that a deadline
    /// may have passed, and that the device may need the processor that waits.
    pub fn round(&mut self) -> bool {
        if self.0 < SHORT_ROUNDS {
            self.0 = self.0.saturating_add(1);
            return false;
        }
        spin_loop();
        true
    }
}
