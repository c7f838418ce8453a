//! What a guest sees of a world: the storage traits.
//!
//! Always: requests complete in an order that the seed chooses; a guest whose power was cut
//! gets [`IoErrorKind::Gone`] for everything, for ever.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind, Job, JobKind, Lent, ShareSearch,
    Storage, Transfer, Version, only, serial,
};

use super::engine::{Name, State};
use super::fault::OpKind;
use super::request::{InBatch, Request, Waiter};
use crate::Turns;

/// The devices of a world as one guest sees them.
///
/// When it is dropped (the guest is killed, the power stays on), each of its requests in flight
/// is done or vanishes, as the seed decides.
pub struct SimStorage {
    state: Arc<Mutex<State>>,
    guest: u64,
    life: u64,
    /// Batches that were begun.
    runs: AtomicU64,
    turns: Option<Arc<Turns>>,
}

thread_local! {
    /// Whether the library holds no lock in this thread.
    static UNLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Locks the state even after a test's hook has panicked, so that the panic is what is reported.
pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimStorage {
    pub(super) fn new(
        state: Arc<Mutex<State>>,
        (guest, life): (u64, u64),
        turns: Option<Arc<Turns>>,
    ) -> Self {
        Self { state, guest, life, runs: AtomicU64::new(0), turns }
    }

    /// Lets another thread run, if the library holds no lock.
    fn pass(&self) {
        if let Some(turns) = self.turns.as_ref().filter(|_| UNLOCKED.get()) {
            turns.pass();
        }
    }

    /// The number of this guest, from 1 on.
    pub fn guest(&self) -> u64 {
        self.guest
    }

    fn is_dead(&self, state: &State) -> bool {
        !state.power || state.life != self.life
    }

    /// Submits a batch, and returns what was refused at once.
    fn submit(&self, run: u64, batch: &[Transfer<'_>]) -> Vec<(usize, Result<(), IoErrorKind>)> {
        let mut state = lock(&self.state);
        let mut refused = Vec::new();
        for (index, transfer) in batch.iter().enumerate() {
            if self.is_dead(&state) {
                refused.push((index, Err(IoErrorKind::Gone)));
                continue;
            }
            let (op, data) = match &transfer.lent {
                Lent::Read(_) => (OpKind::Read, None),
                Lent::Write(data) => (OpKind::Write, Some(Arc::from(*data))),
                Lent::Flush => (OpKind::Flush, None),
            };
            let range = (transfer.at, transfer.len() as u64);
            if range.1 == 0 && op != OpKind::Flush {
                refused.push((index, Ok(())));
                continue;
            }
            let waiter = Waiter::Batch(InBatch { run, index }, data);
            let taken = state.submit(self.guest, transfer.device, op, range, waiter);
            if let Err((_, kind)) = taken {
                refused.push((index, Err(kind)));
            }
        }
        refused
    }

    /// Ends one request, of the batch or in the background, that the seed chooses; of one of the
    /// batch says which, how often its end is reported, and its result.
    fn step(
        &self,
        run: u64,
        batch: &mut [Transfer<'_>],
    ) -> Option<(usize, usize, Result<(), IoErrorKind>)> {
        let mut state = lock(&self.state);
        let waiting = state.in_flight.iter().filter(|other| self.is_of(run, other));
        let first_ns = waiting.map(|other| other.ready_ns).min()?;
        let now_ns = state.clock_ns.max(first_ns);
        let may_end: Vec<usize> = (0..state.in_flight.len())
            .filter(|index| {
                let other = &state.in_flight[*index];
                let job = matches!(other.waiter, Waiter::Job(_));
                other.ready_ns <= now_ns && (job || self.is_of(run, other))
            })
            .collect();
        let index = may_end[state.rng.index(may_end.len())];
        let Waiter::Batch(InBatch { index: number, .. }, _) = state.in_flight[index].waiter else {
            state.finish_job(index);
            return None;
        };
        let out = match &mut batch[number].lent {
            Lent::Read(out) => Some(&mut **out),
            _ => None,
        };
        state.finish(index, out).map(|(request, result)| (number, request.ends(), result))
    }

    /// Returns whether a request is of the batch with this number.
    fn is_of(&self, run: u64, request: &Request) -> bool {
        let is_of = |waiter: &Waiter| matches!(waiter, Waiter::Batch(of, _) if of.run == run);
        request.guest == self.guest && is_of(&request.waiter)
    }

    fn has_batch(&self, run: u64) -> bool {
        lock(&self.state).in_flight.iter().any(|request| self.is_of(run, request))
    }
}

impl Storage for SimStorage {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        lock(&self.state).devices.get(usize::from(device.0)).map(|unit| unit.info)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        let mut end = |batch: &mut [Transfer<'b>], index: usize, result| {
            batch[index].result = Some(result);
            done(index, &mut batch[index]);
        };
        for transfer in batch.iter_mut() {
            transfer.result = None;
        }
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        for (index, result) in self.submit(run, batch) {
            end(batch, index, result);
        }
        while self.has_batch(run) {
            self.pass();
            if let Some((index, ends, result)) = self.step(run, batch) {
                (0..ends).for_each(|_| end(batch, index, result));
            }
        }
        for index in 0..batch.len() {
            if batch[index].result.is_none() {
                end(batch, index, Err(IoErrorKind::Gone));
            }
        }
    }

    fn set_deadline(&self, until_ns: Option<u64>) {
        lock(&self.state).until_ns = until_ns;
    }

    fn now_ns(&self) -> u64 {
        lock(&self.state).clock_ns
    }

    fn unlocked(&self) {
        UNLOCKED.set(true);
        self.pass();
    }

    fn locking(&self) {
        self.pass();
        UNLOCKED.set(false);
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        let mut state = lock(&self.state);
        if self.is_dead(&state) {
            state.ended.push((self.guest, job, Err(IoErrorKind::Gone)));
            return Ok(());
        }
        let queued = state.in_flight.iter().filter(|other| other.device == job.device);
        let queued = queued.filter(|other| matches!(other.waiter, Waiter::Job(_))).count();
        let room = state.devices.get(usize::from(job.device.0)).map_or(1, |unit| unit.jobs_max);
        if queued >= room {
            return Err(job);
        }
        let op = match job.kind {
            JobKind::Read => OpKind::Read,
            JobKind::Write => OpKind::Write,
            JobKind::Flush => OpKind::Flush,
        };
        let len = job.buffer.as_ref().map_or(0, |buffer| buffer.len() as u64);
        let (device, at) = (job.device, job.at);
        let taken = state.submit(self.guest, device, op, (at, len), Waiter::Job(job));
        if let Err((Waiter::Job(job), kind)) = taken {
            state.ended.push((self.guest, job, Err(kind)));
        }
        Ok(())
    }

    fn poll(&self) -> Option<(Job, Result<(), IoErrorKind>)> {
        let mut state = lock(&self.state);
        state.idle();
        let count = 1 + state.rng.index(3);
        for _ in 0..count {
            let jobs: Vec<(usize, u64)> = (0..state.in_flight.len())
                .filter(|index| matches!(state.in_flight[*index].waiter, Waiter::Job(_)))
                .map(|index| (index, state.in_flight[index].ready_ns))
                .collect();
            let ready: Vec<usize> =
                jobs.iter().filter(|job| job.1 <= state.clock_ns).map(|job| job.0).collect();
            if !ready.is_empty() {
                let index = ready[state.rng.index(ready.len())];
                state.finish_job(index);
            } else if let Some(first_ns) = jobs.iter().map(|job| job.1).min() {
                // An idle poll moves the clock on, so that even long delays end in few polls.
                let wait_ns = first_ns - state.clock_ns;
                state.clock_ns += (wait_ns / 8).max(1000);
                break;
            }
        }
        let mine: Vec<usize> =
            (0..state.ended.len()).filter(|index| state.ended[*index].0 == self.guest).collect();
        if mine.is_empty() {
            return None;
        }
        let index = mine[state.rng.index(mine.len())];
        let (_, job, result) = state.ended.swap_remove(index);
        Some((job, result))
    }
}

impl Discover for SimStorage {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        let state = lock(&self.state);
        let devices = (0..).zip(&state.devices).filter(|(_, unit)| !unit.gone);
        let same =
            |other: &Name| matches!(other, Name::Disk(other) if serial(other) == serial(name));
        only(devices.filter(|(_, unit)| same(&unit.name)).map(|(number, _)| DeviceId(number)))
    }

    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        let state = lock(&self.state);
        let matches_tag = |tag: &str| mount_tag.is_none_or(|wanted| wanted == tag);
        if let Some((_, fault)) = state.share_faults.iter().find(|(tag, _)| matches_tag(tag)) {
            return Err(*fault);
        }
        let files = (0..).zip(&state.devices).filter_map(|(number, unit)| match &unit.name {
            Name::Share { tag, file } if matches_tag(tag) => {
                Some((tag, file == name && !unit.gone, DeviceId(number)))
            }
            _ => None,
        });
        let tags: BTreeSet<&String> = files.clone().map(|(tag, ..)| tag).collect();
        let mut search = ShareSearch::new(mount_tag, tags.len())?;
        for tag in tags {
            let found = files.clone().find(|(of, is_it, _)| *of == tag && *is_it);
            search.add(found.map(|(.., device)| device).ok_or(DiscoverError::Share(2)));
        }
        search.end()
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        let names: Vec<(String, u16)> = {
            let state = lock(&self.state);
            let devices = (0..).zip(&state.devices).filter(|(_, unit)| !unit.gone);
            devices
                .filter_map(|(number, unit)| match &unit.name {
                    Name::Disk(name) => Some((name.clone(), number)),
                    Name::Share { .. } => None,
                })
                .collect()
        };
        for (name, number) in names {
            each(&name, DeviceId(number));
        }
    }

    fn set_version(&mut self, device: DeviceId, version: Version) {
        if let Some(unit) = lock(&self.state).devices.get_mut(usize::from(device.0)) {
            unit.info.version = version;
        }
    }
}

impl Drop for SimStorage {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        while let Some(index) =
            state.in_flight.iter().position(|request| request.guest == self.guest)
        {
            if state.rng.chance(500_000) {
                state.finish_job(index);
            } else {
                let request = state.in_flight.swap_remove(index);
                let lent = request.waiter.lent_bytes();
                state.device(request.device).counters.ended(lent);
            }
        }
        state.ended.retain(|(guest, ..)| *guest != self.guest);
        state.kept.retain(|(guest, ..)| *guest != self.guest);
        state.echoes.retain(|(guest, ..)| *guest != self.guest);
    }
}
