//! Disks in memory, each batch of which takes 100 us beside all others: by the clock of the machine,
//! or by one that stands still while a reader works.
//!
//! Always: a background job takes no time, as with a disk that has a cache for writes, but for those
//! reads that futures wait for ([`Disks::slow_reads`]). The virtual
//! clock moves when all readers wait, to the first moment that one waits for: the
//! figures are of waiting, not of work.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, Ended, IoErrorKind, Job, JobKind, Lent, Storage,
    Transfer, Version, only,
};

/// How long a batch takes.
pub const LATENCY: Duration = Duration::from_micros(100);

/// Disks in memory.
pub struct Disks {
    disks: Vec<(&'static str, RwLock<Vec<u8>>)>,
    /// Jobs that end, with the moments at which they do.
    ended: Mutex<VecDeque<(u64, Ended)>>,
    /// Whether a job that reads takes as long as a batch.
    has_slow_reads: bool,
    clock: Clock,
}

/// The time that disks take.
pub enum Clock {
    /// That of the machine.
    Real(Instant),
    /// One that moves when all readers wait.
    Virtual(Mutex<Moments>, Condvar),
}

/// The moments of a virtual clock.
#[derive(Default)]
pub struct Moments {
    now_ns: u64,
    /// What each waiting reader waits for.
    awaited_ns: Vec<u64>,
    readers: usize,
}

impl Clock {
    /// The clock of the machine.
    pub fn real() -> Self {
        Self::Real(Instant::now())
    }

    /// A virtual clock, for one reader.
    pub fn virtual_() -> Self {
        Self::Virtual(Mutex::new(Moments { readers: 1, ..Moments::default() }), Condvar::new())
    }

    fn now_ns(&self) -> u64 {
        match self {
            Self::Real(since) => since.elapsed().as_nanos() as u64,
            Self::Virtual(moments, _) => moments.lock().unwrap().now_ns,
        }
    }

    fn wait(&self, time: Duration) {
        let (moments, changed) = match self {
            Self::Real(_) => return thread::sleep(time),
            Self::Virtual(moments, changed) => (moments, changed),
        };
        let mut moments = moments.lock().unwrap();
        let until_ns = moments.now_ns + time.as_nanos() as u64;
        moments.awaited_ns.push(until_ns);
        moments.go_on(changed);
        while moments.now_ns < until_ns {
            moments = changed.wait(moments).unwrap();
        }
    }
}

impl Moments {
    /// Moves the clock if nobody works.
    fn go_on(&mut self, changed: &Condvar) {
        let Some(first_ns) = self.awaited_ns.iter().copied().min() else { return };
        if self.awaited_ns.len() >= self.readers {
            self.now_ns = first_ns;
            self.awaited_ns.retain(|awaited_ns| *awaited_ns > first_ns);
            changed.notify_all();
        }
    }
}

impl Disks {
    /// Disks with these names and bytes.
    pub fn new(clock: Clock, disks: Vec<(&'static str, Vec<u8>)>) -> Self {
        let whole = |mut bytes: Vec<u8>| {
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            RwLock::new(bytes)
        };
        let disks = disks.into_iter().map(|(name, bytes)| (name, whole(bytes))).collect();
        Self { disks, ended: Mutex::default(), has_slow_reads: false, clock }
    }

    /// Has each job that reads take as long as a batch.
    pub fn slow_reads(&mut self) {
        self.has_slow_reads = true;
    }

    /// Waits until the next job ends.
    pub fn wait_for_job(&self) {
        let next = self.ended.lock().unwrap().iter().map(|(ends_ns, _)| *ends_ns).min();
        let Some(next_ns) = next else { return };
        match &self.clock {
            Clock::Virtual(moments, _) => {
                let moments = &mut moments.lock().unwrap();
                moments.now_ns = moments.now_ns.max(next_ns);
            }
            // A sleep takes longer than what is left.
            Clock::Real(_) => std::hint::spin_loop(),
        }
    }

    /// Says how many readers there are.
    pub fn set_readers(&self, readers: usize) {
        if let Clock::Virtual(moments, _) = &self.clock {
            moments.lock().unwrap().readers = readers;
        }
    }

    /// Says that a reader has ended.
    pub fn ends(&self) {
        if let Clock::Virtual(moments, changed) = &self.clock {
            let mut moments = moments.lock().unwrap();
            moments.readers -= 1;
            moments.go_on(changed);
        }
    }

    fn move_bytes(&self, device: DeviceId, at: u64, lent: Lent<'_>) {
        let (disk, at) = (&self.disks[usize::from(device.0)].1, at as usize);
        match lent {
            Lent::Read(out) => out.copy_from_slice(&disk.read().unwrap()[at..][..out.len()]),
            Lent::Write(data) => disk.write().unwrap()[at..][..data.len()].copy_from_slice(data),
            Lent::Flush => {}
        }
    }
}

impl Storage for Disks {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        let (_, disk) = self.disks.get(usize::from(device.0))?;
        Some(DeviceInfo::new(disk.read().unwrap().len() as u64, 512))
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        self.clock.wait(LATENCY);
        for (index, transfer) in batch.iter_mut().enumerate() {
            let lent = match &mut transfer.lent {
                Lent::Read(out) => Lent::Read(out),
                Lent::Write(data) => Lent::Write(data),
                Lent::Flush => Lent::Flush,
            };
            self.move_bytes(transfer.device, transfer.at, lent);
            transfer.result = Some(Ok(()));
            done(index, transfer);
        }
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn start(&self, mut job: Job) -> Result<(), Job> {
        let lent = match (job.kind, &mut job.buffer) {
            (JobKind::Read, Some(buffer)) => buffer.get_mut().map(Lent::Read),
            (JobKind::Write, Some(buffer)) => Some(Lent::Write(buffer)),
            _ => Some(Lent::Flush),
        };
        let result = lent.map(|lent| self.move_bytes(job.device, job.at, lent));
        let is_slow = self.has_slow_reads && job.kind == JobKind::Read;
        let takes = if is_slow { LATENCY } else { Duration::ZERO };
        let ends_ns = self.clock.now_ns() + takes.as_nanos() as u64;
        let ended = (job, result.ok_or(IoErrorKind::Protocol));
        self.ended.lock().unwrap().push_back((ends_ns, ended));
        Ok(())
    }

    fn poll(&self) -> Option<Ended> {
        let now_ns = self.clock.now_ns();
        let ended = &mut *self.ended.lock().unwrap();
        let next = ended.iter().position(|(ends_ns, _)| *ends_ns <= now_ns)?;
        ended.remove(next).map(|(_, ended)| ended)
    }

    fn rest(&self, ns: u32) {
        self.clock.wait(Duration::from_nanos(ns.into()));
    }
}

impl Discover for Disks {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        let disks = (0..).map(DeviceId).zip(&self.disks);
        only(disks.filter(|(_, disk)| disk.0 == name).map(|(device, _)| device))
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        for (number, (name, _)) in (0..).zip(&self.disks) {
            each(name, DeviceId(number));
        }
    }

    fn set_version(&mut self, _: DeviceId, _: Version) {}
}
