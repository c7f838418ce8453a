//! What a device did: counters, the log of writes, and the trace of a world.
//!
//! Always: a request counts when it is submitted, with the length that was asked for.

use rootlet::storage::{DeviceId, IoErrorKind};

use super::fault::OpKind;

/// Counters of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads submitted.
    pub reads: u64,
    /// Bytes asked for by reads.
    pub read_bytes: u64,
    /// Writes submitted.
    pub writes: u64,
    /// Bytes of writes.
    pub write_bytes: u64,
    /// Flushes submitted.
    pub flushes: u64,
    /// Requests that failed, refused ones included.
    pub errors: u64,
    /// Requests in flight now.
    pub in_flight: u64,
    /// The most requests that were in flight at once.
    pub in_flight_max: u64,
    /// Bytes of the buffers of background jobs in flight now.
    pub lent_bytes: u64,
    /// The most of them at once.
    pub lent_bytes_max: u64,
}

impl Counters {
    pub(super) fn submitted(&mut self, lent_bytes: u64) {
        self.in_flight += 1;
        self.in_flight_max = self.in_flight_max.max(self.in_flight);
        self.lent_bytes += lent_bytes;
        self.lent_bytes_max = self.lent_bytes_max.max(self.lent_bytes);
    }

    pub(super) fn ended(&mut self, lent_bytes: u64) {
        self.in_flight -= 1;
        self.lent_bytes -= lent_bytes;
    }
}

/// One submitted write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteRecord {
    /// The event that its submission was ([`super::World::events`]).
    pub event: u64,
    /// Which guest wrote (from 1 on, in the order of [`super::World::attach`]).
    pub guest: u64,
    /// Byte offset.
    pub at: u64,
    /// Length in bytes.
    pub len: u64,
}

/// A step of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A request was submitted.
    Submit,
    /// A request ended well.
    Done,
    /// A request failed.
    Failed,
    /// The power was cut.
    Cut,
}

/// One line of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// Virtual time.
    pub ns: u64,
    /// Number of the request.
    pub request: u64,
    /// What happened to it.
    pub step: Step,
    /// The device.
    pub device: DeviceId,
    /// What the request does.
    pub op: OpKind,
    /// Byte offset.
    pub at: u64,
    /// Length in bytes.
    pub len: u64,
    /// Why it failed.
    pub error: Option<IoErrorKind>,
}

impl TraceEvent {
    pub(super) fn hash_into(&self, hash: u64) -> u64 {
        let error = self.error.map_or(0, |kind| crate::rng::hash(format!("{kind:?}").as_bytes()));
        let words = [
            self.ns,
            self.request,
            self.step as u64,
            self.device.0.into(),
            self.op as u64,
            self.at,
            self.len,
            error,
        ];
        words.iter().fold(hash, |hash, word| crate::rng::mix(hash ^ word).wrapping_add(1))
    }
}
