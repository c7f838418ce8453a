//! How long those wait who read a source over a network: the engine, and the guest.
//!
//! Always: engine and guest together take less than the guest's deadline, so that a source that fails is
//! an error of a read, and no silent device.

/// For how long a source is asked again where nobody says so, in seconds.
const RETRY_S: u32 = 30;
/// What the guest takes of that where nobody says so.
const GUEST_S: u32 = 5;
/// How long a device may take to answer where nobody says so, as docs/usage.md has it.
const DEADLINE_S: u32 = 30;
/// The longest time without a byte in one attempt.
const ATTEMPT_S_MAX: u32 = 5;
/// How many attempts a deadline has room for at least.
const ATTEMPTS: u32 = 6;
/// What engine, monitor and guest need to tell of a failure.
const TELL_S: u32 = 2;

/// The parts of the time that a read may take, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// An attempt ends after this time without a byte.
    pub attempt_s: u32,
    /// For how long an engine repeats what has failed; 0 for not at all.
    pub engine_s: u32,
    /// For how long the guest repeats what the engine has failed.
    pub guest_s: u32,
}

impl Wait {
    /// Divides the time. `retry_s` is for how long a source is to be asked again, `deadline_s` how long a
    /// device may take to answer, as far as the user says so.
    pub fn new(retry_s: Option<u32>, deadline_s: Option<u32>) -> Self {
        let deadline_s = deadline_s.unwrap_or(DEADLINE_S);
        let attempt_s = (deadline_s / ATTEMPTS).clamp(1, ATTEMPT_S_MAX);
        let left_after = |of_s: u32| deadline_s.max(of_s) - of_s;
        let all_s = retry_s.unwrap_or(RETRY_S).min(left_after(TELL_S));
        let guest_s = retry_s.unwrap_or(GUEST_S).min(left_after(attempt_s + TELL_S)).min(all_s);
        Self { attempt_s, engine_s: all_s - guest_s, guest_s }
    }

    /// For how long the monitor connects again to an engine that is gone.
    pub fn monitor_s(&self) -> u32 {
        self.engine_s.max(self.attempt_s)
    }

    /// For how long a server is asked again before a guest starts.
    pub fn start_s(&self) -> u32 {
        self.engine_s + self.guest_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_waits_together_are_shorter_than_the_deadline() {
        for deadline_s in 1..100 {
            for retry_s in [None].into_iter().chain((0..100).map(Some)) {
                let wait = Wait::new(retry_s, Some(deadline_s));
                let all_s = wait.monitor_s() + wait.guest_s;
                assert!(all_s <= deadline_s, "{deadline_s} {retry_s:?}: {wait:?}");
                let wanted_s = retry_s.unwrap_or(RETRY_S).min(deadline_s.max(3) - 3);
                assert!(wait.start_s() >= wanted_s, "{deadline_s} {retry_s:?}: {wait:?}");
            }
        }
    }

    #[test]
    fn usual_times_are_those_of_the_pages() {
        let wait = Wait { attempt_s: 5, engine_s: 23, guest_s: 5 };
        assert_eq!(Wait::new(None, None), wait);
        assert_eq!(Wait::new(Some(0), Some(6)), Wait { attempt_s: 1, engine_s: 0, guest_s: 0 });
        assert_eq!(Wait::new(Some(30), None), Wait { attempt_s: 5, engine_s: 5, guest_s: 23 });
    }
}
