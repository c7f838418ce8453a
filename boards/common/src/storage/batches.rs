//! Foreground batches: requests that borrow the memory of a reader who waits.
//!
//! Always: a batch has a place of its own while it runs, and a request names the place of its batch;
//! a reader that takes an answer of a device puts the answer where its owner looks. The devices are
//! locked for a look at them, and free while a reader sleeps or hears of a transfer that has ended.

use alloc::vec::Vec;
use core::array;
use core::ptr::NonNull;

use rootlet::storage::{IoErrorKind, Lent, Spin, Transfer};
use virtio_drivers::transport::Transport;

use super::{Bytes, Devices, Plan, VirtioStorage};
use crate::virtio::ring::Owner;

/// Batches that run at once: one for each processor.
pub(super) const BATCHES_MAX: usize = 2;
/// The answers that a reader takes at one look.
const TAKEN_MAX: usize = 16;

/// What has become of a transfer, by its number in the batch.
type Outcome = (usize, Result<(), IoErrorKind>);

/// The places of all batches.
pub(super) struct Batches {
    places: [Batch; BATCHES_MAX],
    /// The requests that all ports together take.
    requests: usize,
}

/// The place of one batch.
struct Batch {
    is_taken: bool,
    /// The transfer where each port continues, by the port's number.
    cursors: Vec<usize>,
    /// Answers that the reader has not seen: at most as many as its devices have requests.
    ended: Vec<Outcome>,
}

impl Batches {
    pub(super) fn new() -> Self {
        let place = |_| Batch { is_taken: false, cursors: Vec::new(), ended: Vec::new() };
        Self { places: array::from_fn(place), requests: 0 }
    }

    /// Makes room for one port more, which takes this many requests.
    pub(super) fn add_port(&mut self, requests: usize) {
        self.requests += requests;
        for Batch { cursors, ended, .. } in &mut self.places {
            cursors.push(0);
            ended.reserve_exact(self.requests);
        }
    }

    /// Takes a free place.
    fn begin(&mut self) -> Option<usize> {
        let number = self.places.iter().position(|batch| !batch.is_taken)?;
        let Batch { is_taken, cursors, ended } = &mut self.places[number];
        assert!(ended.is_empty(), "a batch ends when all its answers have been seen");
        *is_taken = true;
        cursors.fill(0);
        Some(number)
    }

    /// Notes an answer.
    pub(super) fn end(&mut self, batch: usize, outcome: Outcome) {
        self.places[batch].ended.push(outcome);
    }
}

