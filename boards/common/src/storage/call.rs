//! One request that is waited for by itself: a FUSE message, a disk's name.
//!
//! Always: it is made while no batch runs; background jobs of its device go on meanwhile.

use rootlet::storage::{IoErrorKind, Spin};
use virtio_drivers::transport::Transport;

use super::jobs::Jobs;
use super::processor::Processor;
use crate::virtio::port::{Ended, Port, Request};
use crate::virtio::ring::Owner;

/// One request to one device that somebody waits for.
pub(super) struct Call<'c, T: Transport> {
    pub(super) port: &'c mut Port<T>,
    pub(super) jobs: &'c mut Jobs,
    pub(super) processor: Processor,
}

impl<T: Transport> Call<'_, T> {
    /// Submits `request` and waits for it.
    ///
    /// # Safety
    ///
    /// The memory that `request` names stays untouched by others until this returns.
    pub(super) unsafe fn wait(
        &mut self,
        request: Request<'_>,
        deadline_ns: u64,
    ) -> Result<u32, IoErrorKind> {
        let mut spin = Spin::default();
        // No batch is running, so what fills a small ring is a job, which ends by itself.
        while !self.port.has_room() && self.port.ended().is_none() {
            match self.next(&mut spin) {
                Some((Owner::Job(job), result)) => self.jobs.end(self.port, job, result),
                Some(_) => unreachable!("only jobs are in flight"),
                None => {}
            }
        }
        // SAFETY: this returns only when the request has been reaped.
        unsafe { self.port.submit(request, Owner::Call, deadline_ns) }?;
        let mut spin = Spin::default();
        loop {
            match self.next(&mut spin) {
                Some((Owner::Call, result)) => return result,
                Some((Owner::Job(job), result)) => self.jobs.end(self.port, job, result),
                Some((Owner::Batch(_) | Owner::Name, _)) => unreachable!("no batch is running"),
                None => {}
            }
        }
    }

    /// Waits until a disk has said its name, or will not.
    pub(super) fn name(&mut self) {
        let mut spin = Spin::default();
        while !self.port.is_named() {
            if let Some((Owner::Job(job), result)) = self.next(&mut spin) {
                self.jobs.end(self.port, job, result);
            }
        }
    }

    /// The next request that has ended; without one for long, naps and looks at the deadlines.
    fn next(&mut self, spin: &mut Spin) -> Option<Ended> {
        self.port.kick();
        let ended = self.port.reap();
        if ended.is_none()
            && let Some(ns) = spin.round()
        {
            (self.processor.nap)(ns);
            self.port.check((self.processor.now_ns)());
        }
        ended
    }
}
