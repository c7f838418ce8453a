//! A storage that retries: reads, and openings of shared files, that a source has failed.
//!
//! Always: each transfer and each job ends once, with the result of its last try. Writes, flushes
//! and reads of the region are tried once; so are reads of a device that has failed to the end of
//! its patience, until it succeeds again. A read that the device did not answer is not retried: it
//! took its deadline already.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::ops::Range;

use spin::mutex::SpinMutex as Mutex;

use super::{
    DeviceId, Discover, DiscoverError, Ended, Errno, IoErrorKind, Job, JobKind, Lent, Patience,
    Storage, Tag, Transfer, UnderWay, forward,
};

const SECOND_NS: u64 = 1_000_000_000;
/// The pause before the second try.
const PAUSE_NS: u64 = 10_000_000;
/// The longest pause between two tries.
const PAUSE_NS_MAX: u64 = 500_000_000;
/// The longest single sleep in a pause.
const REST_NS: u32 = 200_000;
/// The most jobs that have failed and wait for another try or are in it, and the most devices that
/// are known to fail. Further ones are tried once.
const USUAL: usize = 64;

/// The tries of one batch, job or opening.
#[derive(Debug)]
struct Tries {
    patience: Patience,
    pause: Patience,
    pause_ns: u64,
}

impl Tries {
    fn new(now_ns: u64, patience_ns: u64) -> Self {
        let pause = Patience::new(now_ns, PAUSE_NS);
        Self { patience: Patience::new(now_ns, patience_ns), pause, pause_ns: PAUSE_NS }
    }

    /// Returns whether the pause before the next try is still on; false once the patience is over.
    fn pauses(&mut self, now_ns: u64) -> bool {
        let (lasts, pauses) = (self.patience.lasts(now_ns), self.pause.lasts(now_ns));
        lasts && pauses
    }

    /// Begins the next, doubled pause. Returns false if the patience is over.
    fn again(&mut self, now_ns: u64) -> bool {
        self.pause_ns = self.pause_ns.wrapping_mul(2).min(PAUSE_NS_MAX);
        self.pause = Patience::new(now_ns, self.pause_ns);
        self.patience.lasts(now_ns)
    }
}

/// A job that has failed, and waits for its next try.
#[derive(Debug)]
struct Waiting {
    job: Job,
    /// Its last failure.
    kind: IoErrorKind,
    tries: Tries,
}

/// A job in a further try, for which it has another tag.
#[derive(Debug)]
struct Trying {
    /// The tag that its user gave it.
    tag: Tag,
    kind: IoErrorKind,
    tries: Tries,
}

/// The jobs that have failed and are tried again.
#[derive(Debug)]
struct Jobs {
    waiting: VecDeque<Waiting>,
    trying: UnderWay<Trying>,
}

impl Jobs {
    /// Returns that there are none, with room for [`USUAL`].
    fn new() -> Self {
        Self { waiting: VecDeque::with_capacity(USUAL), trying: UnderWay::with_capacity(USUAL) }
    }

    fn is_full(&self) -> bool {
        let trying = self.trying.iter().count();
        self.waiting.len().checked_add(trying).is_none_or(|jobs| jobs >= USUAL)
    }

    /// Takes the job that has waited longest, if its pause is over, and returns it with the tag of
    /// its next try. A job whose pause is not over then waits after all others.
    #[expect(clippy::expect_used, reason = "there are at most USUAL jobs, and 2^32 tags")]
    fn next_due(&mut self, now_ns: u64) -> Option<Job> {
        let Waiting { job, kind, mut tries } = self.waiting.pop_front()?;
        if tries.pauses(now_ns) {
            self.waiting.push_back(Waiting { job, kind, tries });
            return None;
        }
        let tag = self.trying.depart(Trying { tag: job.tag, kind, tries }).expect("a tag");
        Some(Job { tag, ..job })
    }

