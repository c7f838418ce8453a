//! A request to a device, and who waits for it.
//!
//! Always: a request that was submitted ends, unless the power is cut before.

use std::sync::Arc;

use rootlet::storage::{Buffer, DeviceId, Job};

use super::fault::{Fault, OpKind};

/// A transfer of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InBatch {
    /// The number of the run: several threads may run a batch each.
    pub run: u64,
    /// The transfer's place in the batch.
    pub index: usize,
}

/// Who waits for a request.
pub(super) enum Waiter {
    /// A transfer of a batch that a guest runs; with the bytes of a write.
    Batch(InBatch, Option<Arc<[u8]>>),
    /// A background job.
    Job(Job),
}

impl Waiter {
    /// Returns the bytes of a background job's buffer.
    pub fn lent_bytes(&self) -> u64 {
        match self {
            Self::Batch(..) => 0,
            Self::Job(job) => job.buffer.as_ref().map_or(0, |buffer| buffer.len() as u64),
        }
    }
}

/// A transfer or a job that a device has not answered.
pub(super) struct Request {
    pub number: u64,
    pub guest: u64,
    pub device: DeviceId,
    pub op: OpKind,
    pub at: u64,
    pub len: u64,
    pub waiter: Waiter,
    pub ready_ns: u64,
    pub fault: Option<Fault>,
    pub flush_mark: u64,
}

/// Returns the same job with a buffer of its own, which is as long as the first one can be: nobody
/// can tell the two apart.
pub(super) fn copy_of(job: &Job) -> Job {
    let buffer = job.buffer.as_ref().map(|bytes| {
        let mut buffer = Buffer::new(bytes.len_max());
        assert!(buffer.set_len(bytes.len()), "as long as it can be");
        buffer.get_mut().expect("a new buffer has one handle").copy_from_slice(bytes);
        buffer
    });
    Job { buffer, ..*job }
}

impl Request {
    /// Returns how often the end of the request is reported.
    pub fn ends(&self) -> usize {
        if self.fault == Some(Fault::EndTwice) { 2 } else { 1 }
    }

    /// Returns the bytes of a write.
    pub fn write_bytes(&self) -> &[u8] {
        match &self.waiter {
            Waiter::Batch(_, data) => data.as_deref().unwrap_or_default(),
            Waiter::Job(job) => job.buffer.as_deref().unwrap_or_default(),
        }
    }
}
