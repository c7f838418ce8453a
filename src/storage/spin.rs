//! Waiting for a device in a loop.
//!
//! Always: it decides only how a round ends, never how many there are: deadlines are the storage's,
//! which looks at them, and lets the processor rest, once it has taken long.

use core::hint::spin_loop;

/// Rounds that a device has to answer in: some tens of microseconds of a processor, a hundred of an
/// emulated one. Most answers of a disk take less, and a thread that another one keeps from its
/// place waits tenfold.
const SHORT_ROUNDS: u32 = 1000;

/// The shortest nap, in nanoseconds, and the longest: short beside the answers that are worth one.
const NAP_NS: u32 = 50_000;
const NAP_NS_MAX: u32 = 200_000;

/// Waiting in rounds, each of which looks for what is waited for.
///
/// The processor is told of the waiting ([`spin_loop`]) only when it is not short: some emulators
/// leave the guest for that, and it comes back late for what it waits for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin {
    rounds: u32,
    nap_ns: u32,
}

impl Spin {
    /// Another round without what is waited for. When it takes so long by now that a deadline may
    /// have passed, and that the device may need the processor that waits, for how many nanoseconds
    /// that may sleep before the next one.
    pub fn round(&mut self) -> Option<u32> {
        if self.rounds < SHORT_ROUNDS {
            self.rounds = self.rounds.saturating_add(1);
            return None;
        }
        spin_loop();
        self.nap_ns = self.nap_ns.saturating_mul(2).clamp(NAP_NS, NAP_NS_MAX);
        Some(self.nap_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sleeps_at_first_and_then_for_longer_up_to_a_bound() {
        let mut spin = Spin::default();
        assert!((0..SHORT_ROUNDS).all(|_| spin.round().is_none()));
        let naps: [_; 4] = core::array::from_fn(|_| spin.round());
        assert_eq!(naps, [Some(50_000), Some(100_000), Some(200_000), Some(200_000)]);
    }
}
