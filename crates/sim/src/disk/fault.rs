//! Faults, and the rules that say when they strike.
//!
//! Always: a rule counts the requests that it matches in the order of their submission, so a
//! script means the same whatever the order of completion.

use std::ops::Range;

use rootlet::storage::{DeviceId, IoErrorKind};

use crate::Rng;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A flush.
    Flush,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request fails. The buffer of a failed read holds noise, or for
    /// [`IoErrorKind::Short`] its first bytes and then noise; of a failed write any prefix of
    /// sectors may have been written.
    Fail(IoErrorKind),
    /// A write reports success and does nothing.
    LoseWrite,
    /// A write reports success and lands at this byte, or at a random place when `None`.
    MisdirectWrite(Option<u64>),
    /// A write reports success and only this many bytes of it land, a random number when `None`.
    TearWrite(Option<u32>),
    /// A write fails, and any of its sectors were written.
    ScatterWrite,
    /// A flush reports success and makes nothing durable.
    DropFlush,
    /// A flush reports success before the writes that it covers are durable; they follow a few writes and
    /// flushes later, if the power lasts.
    EarlyFlush,
    /// A flush fails, and the writes before it never become durable: reads see them until the power
    /// goes, and later flushes succeed.
    LoseFlush,
    /// A request ends twice: a background job comes back a second time, with a copy of its
    /// buffer; a transfer of a batch is reported twice.
    EndTwice,
    /// A background job comes back a second time, with a copy of its buffer, when the name of the
    /// job may long be that of another one: some time after, as other jobs end.
    EndAgain,
    /// A background job is done, and kept from its guest until [`super::World::release`].
    Keep,
    /// A background job comes back under this number instead of its own tag.
    Rename(u64),
    /// One random bit of what a read returns is wrong.
    FlipRead,
    /// A read returns what its sectors held before their last write.
    StaleRead,
    /// A read reports success and returns noise.
    NoiseRead,
    /// A read reports success and returns what lies at another place.
    MisdirectRead,
    /// The request takes this many nanoseconds longer. Adds to other faults.
    Delay(u64),
    /// The device never answers: the request fails with `Timeout` at the deadline, and from then
    /// on the device is gone. A write may have been done.
    Hang,
    /// The device is gone, this request included.
    Unplug,
    /// The device refuses writes, this one included.
    TurnReadOnly,
    /// The device has only this many bytes left, for this request already.
    Shrink(u64),
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    fault: Fault,
    device: Option<DeviceId>,
    op: Option<OpKind>,
    range: Option<Range<u64>>,
    skip: u64,
    times: u64,
    per_million: u32,
}

impl Rule {
    /// Strikes every request that the fault makes sense for.
    pub fn new(fault: Fault) -> Self {
        let op = match fault {
            Fault::LoseWrite
            | Fault::MisdirectWrite(_)
            | Fault::TearWrite(_)
            | Fault::ScatterWrite
            | Fault::TurnReadOnly => Some(OpKind::Write),
            Fault::DropFlush | Fault::EarlyFlush | Fault::LoseFlush => Some(OpKind::Flush),
            Fault::FlipRead | Fault::StaleRead | Fault::NoiseRead | Fault::MisdirectRead => {
                Some(OpKind::Read)
            }
            _ => None,
        };
        let times = u64::MAX;
        Self { fault, device: None, op, range: None, skip: 0, times, per_million: 1_000_000 }
    }

    /// Only on this device.
    pub fn device(self, device: DeviceId) -> Self {
        Self { device: Some(device), ..self }
    }

    /// Only requests of this kind.
    pub fn op(self, op: OpKind) -> Self {
        Self { op: Some(op), ..self }
    }

    /// Only reads and writes that touch these bytes.
    pub fn range(self, range: Range<u64>) -> Self {
        Self { range: Some(range), ..self }
    }

    /// Only the `n`-th matching request from now on (the first is 1).
    pub fn nth(self, n: u64) -> Self {
        self.skip(n.saturating_sub(1)).times(1)
    }

    /// Lets this many matching requests pass first.
    pub fn skip(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Strikes at most this many times.
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// Strikes at this rate instead of always.
    pub fn per_million(self, per_million: u32) -> Self {
        Self { per_million, ..self }
    }

    /// Whether the rule strikes this request.
    pub(super) fn strikes(
        &mut self,
        device: DeviceId,
        op: OpKind,
        bytes: &Range<u64>,
        rng: &mut Rng,
    ) -> Option<Fault> {
        let here = self.device.is_none_or(|only| only == device)
            && self.op.is_none_or(|only| only == op)
            && self.range.as_ref().is_none_or(|range| {
                op != OpKind::Flush && range.start < bytes.end && bytes.start < range.end
            });
        if !here || self.times == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if self.per_million < 1_000_000 && !rng.chance(self.per_million) {
            return None;
        }
        self.times -= 1;
        Some(self.fault)
    }
}
