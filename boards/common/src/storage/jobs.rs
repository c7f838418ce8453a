//! Background jobs: requests that own their buffers.
//!
//! Always: a job is in the table from `start` until `poll` gives it back, so its buffer lives at
//! least as long as a device has it; the table is bounded, and a full one refuses.

use alloc::vec::Vec;
use core::ptr::NonNull;

use rootlet::storage::{Background, IoErrorKind, Job, JobKind, Storage};
use virtio_drivers::transport::Transport;

use super::{Bytes, Plan, VirtioStorage};
use crate::virtio::port::Port;
use crate::virtio::ring::Owner;

/// Jobs in flight and ended ones that nobody has asked for yet, together.
pub const JOBS_MAX: usize = 64;

/// How much longer than a request may take somebody waits for a job.
const PATIENCE_NS: u64 = 30_000_000_000;

/// A place in the table.
enum Slot {
    Free,
    Flying(Job),
    Ended(Job, Result<(), IoErrorKind>),
}

/// The table.
pub(super) struct Jobs {
    slots: Vec<Slot>,
    /// Where the search for an ended job begins, so that none is left behind for ever.
    next: usize,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self { slots: (0..JOBS_MAX).map(|_| Slot::Free).collect(), next: 0 }
    }

    /// Marks a job that its device gave back.
    pub(super) fn end<T: Transport>(
        &mut self,
        port: &mut Port<T>,
        index: usize,
        result: Result<u32, IoErrorKind>,
    ) {
        port.jobs -= 1;
        let slot = &mut self.slots[index];
        if let Slot::Flying(job) = core::mem::replace(slot, Slot::Free) {
            *slot = Slot::Ended(job, result.map(|_| ()));
        }
    }

    fn free(&self) -> Option<usize> {
        self.slots.iter().position(|slot| matches!(slot, Slot::Free))
    }

    fn take_ended(&mut self) -> Option<(Job, Result<(), IoErrorKind>)> {
        let len = self.slots.len();
        let index = (0..len)
            .map(|step| (self.next + step) % len)
            .find(|&index| matches!(self.slots[index], Slot::Ended(..)))?;
        self.next = (index + 1) % len;
        match core::mem::replace(&mut self.slots[index], Slot::Free) {
            Slot::Ended(job, result) => Some((job, result)),
            Slot::Free | Slot::Flying(_) => None,
        }
    }
}

/// The bytes of a job.
fn bytes(job: &mut Job) -> Bytes {
    match (job.kind, &mut job.buffer) {
        (JobKind::Read, Some(buffer)) => {
            let out = buffer.get_mut().expect("a read job holds the only handle to its buffer");
            Bytes::Read(NonNull::from(out))
        }
        // A device only reads what `Bytes::Write` names.
        (JobKind::Write, Some(buffer)) => Bytes::Write(NonNull::from(&**buffer)),
        (JobKind::Flush, _) => Bytes::Flush,
        (JobKind::Read | JobKind::Write, None) => panic!("a read or write job has a buffer"),
    }
}

impl<T: Transport> Background for VirtioStorage<T> {
    fn start(&mut self, mut job: Job) -> Result<(), Job> {
        let Some(index) = self.jobs.free() else { return Err(job) };
        let port = self.port_of(job.device).and_then(|port| self.ports.get(port));
        if port.is_some_and(|port| port.ended().is_none() && !port.has_room_for_job()) {
            return Err(job);
        }
        let bytes = bytes(&mut job);
        let result = match self.plan(job.device, job.at, bytes) {
            Plan::Settled(result) => result,
            Plan::Submit(port, request) => {
                let deadline_ns = self.deadline_ns();
                let port = &mut self.ports[port];
                // SAFETY: the job's buffer handle stays in the table until the request has been
                // reaped, and keeps the memory alive. For a read, it is the only handle and the
                // table gives nobody access to it; for a write, other handles can only read.
                match unsafe { port.submit(request, Owner::Job(index), deadline_ns) } {
                    Ok(()) => {
                        port.jobs += 1;
                        self.jobs.slots[index] = Slot::Flying(job);
                        return Ok(());
                    }
                    Err(kind) => Err(kind),
                }
            }
        };
        self.jobs.slots[index] = Slot::Ended(job, result);
        Ok(())
    }

    fn poll(&mut self) -> Option<(Job, Result<(), IoErrorKind>)> {
        let now_ns = self.now_ns();
        // A small ring may be full of a disk's name.
        for port in self.ports.iter_mut().filter(|port| port.jobs > 0 || !port.is_named()) {
            port.kick();
            while let Some((owner, result)) = port.reap() {
                if let Owner::Job(job) = owner {
                    self.jobs.end(port, job, result);
                }
            }
            port.check(now_ns);
        }
        self.jobs.take_ended()
    }

    /// Each device ends its jobs by its own deadline; the library waits longer.
    fn patience_ns(&self) -> u64 {
        self.timeout_ns + PATIENCE_NS
    }

    fn rest(&mut self, ns: u32) {
        // What was started since the last look is on its way meanwhile.
        self.ports.iter_mut().for_each(Port::kick);
        (self.processor.nap)(ns);
    }
}