impl<T: Transport> VirtioStorage<T> {
    /// Runs a batch to its end.
    pub(super) fn run_batch<'b>(
        &self,
        batch: &mut [Transfer<'b>],
        done: &mut dyn FnMut(usize, &mut Transfer<'b>),
    ) {
        let number = self.begin(batch);
        let mut open = batch.len();
        for (index, transfer) in batch.iter_mut().enumerate() {
            if transfer.result.is_some() {
                done(index, transfer);
                open -= 1;
            }
        }
        let mut landed = heapless::Vec::<Outcome, TAKEN_MAX>::new();
        // Ends: each request in flight is answered by its device or given up at its deadline, or
        // else ends the run; what cannot be submitted is settled.
        let mut spin = Spin::default();
        while open > 0 {
            self.devices.lock().step(number, batch, &mut landed);
            let is_idle = landed.is_empty();
            for (index, result) in &landed {
                let transfer = &mut batch[*index];
                transfer.result = Some(*result);
                done(*index, transfer);
            }
            open -= landed.len();
            landed.clear();
            // A batch has an end, so a device that is busy for long hides no other's deadline.
            if !is_idle {
                spin = Spin::default();
            } else if let Some(ns) = spin.round() {
                (self.processor.nap)(ns);
                self.devices.lock().look();
            }
        }
        self.devices.lock().waiters.batches.places[number].is_taken = false;
    }

    /// Takes a place for a batch, and settles what cannot be submitted. Waits for the end of
    /// another batch if there is none.
    fn begin(&self, batch: &mut [Transfer<'_>]) -> usize {
        let mut spin = Spin::default();
        loop {
            if let Some(number) = self.devices.lock().begin(batch) {
                return number;
            }
            if let Some(ns) = spin.round() {
                (self.processor.nap)(ns);
            }
        }
    }
}

impl<T: Transport> Devices<T> {
    /// Takes a place for a batch, and gives a result to each transfer that cannot be submitted.
    fn begin(&mut self, batch: &mut [Transfer<'_>]) -> Option<usize> {
        let number = self.waiters.batches.begin()?;
        for transfer in batch {
            transfer.result = match self.port_of(transfer.device) {
                Some(_) => self.renew(transfer.device).err().map(Err),
                None => Some(Err(IoErrorKind::Gone)),
            };
        }
        Some(number)
    }

    /// Gives the devices what they have room for, and takes their answers. Those to this batch are
    /// added to `landed`, as far as it has room.
    fn step(
        &mut self,
        number: usize,
        batch: &mut [Transfer<'_>],
        landed: &mut heapless::Vec<Outcome, TAKEN_MAX>,
    ) {
        self.submit_all(number, batch, landed);
        for port in &mut self.ports {
            port.kick();
            while let Some(ended) = port.reap() {
                self.waiters.end(port, ended);
            }
            self.watch.tell(port);
            self.watch.insist(port);
        }
        let ended = &mut self.waiters.batches.places[number].ended;
        let room = TAKEN_MAX - landed.len();
        landed.extend(ended.drain(ended.len() - ended.len().min(room)..));
    }

    /// Looks whether a device is late.
    fn look(&mut self) {
        self.ports.iter_mut().for_each(|port| self.watch.look(port));
    }

    /// Gives every device the transfers that it has room for, in the order of the batch. What has
    /// ended at once is added to `landed`.
    fn submit_all(
        &mut self,
        number: usize,
        batch: &mut [Transfer<'_>],
        landed: &mut heapless::Vec<Outcome, TAKEN_MAX>,
    ) {
        for port in 0..self.ports.len() {
            let mut index = self.waiters.batches.places[number].cursors[port];
            while let Some(transfer) = batch.get_mut(index)
                && !landed.is_full()
            {
                let is_here =
                    self.port_of(transfer.device) == Some(port) && transfer.result.is_none();
                let to = &self.ports[port];
                if is_here && !to.has_room_for(&transfer.lent) && to.ended().is_none() {
                    break;
                }
                if is_here
                    && let Err(result) = self.submit(Owner::Batch { number, index }, transfer)
                {
                    landed.extend([(index, result)]);
                }
                index += 1;
            }
            self.waiters.batches.places[number].cursors[port] = index;
        }
    }

    /// Submits one transfer of a batch, or says how it ended at once.
    fn submit(
        &mut self,
        owner: Owner,
        transfer: &mut Transfer<'_>,
    ) -> Result<(), Result<(), IoErrorKind>> {
        let bytes = match &mut transfer.lent {
            Lent::Read(out) => Bytes::Read(NonNull::from(&mut **out)),
            // A device only reads what `Bytes::Write` names.
            Lent::Write(data) => Bytes::Write(NonNull::from(&**data)),
            Lent::Flush => Bytes::Flush,
        };
        let deadline = self.deadline();
        match self.plan(transfer.device, transfer.at, bytes) {
            Plan::Settled(result) => Err(result),
            Plan::Submit(port, request) => {
                let port = &mut self.ports[port];
                // SAFETY: `run_batch` borrows the batch, and with it the buffers, until it returns,
                // and it returns only when every transfer has been reaped; it touches a transfer's
                // buffer and calls `done` with it only after that.
                let submitted = unsafe { port.submit(request, owner, None, deadline) };
                submitted.map_err(|(_, kind)| Err(kind))
            }
        }
    }
}
