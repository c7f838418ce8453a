//! The state of a world, and the life of a request: submitted, in flight, ended.
//!
//! Always: each submission and each completion of a write or flush is one event. A power cut
//! falls on an event: a submission has then reached the device and is unanswered, a completion
//! has not happened.

use std::sync::Arc;

use rootlet::storage::{DeviceId, DeviceInfo, DiscoverError, IoErrorKind, Job};

use super::counters::{Counters, Step, TraceEvent, WriteRecord};
use super::crash::Choices;
use super::fault::{Fault, OpKind, Rule};
use super::medium::{Medium, SECTOR};
use super::request::{Request, Waiter, copy_of};
use super::world::{WriteHook, WriteSeen};
use crate::Rng;

/// Within how many events a flush that said yes too early is done.
const LATE_EVENTS: u64 = 8;

/// How a device is found.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Disk(String),
    Share { tag: String, file: String },
}

pub(super) struct Device {
    pub name: Name,
    pub info: DeviceInfo,
    pub gone: bool,
    pub medium: Medium,
    /// Writes that were in flight when the power was cut.
    pub unfinished: Vec<(u64, Arc<[u8]>)>,
    pub counters: Counters,
    pub log: Vec<WriteRecord>,
    pub jobs_max: usize,
}

impl Device {
    fn check(&self, op: OpKind, at: u64, len: u64) -> Result<(), IoErrorKind> {
        let sector = u64::from(self.info.sector_bytes);
        if self.gone {
            return Err(IoErrorKind::Gone);
        }
        if op == OpKind::Write && self.info.read_only {
            return Err(IoErrorKind::ReadOnly);
        }
        let too_long = len > u64::from(self.info.transfer_bytes_max);
        if too_long || !at.is_multiple_of(sector) || !len.is_multiple_of(sector) {
            return Err(IoErrorKind::Unaligned);
        }
        if at.checked_add(len).is_none_or(|end| end > self.info.bytes) {
            return Err(IoErrorKind::OutOfRange);
        }
        Ok(())
    }
}

/// A background job that has ended, with the number of its guest before it.
type Ended = (u64, Job, Result<(), IoErrorKind>);

pub(super) struct State {
    pub rng: Rng,
    pub clock_ns: u64,
    pub jitter_ns: u64,
    pub deadline_ns: u64,
    /// When whatever is submitted hangs at the latest.
    pub until_ns: Option<u64>,
    pub events: u64,
    pub cut_at: Option<u64>,
    pub power: bool,
    /// Grows with each power cut; guests of an older one are dead.
    pub life: u64,
    pub guests: u64,
    pub devices: Vec<Device>,
    pub share_faults: Vec<(String, DiscoverError)>,
    pub rules: Vec<Rule>,
    pub in_flight: Vec<Request>,
    pub ended: Vec<Ended>,
    /// Ended jobs that their guests do not get yet.
    pub kept: Vec<Ended>,
    /// Copies of jobs that are to come back a second time ([`Fault::EndAgain`]).
    pub echoes: Vec<Ended>,
    pub hook: Option<WriteHook>,
    pub trace: Option<Vec<TraceEvent>>,
    pub trace_hash: u64,
    /// Flushes that said yes too early: their disk, what they cover, and the event at which it
    /// becomes durable.
    late_flushes: Vec<(DeviceId, u64, u64)>,
    /// Polls since the last submission.
    idle_polls: u32,
    requests: u64,
}

