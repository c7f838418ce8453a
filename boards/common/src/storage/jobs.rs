//! Background jobs: requests that own their buffers.
//!
//! Always: a job is in the table from `start` until `poll` gives it back. Its buffer is with the
//! request meanwhile, so that it lives as long as a device has it. The table is bounded, and a full
//! one refuses.

use alloc::vec::Vec;
use core::ptr::NonNull;

use rootlet::storage::{DeviceId, IoErrorKind, Job, JobKind};
use virtio_drivers::transport::Transport;

use super::{Bytes, Devices, Plan};
use crate::virtio::chain::Kept;
use crate::virtio::ring::Owner;

/// Jobs in flight and ended ones that nobody has asked for yet, together.
pub const JOBS_MAX: usize = 64;

/// How much longer than a request may take somebody waits for a job.
pub(super) const PATIENCE_NS: u64 = 30_000_000_000;

/// A place in the table.
enum Slot {
    Free,
    /// Not submitted: its file is being opened again.
    Waiting(Job),
    /// Without its buffer.
    Flying {
        job: Job,
        generation: u64,
    },
    Ended(Job, Result<(), IoErrorKind>),
}

/// The table.
pub(super) struct Jobs {
    slots: Vec<Slot>,
    /// Where the search for an ended job begins, so that every ended job is found in the end.
    next: usize,
    /// Jobs that were started, so that no two in one place have the same number.
    generation: u64,
    /// How many wait for their files.
    waiting: usize,
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..JOBS_MAX).map(|_| Slot::Free).collect(),
            next: 0,
            generation: 0,
            waiting: 0,
        }
    }

    /// Marks a job that has ended, by its place and generation. The end of anything but a job in
    /// flight is a bug of ours.
    pub(super) fn end(
        &mut self,
        (index, generation): (usize, u64),
        result: Result<(), IoErrorKind>,
        kept: Option<Kept>,
    ) {
        let slot = &mut self.slots[index];
        let Slot::Flying { mut job, generation: flying } = core::mem::replace(slot, Slot::Free)
        else {
            panic!("job {index} ended and was not in flight")
        };
        assert_eq!(generation, flying, "job {index} ended for another one");
        if let Some(Kept::Buffer(buffer)) = kept {
            job.buffer = Some(buffer);
        }
        *slot = Slot::Ended(job, result);
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
            Slot::Free | Slot::Waiting(_) | Slot::Flying { .. } => None,
        }
    }

    /// Returns whether a job waits for its file.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Has a job wait for its file, in a free place.
    pub(super) fn wait(&mut self, index: usize, job: Job) {
        self.slots[index] = Slot::Waiting(job);
        self.waiting += 1;
    }

    /// Returns the jobs that wait for their files from place `from` on, each by its place and device.
    pub(super) fn waiting(&self, from: usize) -> impl Iterator<Item = (usize, DeviceId)> {
        let slots = self.slots.iter().enumerate().skip(from);
        slots.filter_map(|(index, slot)| match slot {
            Slot::Waiting(job) => Some((index, job.device)),
            Slot::Free | Slot::Flying { .. } | Slot::Ended(..) => None,
        })
    }

    /// Takes out a job that waits.
    pub(super) fn take_waiting(&mut self, index: usize) -> Job {
        match core::mem::replace(&mut self.slots[index], Slot::Free) {
            Slot::Waiting(job) => {
                self.waiting -= 1;
                job
            }
            _ => panic!("job {index} does not wait"),
        }
    }

    /// Ends the waiting jobs of the devices that `is_of` says.
    pub(super) fn end_waiting(&mut self, is_of: impl Fn(DeviceId) -> bool, kind: IoErrorKind) {
        for index in 0..self.slots.len() {
            if matches!(&self.slots[index], Slot::Waiting(job) if is_of(job.device)) {
                let job = self.take_waiting(index);
                self.slots[index] = Slot::Ended(job, Err(kind));
            }
        }
    }
}

/// Returns the bytes of a job.
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

impl<T: Transport> Devices<T> {
    /// Does what [`Storage::start`](rootlet::storage::Storage::start) says.
    pub(super) fn start_job(&mut self, job: Job) -> Result<(), Job> {
        let Some(index) = self.waiters.jobs.free() else { return Err(job) };
        if self.has_to_wait(job.device) {
            self.waiters.jobs.wait(index, job);
            self.talk_for_jobs();
            return Ok(());
        }
        if !self.has_room_for_job(job.device) {
            return Err(job);
        }
        self.submit_job(index, job);
        Ok(())
    }

    /// Returns whether a job of a device has room; one of a device that takes none ends at once.
    pub(super) fn has_room_for_job(&self, device: DeviceId) -> bool {
        let port = self.port_of(device).and_then(|port| self.ports.get(port));
        port.is_none_or(|port| port.ended().is_some() || port.has_room_for_job())
    }

    /// Submits a job that has room, and puts it into its place in the table.
    pub(super) fn submit_job(&mut self, index: usize, mut job: Job) {
        let bytes = bytes(&mut job);
        let planned = self.plan(job.device, job.at, bytes);
        let result = match planned {
            Plan::Settled(result) => result,
            Plan::Submit(port, request) => {
                let deadline = self.deadline();
                self.waiters.jobs.generation += 1;
                let generation = self.waiters.jobs.generation;
                let owner = Owner::Job { index, generation };
                let port = &mut self.ports[port];
                let kept = job.buffer.take().map(Kept::Buffer);
                // SAFETY: the request keeps a handle on the buffer that it names, and with it the
                // memory. For a read it is the only handle; for a write others can only read.
                match unsafe { port.submit(request, owner, kept, deadline) } {
                    Ok(()) => {
                        port.jobs += 1;
                        self.waiters.jobs.slots[index] = Slot::Flying { job, generation };
                        return;
                    }
                    Err((kept, kind)) => {
                        if let Some(Kept::Buffer(buffer)) = kept {
                            job.buffer = Some(buffer);
                        }
                        Err(kind)
                    }
                }
            }
        };
        self.waiters.jobs.slots[index] = Slot::Ended(job, result);
    }

    /// Does what [`Storage::poll`](rootlet::storage::Storage::poll) says.
    pub(super) fn poll_job(&mut self) -> Option<(Job, Result<(), IoErrorKind>)> {
        // One bell rings for all that is started for several jobs that have ended together.
        if let Some(ended) = self.waiters.jobs.take_ended() {
            return Some(ended);
        }
        // A small ring may be full of a disk's name, and what was given up may have come back.
        for port in self.ports.iter_mut().filter(|port| port.jobs > 0 || port.is_waited_for()) {
            port.kick();
            while let Some(ended) = port.reap() {
                self.waiters.end(port, ended);
            }
            self.watch.look(port);
        }
        if self.waiters.jobs.has_waiting() {
            self.talk_for_jobs();
        }
        self.waiters.jobs.take_ended()
    }
}
