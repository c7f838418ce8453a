//! Futures without a heap: a storage that stops a read where it would wait, and takes it again.
//!
//! Always: a device is lent blocks of [`SlotMemory`] and nothing of a reader, so a future may be
//! dropped at any moment. A block is copied for the reader whose read has brought it, after its own
//! read has ended. A wait ends: a block that does not come back is given up after
//! [`BlockQueue::patience_ns`].

mod table;
#[cfg(test)]
mod tests;

use core::cell::RefCell;
use core::fmt;
use core::future::poll_fn;
use core::task::{Poll, Waker};

use super::{
    DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind, Lent, Patience, Storage, Transfer,
};
use rootlet_base::num::wide;
use rootlet_base::units::{ByteRange, Fill, Pow2, count};
pub use table::{BlockRead, SlotMemory};
use table::{Found, Place, Table};

/// The most reads whose end one call takes.
const ENDED_MAX: usize = 64;
/// The bytes of a block.
const BLOCK_BYTES: u64 = 4096;

/// Devices that read a block at a time into memory that they are lent: a driver with a queue, on a
/// machine without a heap.
pub trait BlockQueue {
    /// Returns the properties of `device`; `None` if there is no such device.
    fn info(&self, device: DeviceId) -> Option<DeviceInfo>;

    /// Submits a read, or returns the read at once if the device has no room for it.
    ///
    /// # Errors
    /// The read itself.
    fn start(&self, read: BlockRead) -> Result<(), BlockRead>;

    /// Returns a read that has ended, in any order, with its result; `None` if none has ended. Never
    /// waits.
    fn poll(&self) -> Option<(BlockRead, Result<(), IoErrorKind>)>;

    /// Returns the nanoseconds since some fixed moment, as [`Storage::now_ns`] does.
    fn now_ns(&self) -> u64;

    /// Returns the most nanoseconds from the start of a read to its end.
    fn patience_ns(&self) -> u64 {
        60_000_000_000
    }

    /// Returns the disk with this serial, as [`Discover::disk`] does. Asked at a mount alone.
    ///
    /// # Errors
    /// [`DiscoverError::NotFound`] where disks have no serials, as here.
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        let _ = serial;
        Err(DiscoverError::NotFound)
    }
}

/// A storage over a [`BlockQueue`] whose mount is read by up to `TASKS` futures at once, without a
/// heap, by one executor. Each future has `BLOCKS` blocks of 4 KiB.
///
/// [`ReadSlots::reading`] makes a future of any read that waits. Outside of it a read of the mount
/// waits for one block after another.
pub struct ReadSlots<Q, const TASKS: usize, const BLOCKS: usize> {
    queue: Q,
    table: RefCell<Table<TASKS, BLOCKS>>,
}

impl<Q: BlockQueue, const TASKS: usize, const BLOCKS: usize> ReadSlots<Q, TASKS, BLOCKS> {
    /// Returns a storage that reads into `memory`.
    pub fn new(queue: Q, memory: &'static mut SlotMemory<TASKS, BLOCKS>) -> Self {
        Self { queue, table: RefCell::new(Table::new(memory)) }
    }

    /// Returns the devices.
    pub const fn queue(&self) -> &Q {
        &self.queue
    }

    /// Returns how many reads of futures had to wait for the device in a poll: they needed more than
    /// `BLOCKS` blocks at once, or the queue took none.
    pub fn blocked_reads(&self) -> u64 {
        self.table.borrow().blocked_reads
    }