impl State {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            clock_ns: 0,
            jitter_ns: 50_000,
            deadline_ns: 5_000_000_000,
            until_ns: None,
            events: 0,
            cut_at: None,
            power: true,
            life: 0,
            guests: 0,
            devices: Vec::new(),
            share_faults: Vec::new(),
            rules: Vec::new(),
            in_flight: Vec::new(),
            ended: Vec::new(),
            kept: Vec::new(),
            echoes: Vec::new(),
            hook: None,
            trace: None,
            trace_hash: seed,
            late_flushes: Vec::new(),
            idle_polls: 0,
            requests: 0,
        }
    }

    pub fn device(&mut self, id: DeviceId) -> &mut Device {
        &mut self.devices[usize::from(id.0)]
    }

    /// A poll moves the clock on, and more so the longer nothing else happens, so that a caller that
    /// waits for a deadline meets it in few polls.
    pub fn idle(&mut self) {
        self.clock_ns += 1000 << (self.idle_polls / 128).min(14);
        self.idle_polls = self.idle_polls.saturating_add(1);
    }

    /// Takes a request in, or refuses it with the waiter given back.
    pub fn submit(
        &mut self,
        guest: u64,
        device: DeviceId,
        op: OpKind,
        (at, len): (u64, u64),
        waiter: Waiter,
    ) -> Result<(), (Waiter, IoErrorKind)> {
        self.idle_polls = 0;
        let number = self.requests;
        self.requests += 1;
        let Some(unit) = self.devices.get_mut(usize::from(device.0)) else {
            return Err((waiter, IoErrorKind::Gone));
        };
        let counters = &mut unit.counters;
        match op {
            OpKind::Read => {
                (counters.reads, counters.read_bytes) =
                    (counters.reads + 1, counters.read_bytes + len)
            }
            OpKind::Write => {
                (counters.writes, counters.write_bytes) =
                    (counters.writes + 1, counters.write_bytes + len)
            }
            OpKind::Flush => counters.flushes += 1,
        }
        let (fault, delay_ns) = self.draw_faults(device, op, at..at + len);
        let unit = self.device(device);
        if let Err(kind) = unit.check(op, at, len) {
            unit.counters.errors += 1;
            return Err((waiter, kind));
        }
        unit.counters.submitted(waiter.lent_bytes());
        let flush_mark = unit.medium.flush_mark();
        let hang_ns = if fault == Some(Fault::Hang) { self.deadline_ns } else { 0 };
        let jitter_ns = self.rng.below(self.jitter_ns);
        self.clock_ns += 1000;
        let ready_ns = self.clock_ns + jitter_ns + delay_ns + hang_ns;
        let (fault, ready_ns) = match self.until_ns {
            Some(until_ns) if until_ns < ready_ns => (Some(Fault::Hang), until_ns),
            _ => (fault, ready_ns),
        };
        let request =
            Request { number, guest, device, op, at, len, waiter, ready_ns, fault, flush_mark };
        self.note(&request, Step::Submit, None);
        if op == OpKind::Write {
            self.show_write(&request);
            let event = self.events + 1;
            self.device(device).log.push(WriteRecord { event, guest, at, len });
        }
        self.in_flight.push(request);
        if op != OpKind::Read && self.event_is_cut() {
            self.cut();
        }
        Ok(())
    }

    /// Ends the request with this index; `out` is the buffer of a foreground read. `None` when
    /// the power was cut just then.
    pub fn finish(
        &mut self,
        index: usize,
        out: Option<&mut [u8]>,
    ) -> Option<(Request, Result<(), IoErrorKind>)> {
        if self.in_flight[index].op != OpKind::Read && self.event_is_cut() {
            self.cut();
            return None;
        }
        let mut request = self.in_flight.swap_remove(index);
        self.clock_ns = self.clock_ns.max(request.ready_ns) + 1000;
        let result = self.take_effect(&mut request, out);
        let unit = self.device(request.device);
        unit.counters.ended(request.waiter.lent_bytes());
        unit.counters.errors += u64::from(result.is_err());
        let step = if result.is_ok() { Step::Done } else { Step::Failed };
        self.note(&request, step, result.err());
        Some((request, result))
    }

    /// Ends a background job and keeps it for its guest.
    pub fn finish_job(&mut self, index: usize) {
        if let Some((request, result)) = self.finish(index, None)
            && let ends = request.ends()
            && let Waiter::Job(mut job) = request.waiter
        {
            if !self.echoes.is_empty() && self.rng.chance(300_000) {
                let echo = self.rng.index(self.echoes.len());
                let echo = self.echoes.swap_remove(echo);
                self.ended.push(echo);
            }
            if request.fault == Some(Fault::EndAgain) {
                self.echoes.push((request.guest, copy_of(&job), result));
            }
            if ends > 1 {
                self.ended.push((request.guest, copy_of(&job), result));
            }
            if let Some(Fault::Rename(number)) = request.fault {
                job.tag = number.into();
            }
            let kept = request.fault == Some(Fault::Keep);
            let ended = if kept { &mut self.kept } else { &mut self.ended };
            ended.push((request.guest, job, result));
        }
    }

    /// The power goes: nothing in flight will be answered.
    pub fn cut(&mut self) {
        self.power = false;
        self.cut_at = None;
        self.late_flushes.clear();
        self.life += 1;
        let mut in_flight = std::mem::take(&mut self.in_flight);
        in_flight.sort_by_key(|request| request.number);
        for request in in_flight {
            self.note(&request, Step::Cut, None);
            let unit = self.device(request.device);
            unit.counters.ended(request.waiter.lent_bytes());
            let lost = request.fault == Some(Fault::LoseWrite);
            if request.op == OpKind::Write && !lost {
                unit.unfinished.push((request.at, request.write_bytes().into()));
            }
            if let Waiter::Job(job) = request.waiter {
                self.ended.push((request.guest, job, Err(IoErrorKind::Gone)));
            }
        }
    }

    pub fn choices(&self, device: DeviceId) -> Choices {
        let unit = &self.devices[usize::from(device.0)];
        let mut unfinished = unit.unfinished.clone();
        let mut writes: Vec<&Request> = self.in_flight.iter().collect();
        writes.retain(|request| request.device == device && request.op == OpKind::Write);
        writes.sort_by_key(|request| request.number);
        let writes = writes.iter().map(|request| (request.at, request.write_bytes().into()));
        unfinished.extend(writes);
        Choices::new(&unit.medium, &unfinished)
    }

    fn draw_faults(
        &mut self,
        device: DeviceId,
        op: OpKind,
        bytes: std::ops::Range<u64>,
    ) -> (Option<Fault>, u64) {
        let mut fault = None;
        let mut delay_ns: u64 = 0;
        for rule in &mut self.rules {
            match rule.strikes(device, op, &bytes, &mut self.rng) {
                None => {}
                Some(Fault::Delay(ns)) => delay_ns = delay_ns.saturating_add(ns),
                Some(other) => fault = fault.or(Some(other)),
            }
        }
        let unit = self.device(device);
        match fault {
            Some(Fault::Unplug) => unit.gone = true,
            Some(Fault::TurnReadOnly) => unit.info.read_only = true,
            Some(Fault::Shrink(bytes)) => {
                unit.info.bytes = bytes;
                unit.medium.resize(bytes);
            }
            _ => {}
        }
        (fault, delay_ns)
    }

    fn take_effect(
        &mut self,
        request: &mut Request,
        out: Option<&mut [u8]>,
    ) -> Result<(), IoErrorKind> {
        let failure = match request.fault {
            Some(Fault::Fail(kind)) => Some(kind),
            Some(Fault::Hang) => Some(IoErrorKind::Timeout),
            Some(Fault::ScatterWrite | Fault::LoseFlush) => Some(IoErrorKind::Device(5)),
            // What else befell the device while the request was in flight.
            _ if self.device(request.device).gone => Some(IoErrorKind::Gone),
            _ if request.at + request.len > self.device(request.device).info.bytes => {
                Some(IoErrorKind::OutOfRange)
            }
            _ => None,
        };
        if request.fault == Some(Fault::Hang) {
            self.device(request.device).gone = true;
        }
        let result = failure.map_or(Ok(()), Err);
        match request.op {
            OpKind::Read => self.fill(request, out, failure),
            OpKind::Write => self.land(request, failure.is_some()),
            OpKind::Flush => {
                let mark = request.flush_mark;
                match request.fault {
                    Some(Fault::LoseFlush) => {
                        self.device(request.device).medium.lose_volatile(mark);
                    }
                    _ if failure.is_some() => {}
                    Some(Fault::DropFlush) => {}
                    Some(Fault::EarlyFlush) => {
                        let event = self.events + 1 + self.rng.below(LATE_EVENTS);
                        self.late_flushes.push((request.device, mark, event));
                    }
                    _ => self.device(request.device).medium.complete_flush(mark),
                }
            }
        }
        result
    }

    fn fill(
        &mut self,
        request: &mut Request,
        out: Option<&mut [u8]>,
        failure: Option<IoErrorKind>,
    ) {
        let unit = &self.devices[usize::from(request.device.0)];
        let out = match (&mut request.waiter, out) {
            (Waiter::Batch(..), Some(out)) => out,
            (Waiter::Job(job), _) => {
                let buffer = job.buffer.as_mut().expect("a read job has a buffer");
                buffer.get_mut().expect("a read job holds the only handle to its buffer")
            }
            (Waiter::Batch(..), None) => return,
        };
        let stale = request.fault == Some(Fault::StaleRead);
        let source = if stale { unit.medium.previous() } else { unit.medium.current() };
        let misdirected = request.fault == Some(Fault::MisdirectRead);
        let room = unit.info.bytes.saturating_sub(request.len) / SECTOR + 1;
        let at = if misdirected { self.rng.below(room) * SECTOR } else { request.at };
        source.read(at, out);
        match (failure, request.fault) {
            (Some(IoErrorKind::Short(got)), _) => {
                let got = out.len().min(got as usize);
                self.rng.fill(&mut out[got..]);
            }
            (Some(_), _) | (None, Some(Fault::NoiseRead)) => self.rng.fill(out),
            (None, Some(Fault::FlipRead)) if !out.is_empty() => {
                let bit = self.rng.index(out.len() * 8);
                out[bit / 8] ^= 1 << (bit % 8);
            }
            _ => {}
        }
    }

    fn land(&mut self, request: &Request, failed: bool) {
        let data = request.write_bytes();
        if request.fault == Some(Fault::ScatterWrite) {
            return self.scatter(request, data);
        }
        let sectors = data.len() as u64 / SECTOR;
        let mut at = request.at;
        let mut landed = data.to_vec();
        match request.fault {
            _ if failed => landed.truncate((self.rng.below(sectors + 1) * SECTOR) as usize),
            Some(Fault::LoseWrite) => return,
            Some(Fault::MisdirectWrite(to)) => {
                let unit = &self.devices[usize::from(request.device.0)];
                let room = unit.info.bytes.saturating_sub(request.len) / SECTOR + 1;
                at = to.unwrap_or_else(|| self.rng.below(room) * SECTOR);
            }
            Some(Fault::TearWrite(kept)) => {
                let kept = kept.map_or_else(|| self.rng.index(data.len()), |kept| kept as usize);
                let kept = kept.min(data.len());
                let unit = &self.devices[usize::from(request.device.0)];
                unit.medium.current().read(at + kept as u64, &mut landed[kept..]);
            }
            _ => {}
        }
        self.device(request.device).medium.complete_write(at, &landed);
    }

    /// Writes any of the sectors.
    fn scatter(&mut self, request: &Request, data: &[u8]) {
        for (at, sector) in
            (request.at..).step_by(SECTOR as usize).zip(data.chunks(SECTOR as usize))
        {
            if self.rng.chance(500_000) {
                self.device(request.device).medium.complete_write(at, sector);
            }
        }
    }

    fn show_write(&mut self, request: &Request) {
        let Some(mut hook) = self.hook.take() else { return };
        let same = self.in_flight.iter().filter(|other| other.device == request.device);
        let writes = same.filter(|other| other.op == OpKind::Write);
        let unit = &self.devices[usize::from(request.device.0)];
        hook(&WriteSeen {
            event: self.events + 1,
            guest: request.guest,
            device: request.device,
            at: request.at,
            data: request.write_bytes(),
            foreground: matches!(request.waiter, Waiter::Batch(..)),
            medium: &unit.medium,
            in_flight: writes.map(|other| other.at..other.at + other.len).collect(),
        });
        self.hook = Some(hook);
    }

    fn event_is_cut(&mut self) -> bool {
        self.events += 1;
        while let Some(at) = self.late_flushes.iter().position(|late| late.2 <= self.events) {
            let (device, mark, _) = self.late_flushes.swap_remove(at);
            self.device(device).medium.complete_flush(mark);
        }
        self.cut_at.is_some_and(|at| self.events >= at)
    }

    fn note(&mut self, request: &Request, step: Step, error: Option<IoErrorKind>) {
        let Request { number, device, op, at, len, .. } = *request;
        let ns = self.clock_ns;
        let event = TraceEvent { ns, request: number, step, device, op, at, len, error };
        self.trace_hash = event.hash_into(self.trace_hash);
        if let Some(trace) = &mut self.trace {
            trace.push(event);
        }
    }
}
