//! Waits for a device in a loop: rounds, naps and deadlines.
//!
//! Always: a [`Spin`] decides only how a round ends, never whether there is another; a wait ends
//! whether the clock moves, stands still or jumps.

#[cfg(feature = "alloc")]
use super::Storage;
use core::hint::spin_loop;

/// The rounds before the first nap: some tens of microseconds of a processor, a hundred of an
/// emulated one. Most answers of a disk take less, and a thread that gives its processor away waits
/// ten times as long.
const SHORT_ROUNDS: u32 = 1000;

/// The first nap.
const NAP_NS: u32 = 50_000;
/// The longest nap of a short wait: short beside the answers that are worth a nap.
const NAP_NS_MAX: u32 = 200_000;
/// The longest nap of a long wait.
const LONG_NAP_NS_MAX: u32 = 1_000_000;
/// The share of a long wait that its next nap takes at most, as a power of two: an eighth.
const LONG_SHIFT: u32 = 3;

/// The most time between two looks at the clock that counts as waiting: if more has passed, the
/// machine was paused.
const PAUSE_NS: u64 = 1_000_000_000;
/// The time that a look counts if the clock has not moved, so that a wait ends even then.
const STILL_NS: u64 = 10;

/// The rounds of a wait. Each round polls, and hints to the processor that it waits
/// ([`spin_loop`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct Spin {
    rounds: u32,
    nap_ns: u32,
    /// The sum of all naps, as far as it decides about the next one.
    napped_ns: u32,
}

impl Spin {
    /// Records a failed poll. Returns `None` while waiting is still cheap, then how many nanoseconds
    /// the caller may sleep before the next one: a deadline may have passed by now, and the device
    /// may need the processor that waits.
    #[expect(clippy::arithmetic_side_effects, reason = "bounded by the constants above")]
    pub fn round(&mut self) -> Option<u32> {
        spin_loop();
        if self.rounds < SHORT_ROUNDS {
            self.rounds += 1;
            return None;
        }
        let longest = (self.napped_ns >> LONG_SHIFT).max(NAP_NS_MAX);
        self.nap_ns = (self.nap_ns << 1).clamp(NAP_NS, longest);
        self.napped_ns = (self.napped_ns + self.nap_ns).min(LONG_NAP_NS_MAX << LONG_SHIFT);
        Some(self.nap_ns)
    }
}

/// The time that a wait may still take. Only time between close looks at the clock counts.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    left_ns: u64,
    looked_ns: u64,
}

impl Patience {
    /// Begins a wait of at most `ns` nanoseconds at the moment `now_ns`.
    pub fn new(now_ns: u64, ns: u64) -> Self {
        Self { left_ns: ns, looked_ns: now_ns }
    }

    /// Counts the time from the last look to this one, at `now_ns`. Returns whether time is left.
    pub fn lasts(&mut self, now_ns: u64) -> bool {
        let passed = match now_ns.checked_sub(self.looked_ns) {
            None | Some(0) => STILL_NS,
            Some(ns) => ns.min(PAUSE_NS),
        };
        self.looked_ns = now_ns;
        match self.left_ns.checked_sub(passed) {
            Some(left_ns) => self.left_ns = left_ns,
            None => self.left_ns = 0,
        }
        self.left_ns > 0
    }
}

/// A wait in rounds, with an end.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct Wait {
    spin: Spin,
    patience: Patience,
}

#[cfg(feature = "alloc")]
impl Wait {
    /// Begins a wait for a job of `storage`.
    pub fn for_job<S: Storage>(storage: &S) -> Self {
        Self::new(storage.now_ns(), storage.patience_ns())
    }

    /// Begins a wait until the clock of `storage` is at `deadline_ns`; it lasts longer only by
    /// pauses of the machine.
    pub fn until<S: Storage>(storage: &S, deadline_ns: u64) -> Self {
        let now_ns = storage.now_ns();
        Self::new(now_ns, deadline_ns.max(now_ns).wrapping_sub(now_ns))
    }

    fn new(now_ns: u64, ns: u64) -> Self {
        Self { spin: Spin::default(), patience: Patience::new(now_ns, ns) }
    }

    /// Returns whether there is time for another round.
    pub fn lasts<S: Storage>(&mut self, storage: &S) -> bool {
        self.patience.lasts(storage.now_ns())
    }

    /// Ends a round; `ended` says whether a job has ended in it. After many rounds without one,
    /// leaves the processor to the device for a nap.
    pub fn rest<S: Storage>(&mut self, storage: &S, ended: bool) {
        if ended {
            self.spin = Spin::default();
        } else if let Some(ns) = self.spin.round() {
            storage.rest(ns);
        }
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
        let mut waited_ns = 550_000;
        for nap in (0..100).filter_map(|_| spin.round()) {
            assert!(nap == 200_000 || nap <= waited_ns / 8, "{nap} of {waited_ns}");
            waited_ns += nap;
        }
        assert_eq!(spin.round(), Some(1_000_000));
    }

    #[test]
    fn pause_of_the_machine_counts_as_a_second_and_no_more() {
        let mut patience = Patience::new(7, 5_000_000_000);
        assert!(patience.lasts(3_600_000_000_000), "an hour");
        assert_eq!(patience.left_ns, 4_000_000_000);
        let start = 3_600_000_000_000;
        let looks = (1_u64..).take_while(|look| patience.lasts(start + look * 1_000_000)).count();
        assert_eq!(looks, 3999);
    }

    #[test]
    fn wait_ends_over_a_clock_that_stands_still_or_runs_backwards() {
        let mut patience = Patience::new(5, 1000);
        assert_eq!((0..).take_while(|_| patience.lasts(5)).count(), 99);
        let mut patience = Patience::new(1_000_000, 1000);
        assert_eq!((1..).take_while(|look| patience.lasts(1_000_000 - look)).count(), 99);
    }
}