    /// Takes back a job whose try, by the tag `tried`, its device had no room for.
    fn refused(&mut self, tried: Tag, job: Job) {
        if let Some(Trying { tag, kind, tries }) = self.trying.end(tried) {
            self.waiting.push_back(Waiting { job: Job { tag, ..job }, kind, tries });
        }
    }
}

/// The rules that say what is tried again.
#[derive(Debug)]
struct Policy {
    patience_ns: u64,
    /// The region's device, and the bytes of the region on it.
    region: Option<(DeviceId, Range<u64>)>,
}

/// The devices whose last read failed to the end of its patience.
#[derive(Clone, Debug)]
struct Failing(heapless::Vec<DeviceId, USUAL>);

impl Policy {
    /// Returns whether a read at byte `at` that failed with `kind` is tried again.
    fn is_worth_it(&self, device: DeviceId, at: u64, kind: IoErrorKind) -> bool {
        let regions = |(of, part): &(DeviceId, Range<u64>)| *of == device && part.contains(&at);
        answers(kind) && self.patience_ns > 0 && !self.region.as_ref().is_some_and(regions)
    }
}

impl Failing {
    fn has(&self, device: DeviceId) -> bool {
        self.0.contains(&device)
    }

    fn gave_up(&mut self, device: DeviceId) {
        if !self.has(device) && !self.0.is_full() {
            self.0.extend([device]);
        }
    }

    fn answered(&mut self, device: DeviceId) {
        self.0.retain(|failing| *failing != device);
    }
}

/// Returns whether a failure is an answer of the device, as opposed to its silence or our misuse.
fn answers(kind: IoErrorKind) -> bool {
    matches!(kind, IoErrorKind::Device(_) | IoErrorKind::Short(_) | IoErrorKind::Forgotten)
}

/// Returns whether a retry of an opening may help: the file was not plainly absent or refused.
fn may_pass(error: DiscoverError) -> bool {
    match error {
        DiscoverError::Share(errno) => Errno(errno).may_pass(),
        DiscoverError::Daemon(kind) => answers(kind),
        _ => false,
    }
}

/// A storage that retries failed reads of the storage below for some seconds.
#[derive(Debug)]
pub struct Retry<S> {
    inner: S,
    policy: Policy,
    failing: Mutex<Failing>,
    /// Not locked while a job is started.
    jobs: Mutex<Jobs>,
}

impl<S> Retry<S> {
    /// Wraps the storage `inner`: reads and openings of shared files are retried for `seconds`.
    /// Reads of `region`, a range of bytes of a device, are tried once: those bytes have a source.
    pub fn new(inner: S, seconds: u32, region: Option<(DeviceId, Range<u64>)>) -> Self {
        // 2^32 seconds are less than 2^64 nanoseconds.
        let patience_ns = u64::from(seconds).wrapping_mul(SECOND_NS);
        // Allocated now: a machine may have no memory left after the mount.
        let jobs = Mutex::new(Jobs::new());
        let failing = Mutex::new(Failing(heapless::Vec::new()));
        Self { inner, policy: Policy { patience_ns, region }, failing, jobs }
    }