    /// Calls `read`, which reads a mount over this storage, and returns its result. Where a read
    /// would wait for bytes, it fails instead; the future waits until some of them are here, and
    /// calls `read` again. So `read` begins at its beginning each time, and its last call alone
    /// counts.
    ///
    /// ```ignore
    /// let slots = root.storage();
    /// let inode = slots.reading(|| root.metadata(b"/data")).await?;
    /// let len = slots.reading(|| root.open_inode(inode)?.read_at(0, &mut out)).await?;
    /// ```
    /// Devices work while somebody polls a future of this storage or calls [`ReadSlots::drive`]. A
    /// future beyond `TASKS` waits until another one has ended. It may be dropped at any moment.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn reading<T, E>(&self, mut read: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        let mut owner = Owner { slots: self, task: None };
        poll_fn(|context| owner.poll(context.waker(), &mut read)).await
    }

    /// Takes what devices have ended, and wakes the futures that wait for it. Returns whether
    /// anything has ended. Never waits.
    ///
    /// The idle loop of an executor calls this, or a task that an interrupt wakes. Wakers are called
    /// after nothing of the storage is locked.
    pub fn drive(&self) -> bool {
        let mut ended = false;
        for _ in 0..ENDED_MAX {
            let Some((read, result)) = self.queue.poll() else { break };
            ended = true;
            let waker = self.table.borrow_mut().land(read, result);
            waker.into_iter().for_each(Waker::wake);
        }
        let now_ns = self.queue.now_ns();
        self.wake_each(|table| table.give_up_late(now_ns));
        if ended {
            self.wake_each(Table::next_refused);
        }
        self.wake_each(Table::next_waiting);
        ended
    }

    /// Wakes all that `next` returns, one after another, with nothing locked.
    fn wake_each(&self, next: impl Fn(&mut Table<TASKS, BLOCKS>) -> Option<Waker>) {
        loop {
            let waker = next(&mut self.table.borrow_mut());
            let Some(waker) = waker else { break };
            waker.wake();
        }
    }

    /// Fills `out` from byte `at` of a device on.
    fn read(&self, device: DeviceId, at: u64, out: &mut [u8]) -> Result<(), IoErrorKind> {
        let info = self.info(device).ok_or(IoErrorKind::Gone)?;
        info.check_transfer(at, out.len())?;
        let unit = unit(&info);
        let mut rest = ByteRange::sized(at, wide(out.len())).ok_or(IoErrorKind::OutOfRange)?;
        let (mut out, mut lacks) = (Fill::new(out), false);
        while let Some(here) = rest.non_empty() {
            let part = unit.front(here);
            rest = here.skip(part.len());
            let whole = ByteRange::first(info.bytes).skip(unit.floor(part.start()));
            let place = Place { device, whole: whole.take(unit.get()) };
            let Ok(out) = out.next(part.len()) else { return Err(IoErrorKind::OutOfRange) };
            if !self.copy(place, part, out)? {
                lacks = true;
            }
        }
        // The mount hands this error up to `poll`, which knows better.
        if lacks { Err(IoErrorKind::Timeout) } else { Ok(()) }
    }

    /// Fills `out` with the bytes `part` of a block. Returns false if they are not here, and the
    /// reader does not wait.
    fn copy(&self, place: Place, part: ByteRange, out: &mut [u8]) -> Result<bool, IoErrorKind> {
        let found = self.table.borrow_mut().find(place, part, out);
        match found {
            Found::Copied => Ok(true),
            Found::Failed(kind) => Err(kind),
            Found::Coming => Ok(false),
            Found::Blocks => self.wait_for(place, part, out).map(|()| true),
            Found::Lacks => {
                let patience = Patience::new(self.queue.now_ns(), self.queue.patience_ns());
                let read = self.table.borrow_mut().take_off(place, patience);
                let refused = read.and_then(|read| self.queue.start(read).err());
                if let Some(read) = refused {
                    self.table.borrow_mut().refuse(read);
                }
                Ok(false)
            }
        }
    }

    /// Fills `out` with the bytes `part` of a block, and waits for them.
    fn wait_for(&self, place: Place, part: ByteRange, out: &mut [u8]) -> Result<(), IoErrorKind> {
        let mut patience = Patience::new(self.queue.now_ns(), self.queue.patience_ns());
        loop {
            let read = self.table.borrow_mut().take_off_own(place, patience);
            if let Some(read) = read
                && let Err(read) = self.queue.start(read)
            {
                self.table.borrow_mut().refuse(read);
            }
            self.drive();
            if let Some(result) = self.table.borrow_mut().take_own(place, part, out) {
                return result;
            }
            if !patience.lasts(self.queue.now_ns()) {
                self.table.borrow_mut().leave_own();
                return Err(IoErrorKind::Timeout);
            }
            core::hint::spin_loop();
        }
    }
}

