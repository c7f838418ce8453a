//! A stopwatch over a storage's clock.
//!
//! Always: times are for figures and messages; nothing is decided by them but when to speak.

use crate::GuestRoot;
use rootlet::storage::Storage;

/// A moment from which time is taken.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    start_ns: u64,
}

impl Stopwatch {
    /// Returns a stopwatch that starts now.
    pub fn start<S: Storage>(root: &GuestRoot<S>) -> Self {
        Self { start_ns: root.now_ns() }
    }

    /// Returns the nanoseconds since the start: 0 on a clock that went back.
    pub fn ns<S: Storage>(&self, root: &GuestRoot<S>) -> u64 {
        root.now_ns().saturating_sub(self.start_ns)
    }
}