    /// Returns the storage below.
    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

/// Returns the result of a read; `None` for a write, a flush, and a transfer without a result.
fn read_result(transfer: &Transfer<'_>) -> Option<Result<(), IoErrorKind>> {
    transfer.result.filter(|_| matches!(transfer.lent, Lent::Read(_)))
}

impl<S: Storage> Retry<S> {
    /// Retries the failed reads of a batch, one by one, and calls `done` for each as it ends.
    #[cold]
    fn run_again<'b>(
        &self,
        batch: &mut [Transfer<'b>],
        failing: &Failing,
        done: &mut dyn FnMut(usize, &mut Transfer<'b>),
    ) {
        let mut tries = Tries::new(self.inner.now_ns(), self.policy.patience_ns);
        let mut is_left = true;
        while is_left {
            while tries.pauses(self.inner.now_ns()) {
                self.inner.rest(REST_NS);
            }
            let is_last = !tries.again(self.inner.now_ns());
            is_left = false;
            for (index, transfer) in batch.iter_mut().enumerate() {
                if !self.is_tried_again(transfer, failing) {
                    continue;
                }
                self.inner.run(core::slice::from_mut(transfer), &mut |_, _| {});
                if is_last || !self.is_tried_again(transfer, failing) {
                    done(index, transfer);
                } else {
                    is_left = true;
                }
            }
            if is_last {
                for transfer in batch.iter() {
                    if self.is_tried_again(transfer, failing) {
                        self.failing.lock().gave_up(transfer.device);
                    }
                }
            }
        }
    }

    /// Returns whether a transfer of a batch has failed and is tried again; `failing` are the
    /// devices that failed when the batch began, so that the answer stays the same.
    fn is_tried_again(&self, transfer: &Transfer<'_>, failing: &Failing) -> bool {
        let (device, at) = (transfer.device, transfer.at);
        matches!(read_result(transfer), Some(Err(kind)) if self.policy.is_worth_it(device, at, kind))
            && !failing.has(device)
    }

    /// Starts the jobs whose pause is over.
    fn start_due(&self) {
        let waiting = self.jobs.lock().waiting.len();
        if waiting == 0 {
            return;
        }
        let now_ns = self.inner.now_ns();
        // Each of them once.
        for _ in 0..waiting {
            let Some(job) = self.next_due(now_ns) else { continue };
            let tag = job.tag;
            if let Err(job) = self.inner.start(job) {
                self.jobs.lock().refused(tag, job);
            }
        }
    }

    /// As [`Jobs::next_due`]. The jobs are not locked any more when it returns.
    fn next_due(&self, now_ns: u64) -> Option<Job> {
        self.jobs.lock().next_due(now_ns)
    }

    /// Holds an ended job back for another try; returns it if it has succeeded or is not retried.
    fn hold(&self, (job, result): Ended) -> Option<Ended> {
        let mut jobs = self.jobs.lock();
        let (job, tries) = match jobs.trying.end(job.tag) {
            Some(Trying { tag, tries, .. }) => (Job { tag, ..job }, Some(tries)),
            None => (job, None),
        };
        let kind = match result {
            Err(kind) if self.is_job_tried_again(&job, kind) => kind,
            Err(_) => return Some((job, result)),
            Ok(()) => {
                if job.kind == JobKind::Read {
                    self.failing.lock().answered(job.device);
                }
                return Some((job, result));
            }
        };
        let now_ns = self.inner.now_ns();
        let is_first = tries.is_none();
        let mut tries = tries.unwrap_or_else(|| Tries::new(now_ns, self.policy.patience_ns));
        if !is_first && !tries.again(now_ns) {
            self.failing.lock().gave_up(job.device);
            return Some((job, result));
        }
        if jobs.is_full() {
            return Some((job, result));
        }
        jobs.waiting.push_back(Waiting { job, kind, tries });
        None
    }

    fn is_job_tried_again(&self, job: &Job, kind: IoErrorKind) -> bool {
        let is_whole_read = job.kind == JobKind::Read && job.buffer.is_some();
        let is_worth_it = self.policy.is_worth_it(job.device, job.at, kind);
        is_whole_read && is_worth_it && !self.failing.lock().has(job.device)
    }
}

// A method that is forgotten here would forget the storage below.
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> Storage for Retry<S> {
    forward! { self, self.inner;
        info view vouch objects object object_node prove_object open_file close_file whole set_deadline now_ns clock
        unlocked locking start has_work work rest unique
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        let failing = self.failing.lock().clone();
        let mut is_left = false;
        self.inner.run(
            batch,
            &mut |index, transfer| match self.is_tried_again(transfer, &failing) {
                true => is_left = true,
                false => done(index, transfer),
            },
        );
        if is_left {
            self.run_again(batch, &failing, done);
        }
        let mut failing = self.failing.lock();
        if !failing.0.is_empty() {
            let fine = batch.iter().filter(|one| read_result(one) == Some(Ok(())));
            fine.for_each(|one| failing.answered(one.device));
        }
    }

    fn poll(&self) -> Option<Ended> {
        self.start_due();
        loop {
            let ended = self.inner.poll()?;
            if let Some(ended) = self.hold(ended) {
                return Some(ended);
            }
        }
    }

    /// Returns the sum of the first try, the patience of the policy, and a last try at its end.
    fn patience_ns(&self) -> u64 {
        let tries_ns = self.inner.patience_ns().checked_mul(2);
        let all_ns = tries_ns.and_then(|ns| ns.checked_add(self.policy.patience_ns));
        // 584 years: without bound.
        let Some(all_ns) = all_ns else { return u64::MAX };
        all_ns
    }
}

// A method that is forgotten here would forget the storage below.
#[deny(clippy::missing_trait_methods)]
impl<S: Discover> Discover for Retry<S> {
    forward! { self, self.inner; disk disks part enciphered set_version set_expendable }

    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        let mut tries: Option<Tries> = None;
        loop {
            let found = self.inner.share_file(mount_tag, name);
            if !found.as_ref().is_err_and(|error| may_pass(*error)) {
                return found;
            }
            let (now_ns, patience_ns) = (self.inner.now_ns(), self.policy.patience_ns);
            let is_first = tries.is_none();
            let tries = tries.get_or_insert_with(|| Tries::new(now_ns, patience_ns));
            if patience_ns == 0 || !is_first && !tries.again(now_ns) {
                return found;
            }
            while tries.pauses(self.inner.now_ns()) {
                self.inner.rest(REST_NS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
    use super::*;
    use crate::{Buffer, DeviceInfo, Version};
    use alloc::vec::Vec;
    use core::cell::{Cell, RefCell};
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    const SOURCE: DeviceId = DeviceId(0);
    const REGION: DeviceId = DeviceId(1);

    /// Devices that fail until some moment of a clock that moves while somebody rests.
    #[derive(Default)]
    struct Flaky {
        now_ns: Cell<u64>,
        well_at_ns: u64,
        kind: Option<IoErrorKind>,
        tries: RefCell<Vec<u64>>,
        ended: RefCell<VecDeque<Ended>>,
    }

    impl Flaky {
        fn result(&self) -> Result<(), IoErrorKind> {
            self.tries.borrow_mut().push(self.now_ns.get());
            let is_well = self.now_ns.get() >= self.well_at_ns;
            if is_well { Ok(()) } else { Err(self.kind.unwrap_or(IoErrorKind::Device(1))) }
        }
    }

    impl Storage for Flaky {
        fn info(&self, _: DeviceId) -> Option<DeviceInfo> {
            None
        }

        fn run<'b>(
            &self,
            batch: &mut [Transfer<'b>],
            done: &mut dyn FnMut(usize, &mut Transfer<'b>),
        ) {
            for (index, transfer) in batch.iter_mut().enumerate() {
                transfer.result = Some(self.result());
                done(index, transfer);
            }
        }

        fn now_ns(&self) -> u64 {
            self.now_ns.get()
        }

        fn start(&self, job: Job) -> Result<(), Job> {
            let result = self.result();
            self.ended.borrow_mut().push_back((job, result));
            Ok(())
        }

        fn poll(&self) -> Option<Ended> {
            self.ended.borrow_mut().pop_front()
        }

        fn rest(&self, ns: u32) {
            self.now_ns.set(self.now_ns.get().wrapping_add(ns.into()));
        }
    }

    fn retry(well_at_ns: u64) -> Retry<Flaky> {
        let flaky = Flaky { well_at_ns, ..Flaky::default() };
        Retry::new(flaky, 5, Some((REGION, 0..u64::MAX)))
    }

    /// Reads of a device; how each of them ended, and that each did once.
    fn read(storage: &mut Retry<Flaky>, device: DeviceId) -> Vec<Option<Result<(), IoErrorKind>>> {
        let (mut one, mut two) = ([0; 4], [0; 4]);
        let mut batch = [Transfer::read(device, 0, &mut one), Transfer::read(device, 4, &mut two)];
        let mut reported = [0; 2];
        storage.run(&mut batch, &mut |index, _| {
            if let Some(times) = reported.get_mut(index) {
                *times = i32::wrapping_add(*times, 1);
            }
        });
        assert_eq!(reported, [1; 2]);
        batch.iter().map(|transfer| transfer.result).collect()
    }

    #[test]
    fn error_that_passes_within_the_time_is_no_error_of_the_read() {
        let mut storage = retry(3 * SECOND_NS);
        assert_eq!(read(&mut storage, SOURCE), [Some(Ok(())); 2]);
        let tries = storage.inner.tries.borrow();
        assert!((8..40).contains(&tries.len()), "pauses grow: {tries:?}");
        assert!(storage.inner.now_ns.get() < 4 * SECOND_NS);
    }

    #[test]
    fn error_that_stays_is_that_of_the_read_and_the_device_is_asked_once_until_it_answers() {
        let mut storage = retry(20 * SECOND_NS);
        let failed = [Some(Err(IoErrorKind::Device(1))); 2];
        assert_eq!(read(&mut storage, SOURCE), failed);
        let took = storage.inner.now_ns.get();
        assert!((5 * SECOND_NS..6 * SECOND_NS).contains(&took), "{took}");
        assert_eq!(read(&mut storage, SOURCE), failed);
        assert_eq!(storage.inner.now_ns.get(), took, "tried once");
        storage.inner.now_ns.set(20 * SECOND_NS);
        assert_eq!(read(&mut storage, SOURCE), [Some(Ok(())); 2]);
        storage.inner.well_at_ns = 22 * SECOND_NS;
        assert_eq!(read(&mut storage, SOURCE), [Some(Ok(())); 2], "worth some tries again");
    }

    #[test]
    fn region_writes_and_silence_are_tried_once() {
        let mut storage = retry(SECOND_NS);
        assert_eq!(read(&mut storage, REGION), [Some(Err(IoErrorKind::Device(1))); 2]);
        let data = [0; 4];
        let mut batch = [Transfer::write(SOURCE, 0, &data), Transfer::flush(SOURCE)];
        storage.run(&mut batch, &mut |_, _| {});
        assert!(batch.iter().all(|one| one.result == Some(Err(IoErrorKind::Device(1)))));
        for kind in
            [IoErrorKind::Timeout, IoErrorKind::Gone, IoErrorKind::OutOfRange, IoErrorKind::Changed]
        {
            storage.inner.kind = Some(kind);
            assert_eq!(read(&mut storage, SOURCE), [Some(Err(kind)); 2]);
        }
        assert_eq!(storage.inner.now_ns.get(), 0, "nobody waited");
    }

    /// Starts a read and polls until it ends, resting in between.
    fn job(storage: &mut Retry<Flaky>) -> (Result<(), IoErrorKind>, bool) {
        let (kind, buffer) = (JobKind::Read, Some(Buffer::new(4)));
        let job = Job { tag: Tag::from(7), device: SOURCE, at: 0, kind, buffer };
        assert!(storage.start(job).is_ok());
        let ended = (0..1_000_000).find_map(|_| {
            storage.rest(REST_NS);
            storage.poll()
        });
        let Some((job, result)) = ended else { return (Err(IoErrorKind::Gone), false) };
        let jobs = storage.jobs.lock();
        assert_eq!((job.tag, jobs.waiting.len(), jobs.trying.iter().count()), (Tag::from(7), 0, 0));
        (result, job.buffer.is_some())
    }

    #[test]
    fn job_is_tried_as_long_as_a_read_and_ends_once() {
        let mut storage = retry(3 * SECOND_NS);
        assert_eq!(job(&mut storage), (Ok(()), true));
        let mut storage = retry(20 * SECOND_NS);
        assert_eq!(job(&mut storage), (Err(IoErrorKind::Device(1)), true));
        let took = storage.inner.now_ns.get();
        assert!((5 * SECOND_NS..6 * SECOND_NS).contains(&took), "{took}");
        assert_eq!(job(&mut storage), (Err(IoErrorKind::Device(1)), true));
        assert!(storage.inner.now_ns.get() < took + SECOND_NS, "tried once");
    }

    /// Another thread learns that a device fails while a batch of this one is under way.
    #[test]
    fn device_that_is_given_up_meanwhile_leaves_no_transfer_untold() {
        let flaky = Flaky { well_at_ns: SECOND_NS, ..Flaky::default() };
        let storage = Retry::new(flaky, 5, Some((REGION, 0..u64::MAX)));
        let (mut one, mut two) = ([0; 4], [0; 4]);
        let mut batch = [Transfer::read(SOURCE, 0, &mut one), Transfer::read(REGION, 4, &mut two)];
        let mut reported = Vec::new();
        storage.run(&mut batch, &mut |index, _| {
            reported.push(index);
            storage.failing.lock().gave_up(SOURCE);
        });
        assert_eq!(reported, [1, 0]);
        assert_eq!(batch[0].result, Some(Ok(())));
    }

    /// Another thread reads from a device that had failed while a batch of this one is under way.
    #[test]
    fn device_that_answers_meanwhile_has_no_transfer_told_twice() {
        let other = DeviceId(2);
        let flaky = Flaky { well_at_ns: SECOND_NS, ..Flaky::default() };
        let storage = Retry::new(flaky, 5, None);
        storage.failing.lock().gave_up(SOURCE);
        let (mut one, mut two) = ([0; 4], [0; 4]);
        let mut batch = [Transfer::read(SOURCE, 0, &mut one), Transfer::read(other, 4, &mut two)];
        let mut reported = Vec::new();
        storage.run(&mut batch, &mut |index, _| {
            reported.push(index);
            storage.failing.lock().answered(SOURCE);
        });
        assert_eq!(reported, [0, 1]);
        assert_eq!(batch[0].result, Some(Err(IoErrorKind::Device(1))), "tried once");
    }

    /// The first of two jobs that their user calls alike has failed, and waits; the second has not.
    #[test]
    fn jobs_that_are_called_alike_have_their_tries_each() {
        let storage = retry(3 * SECOND_NS);
        let job = |device| {
            let (kind, buffer) = (JobKind::Read, Some(Buffer::new(4)));
            Job { tag: Tag::from(7), device, at: 0, kind, buffer }
        };
        assert!(storage.start(job(SOURCE)).is_ok() && storage.poll().is_none());
        assert!(storage.start(job(REGION)).is_ok());
        let ended = storage.poll().map(|(job, result)| (job.device, result));
        assert_eq!(ended, Some((REGION, Err(IoErrorKind::Device(1)))), "not retried");
        assert_eq!(storage.jobs.lock().waiting.len(), 1);
        let ended = (0..1_000_000).find_map(|_| {
            storage.rest(REST_NS);
            storage.poll()
        });
        let ended = ended.map(|(job, result)| (job.tag, job.device, result));
        assert_eq!(ended, Some((Tag::from(7), SOURCE, Ok(()))));
    }

    /// A device that fails once, and then takes a job only when the storage was polled meanwhile.
    #[derive(Default)]
    struct Gate {
        looks: AtomicU32,
        starts: AtomicU32,
        polled: AtomicBool,
        is_late: AtomicBool,
        ended: std::sync::Mutex<VecDeque<Ended>>,
    }

    impl Storage for Gate {
        fn info(&self, _: DeviceId) -> Option<DeviceInfo> {
            None
        }

        fn run<'b>(&self, _: &mut [Transfer<'b>], _: &mut dyn FnMut(usize, &mut Transfer<'b>)) {}

        fn now_ns(&self) -> u64 {
            u64::from(self.looks.fetch_add(1, Ordering::Relaxed)).wrapping_mul(PAUSE_NS)
        }

        fn start(&self, job: Job) -> Result<(), Job> {
            let is_first = self.starts.fetch_add(1, Ordering::SeqCst) == 0;
            let since = std::time::Instant::now();
            while !is_first && !self.polled.load(Ordering::SeqCst) {
                if since.elapsed().as_secs() >= 5 {
                    self.is_late.store(true, Ordering::SeqCst);
                    break;
                }
            }
            let result = if is_first { Err(IoErrorKind::Device(1)) } else { Ok(()) };
            self.ended.lock().unwrap().push_back((job, result));
            Ok(())
        }

        fn poll(&self) -> Option<Ended> {
            self.ended.lock().unwrap().pop_front()
        }
    }

    #[test]
    fn device_that_is_slow_to_take_a_job_keeps_nobody_else_from_polling() {
        let storage = Retry::new(Gate::default(), 5, None);
        let (kind, buffer) = (JobKind::Read, Some(Buffer::new(4)));
        let job = Job { tag: Tag::from(7), device: SOURCE, at: 0, kind, buffer };
        assert!(storage.start(job).is_ok() && storage.poll().is_none());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while storage.inner.starts.load(Ordering::SeqCst) < 2 {
                    storage.poll();
                }
            });
            while storage.inner.starts.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            storage.poll();
            storage.inner.polled.store(true, Ordering::SeqCst);
        });
        assert!(!storage.inner.is_late.load(Ordering::SeqCst));
    }

