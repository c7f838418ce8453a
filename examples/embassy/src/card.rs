//! A card with a queue of requests, and an interrupt that says that some have ended. Its bytes are a
//! file of the debugger's host; its interrupt is that of the system timer.
//!
//! Always: a request ends at an interrupt after its start, and comes back once.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m_rt::exception;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use heapless::Deque;
use rootlet::storage::{
    DeviceId, DeviceInfo, Ended, IoErrorKind, Job, JobKind, Lent, Storage, Transfer,
};
use semihosting::fs::File;
use semihosting::io::{self, Read as _, Seek as _, SeekFrom};

/// The most requests in the queue.
const QUEUE: usize = 8;
const NS_PER_INTERRUPT: u64 = 1_000_000;

/// The interrupts until now.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);
/// What an interrupt signals.
static INTERRUPT: Signal<CriticalSectionRawMutex, ()> = Signal::new();

#[exception]
fn SysTick() {
    INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    INTERRUPT.signal(());
}

/// Waits for the card's next interrupt.
pub async fn interrupt() {
    INTERRUPT.wait().await;
}

/// The card.
pub struct Card {
    info: DeviceInfo,
    work: RefCell<Work>,
}

struct Work {
    file: File,
    /// The requests that have not ended, each with the count of interrupts at its start.
    queue: Deque<(Job, u32), QUEUE>,
    /// The most requests that were in the queue at once.
    most: usize,
}

impl Card {
    /// Opens the file `name` of the folder in which the debugger runs.
    pub fn open(name: &core::ffi::CStr) -> io::Result<Self> {
        let file = File::open(name)?;
        let info = DeviceInfo::new(file.metadata()?.len(), 512).with_read_only(true);
        let work = Work { file, queue: Deque::new(), most: 0 };
        Ok(Self { info, work: RefCell::new(work) })
    }

    /// Returns the most requests that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.work.borrow().most
    }
}

impl Work {
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), IoErrorKind> {
        let failed = |_| IoErrorKind::Device(1);
        self.file.seek(SeekFrom::Start(at)).map_err(failed)?;
        self.file.read_exact(out).map_err(failed)
    }
}

impl Storage for Card {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        (device == DeviceId(0)).then_some(self.info)
    }

    // For a mount, which is before there are tasks.
    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        for (index, transfer) in batch.iter_mut().enumerate() {
            let result = match &mut transfer.lent {
                Lent::Read(out) => self.work.borrow_mut().read(transfer.at, out),
                Lent::Write(_) => Err(IoErrorKind::ReadOnly),
                Lent::Flush => Ok(()),
            };
            transfer.result = Some(result);
            done(index, transfer);
        }
    }

    fn now_ns(&self) -> u64 {
        u64::from(INTERRUPTS.load(Ordering::Relaxed)) * NS_PER_INTERRUPT
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        let work = &mut *self.work.borrow_mut();
        let now = INTERRUPTS.load(Ordering::Relaxed);
        work.queue.push_back((job, now)).map_err(|(job, _)| job)?;
        work.most = work.most.max(work.queue.len());
        Ok(())
    }

    fn poll(&self) -> Option<Ended> {
        let work = &mut *self.work.borrow_mut();
        let now = INTERRUPTS.load(Ordering::Relaxed);
        work.queue.front().filter(|(_, start)| *start != now)?;
        let (mut job, _) = work.queue.pop_front()?;
        let out = job.buffer.as_mut().and_then(|buffer| buffer.get_mut());
        let result = match (job.kind, out) {
            (JobKind::Read, Some(out)) => work.read(job.at, out),
            _ => Err(IoErrorKind::ReadOnly),
        };
        Some((job, result))
    }
}