/// Returns the unit that a device is read by: a block, or less if its transfers are shorter.
fn unit(info: &DeviceInfo) -> Pow2 {
    let longest = BLOCK_BYTES.min(info.transfer_bytes_max.into()).max(1);
    Pow2::from_bits(longest.ilog2()).unwrap_or(rootlet_base::units::BLOCK)
}

impl<Q: BlockQueue, const TASKS: usize, const BLOCKS: usize> Storage
    for ReadSlots<Q, TASKS, BLOCKS>
{
    /// Returns the properties of the queue's device, which is never written here.
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        Some(self.queue.info(device)?.with_read_only(true))
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        for (index, transfer) in batch.iter_mut().enumerate() {
            let result = match &mut transfer.lent {
                Lent::Read(out) => self.read(transfer.device, transfer.at, out),
                Lent::Write(_) => Err(IoErrorKind::ReadOnly),
                Lent::Flush => Ok(()),
            };
            transfer.result = Some(result);
            done(index, transfer);
        }
    }

    fn now_ns(&self) -> u64 {
        self.queue.now_ns()
    }
}

impl<Q: BlockQueue, const TASKS: usize, const BLOCKS: usize> Discover
    for ReadSlots<Q, TASKS, BLOCKS>
{
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        self.queue.disk(serial)
    }
}

impl<Q: fmt::Debug, const TASKS: usize, const BLOCKS: usize> fmt::Debug
    for ReadSlots<Q, TASKS, BLOCKS>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadSlots").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// A future's task, which ends with the future.
struct Owner<'s, Q: BlockQueue, const TASKS: usize, const BLOCKS: usize> {
    slots: &'s ReadSlots<Q, TASKS, BLOCKS>,
    /// `None` until there is one.
    task: Option<usize>,
}

impl<Q: BlockQueue, const TASKS: usize, const BLOCKS: usize> Owner<'_, Q, TASKS, BLOCKS> {
    fn poll<T, E>(
        &mut self,
        waker: &Waker,
        read: &mut impl FnMut() -> Result<T, E>,
    ) -> Poll<Result<T, E>> {
        let slots = self.slots;
        if self.task.is_none() {
            slots.drive();
            self.task = slots.table.borrow_mut().claim();
        }
        let Some(task) = self.task else {
            let pushed_out = slots.table.borrow_mut().wait_for_task(waker);
            pushed_out.into_iter().for_each(Waker::wake);
            return Poll::Pending;
        };
        // The second round waits where the first one stopped.
        loop {
            let turn = Turn::begin(slots, task);
            let result = read();
            let lacks = turn.lacks();
            drop(turn);
            if result.is_ok() || !lacks {
                self.end();
                return Poll::Ready(result);
            }
            if slots.table.borrow_mut().blocks(task) {
                continue;
            }
            slots.table.borrow_mut().wait(task, waker);
            slots.drive();
            return Poll::Pending;
        }
    }

    fn end(&mut self) {
        if let Some(task) = self.task.take() {
            self.slots.table.borrow_mut().end(task);
            self.slots.wake_each(Table::next_waiting);
        }
    }
}

impl<Q: BlockQueue, const TASKS: usize, const BLOCKS: usize> Drop for Owner<'_, Q, TASKS, BLOCKS> {
    fn drop(&mut self) {
        self.end();
    }
}

/// One call of a future's read: what the mount reads meanwhile, it reads for the future's task.
struct Turn<'s, Q, const TASKS: usize, const BLOCKS: usize> {
    slots: &'s ReadSlots<Q, TASKS, BLOCKS>,
    before: Option<usize>,
}

impl<'s, Q, const TASKS: usize, const BLOCKS: usize> Turn<'s, Q, TASKS, BLOCKS> {
    fn begin(slots: &'s ReadSlots<Q, TASKS, BLOCKS>, task: usize) -> Self {
        Self { slots, before: slots.table.borrow_mut().begin(task) }
    }

    fn lacks(&self) -> bool {
        self.slots.table.borrow().lacks
    }
}

impl<Q, const TASKS: usize, const BLOCKS: usize> Drop for Turn<'_, Q, TASKS, BLOCKS> {
    fn drop(&mut self) {
        self.slots.table.borrow_mut().current = self.before;
    }
}