    /// The second of two reads is one of the region on the same device.
    #[test]
    fn source_beside_the_region_on_its_device_is_tried_again() {
        let flaky = Flaky { well_at_ns: SECOND_NS, ..Flaky::default() };
        let mut storage = Retry::new(flaky, 5, Some((REGION, 4..8)));
        let failed = Some(Err(IoErrorKind::Device(1)));
        assert_eq!(read(&mut storage, REGION), [Some(Ok(())), failed]);
    }

    impl Discover for Flaky {
        fn disk(&mut self, _: &str) -> Result<DeviceId, DiscoverError> {
            Err(DiscoverError::NotFound)
        }

        fn share_file(&mut self, _: Option<&str>, name: &str) -> Result<DeviceId, DiscoverError> {
            let failed = name.parse().map_or(DiscoverError::NotFound, DiscoverError::Share);
            self.result().map(|()| SOURCE).map_err(|_| failed)
        }

        fn disks(&mut self, _: &mut dyn FnMut(&str, DeviceId)) {}

        fn set_version(&mut self, _: DeviceId, _: Version) {}
    }

    #[test]
    fn opening_that_fails_is_tried_as_long_as_a_read_unless_there_is_no_such_file() {
        let mut storage = retry(3 * SECOND_NS);
        assert_eq!(storage.share_file(None, "5"), Ok(SOURCE));
        let mut storage = retry(20 * SECOND_NS);
        assert_eq!(storage.share_file(None, "5"), Err(DiscoverError::Share(5)));
        let took = storage.inner.now_ns.get();
        assert!((5 * SECOND_NS..6 * SECOND_NS).contains(&took), "{took}");
        for (name, errno) in [("2", 2), ("13", 13), ("40", 40)] {
            assert_eq!(storage.share_file(None, name), Err(DiscoverError::Share(errno)));
        }
        assert_eq!(storage.share_file(None, "x"), Err(DiscoverError::NotFound));
        assert_eq!(storage.inner.now_ns.get(), took, "asked once each");
        let mut storage = Retry::new(Flaky { well_at_ns: 1, ..Flaky::default() }, 0, None);
        assert_eq!(storage.share_file(None, "5"), Err(DiscoverError::Share(5)));
        assert_eq!(storage.inner.tries.borrow().len(), 1);
    }

    #[test]
    fn no_time_is_no_second_try() {
        let mut storage = Retry::new(Flaky { well_at_ns: 1, ..Flaky::default() }, 0, None);
        assert!(read(&mut storage, SOURCE).iter().all(|result| result.is_some_and(|r| r.is_err())));
        assert_eq!(storage.inner.tries.borrow().len(), 2);
    }
}
