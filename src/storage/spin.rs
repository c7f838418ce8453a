//! Waiting for a device in a loop.
//!
//! Always: it decides only how a round ends, never how many there are: deadlines are the storage's,
//! which looks at them once it has taken long.

use core::hint::spin_loop;

/// Rounds that a device has to answer in: some tens of microseconds.
const SHORT_ROUNDS: u32 = 1000;
/// Rounds after which it takes long: some milliseconds at most, which no deadline is shorter than.
const LONG_ROUNDS: u32 = 10_000;

/// Waiting in rounds, each of which looks for what is waited for.
///
/// The processor is told of the waiting ([`spin_loop`]) only when it is not short: some emulators
/// leave the guest for that, and it comes back late for what it waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin(u32);

impl Spin {
    /// Another round without what is waited for. Whether it takes so long by now that a deadline
    /// may have passed.
    pub fn round(&mut self) -> bool {
        if self.0 >= SHORT_ROUNDS {
            spin_loop();
        }
        self.0 = self.0.saturating_add(1);
        self.0 > LONG_ROUNDS
    }
}
