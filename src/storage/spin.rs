//! Waiting for a device in a loop.
//!
//! Always: it decides only how a round ends, never how many there are: deadlines are the storage's.

use core::hint::spin_loop;

/// Rounds that a device has to answer in: some tens of microseconds.
const SHORT_ROUNDS: u32 = 1000;

/// Waiting in rounds, each of which looks for what is waited for.
///
/// The processor is told of the waiting ([`spin_loop`]) only when it takes long: some emulators
/// leave the guest for that, and it comes back late for what it waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin(u32);

impl Spin {
    /// Another round without what is waited for.
    pub fn round(&mut self) {
        match self.0 < SHORT_ROUNDS {
            true => self.0 = self.0.saturating_add(1),
            false => spin_loop(),
        }
    }
}
