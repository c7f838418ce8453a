//! What futures in slots get from a disk whose reads end when a test says so.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]
use super::*;
use core::cell::Cell;
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::Context;
use std::boxed::Box;
use std::vec::Vec;

const DISK: DeviceId = DeviceId(0);
const BYTES: u64 = 100 << 10;

/// A disk whose reads end when a test says so. Each byte is the number of its 512 bytes.
#[derive(Default)]
struct Hand {
    started: RefCell<Vec<BlockRead>>,
    ended: RefCell<Vec<BlockRead>>,
    /// Whether reads end as they are started.
    is_quick: Cell<bool>,
    room: Cell<usize>,
    now_ns: Cell<u64>,
}

impl Hand {
    fn new() -> Self {
        Self { room: Cell::new(100), ..Self::default() }
    }

    fn under_way(&self) -> usize {
        self.started.borrow().len()
    }

    /// Ends the read that was started first.
    fn end(&self) {
        let read = self.started.borrow_mut().remove(0);
        self.ended.borrow_mut().push(read);
    }
}

fn byte(at: u64) -> u8 {
    u8::try_from(at >> 9).unwrap()
}

impl BlockQueue for Hand {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        (device == DISK).then(|| DeviceInfo::new(BYTES, 512))
    }

    fn start(&self, read: BlockRead) -> Result<(), BlockRead> {
        if self.under_way() >= self.room.get() {
            return Err(read);
        }
        let to = if self.is_quick.get() { &self.ended } else { &self.started };
        to.borrow_mut().push(read);
        Ok(())
    }

    fn poll(&self) -> Option<(BlockRead, Result<(), IoErrorKind>)> {
        let mut read = self.ended.borrow_mut().pop()?;
        let at = read.at();
        for (sector, out) in (0..).zip(read.out().chunks_mut(512)) {
            out.fill(byte(at + sector * 512));
        }
        Some((read, Ok(())))
    }

    /// Counts looks, so that a wait that is not over after many of them ends the test.
    fn now_ns(&self) -> u64 {
        self.now_ns.set(self.now_ns.get() + 1_000_000);
        self.now_ns.get()
    }
}

type Slots<const TASKS: usize, const BLOCKS: usize> = ReadSlots<Hand, TASKS, BLOCKS>;

fn slots<const TASKS: usize, const BLOCKS: usize>() -> Slots<TASKS, BLOCKS> {
    ReadSlots::new(Hand::new(), Box::leak(Box::new(SlotMemory::new())))
}

/// Reads `len` bytes at byte `at` as a mount does, and checks them.
fn read<const TASKS: usize, const BLOCKS: usize>(
    slots: &Slots<TASKS, BLOCKS>,
    at: u64,
    len: usize,
) -> Result<(), IoErrorKind> {
    let mut out = std::vec![0xee; len];
    let mut batch = [Transfer::read(DISK, at, &mut out)];
    slots.run(&mut batch, &mut |_, _| {});
    batch[0].outcome().map_err(|error| error.kind)?;
    let right = (at..).zip(&out).all(|(at, read)| *read == byte(at));
    assert!(right, "wrong bytes at {at}");
    Ok(())
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn reads_of_two_futures_are_under_way_together_and_each_gets_its_bytes() {
    let slots = slots::<2, 2>();
    let mut a = pin!(slots.reading(|| read(&slots, 512, 4096)));
    let mut b = pin!(slots.reading(|| read(&slots, 40960, 512)));
    assert!(poll(a.as_mut()).is_pending() && poll(b.as_mut()).is_pending());
    assert_eq!(slots.queue().under_way(), 3, "two blocks of the first, one of the second");
    slots.queue().end();
    assert!(slots.drive() && poll(a.as_mut()).is_pending());
    slots.queue().end();
    slots.queue().end();
    slots.drive();
    assert_eq!(poll(b.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(poll(a.as_mut()), Poll::Ready(Ok(())));
    assert_eq!((slots.blocked_reads(), slots.queue().under_way()), (0, 0));
}

#[test]
fn read_that_needs_more_blocks_than_there_are_waits_for_them() {
    let slots = slots::<1, 2>();
    slots.queue().is_quick.set(true);
    let mut long = pin!(slots.reading(|| read(&slots, 0, 20480)));
    assert_eq!(poll(long.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(slots.blocked_reads(), 1);
    assert_eq!(read(&slots, 0, 20480), Ok(()), "outside of a future all reads wait");
    assert_eq!(slots.blocked_reads(), 1);
}

#[test]
fn future_beyond_the_tasks_waits_until_one_ends_or_is_dropped() {
    let slots = slots::<1, 1>();
    let mut first = Box::pin(slots.reading(|| read(&slots, 0, 512)));
    let mut second = pin!(slots.reading(|| read(&slots, 8192, 512)));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    drop(first);
    // The memory is still with the device.
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(slots.queue().under_way(), 1);
    slots.queue().end();
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(slots.queue().started.borrow()[0].at(), 8192, "it reads for the second one");
    slots.queue().end();
    slots.drive();
    assert_eq!(poll(second.as_mut()), Poll::Ready(Ok(())));
}

#[test]
fn read_that_never_ends_is_an_error_and_its_memory_comes_back_with_it() {
    let slots = slots::<1, 1>();
    let mut future = pin!(slots.reading(|| read(&slots, 0, 512)));
    assert!(poll(future.as_mut()).is_pending());
    for second in 1..70 {
        slots.queue().now_ns.set(second * 1_000_000_000);
        slots.drive();
    }
    assert_eq!(poll(future.as_mut()), Poll::Ready(Err(IoErrorKind::Timeout)));
    assert_eq!(slots.table.borrow().lent(), 1);
    // Its task has no memory: the next one waits for the device, which answers.
    slots.queue().is_quick.set(true);
    let mut next = pin!(slots.reading(|| read(&slots, 512, 512)));
    assert_eq!(poll(next.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(slots.blocked_reads(), 1);
    slots.queue().end();
    slots.drive();
    assert_eq!(slots.table.borrow().lent(), 0);
}

#[test]
fn device_without_room_is_asked_again_and_one_that_takes_nothing_is_an_error() {
    let slots = slots::<2, 2>();
    slots.queue().room.set(1);
    let mut a = pin!(slots.reading(|| read(&slots, 0, 512)));
    let mut b = pin!(slots.reading(|| read(&slots, 8192, 512)));
    assert!(poll(a.as_mut()).is_pending() && poll(b.as_mut()).is_pending());
    assert_eq!(slots.queue().under_way(), 1);
    slots.queue().end();
    assert_eq!(poll(b.as_mut()), Poll::Pending, "it starts its read, or sees the end of the other");
    assert_eq!(poll(a.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(poll(b.as_mut()), Poll::Pending);
    slots.queue().end();
    slots.drive();
    assert_eq!(poll(b.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(slots.blocked_reads(), 0);
    slots.queue().room.set(0);
    let mut c = pin!(slots.reading(|| read(&slots, 0, 512)));
    assert_eq!(poll(c.as_mut()), Poll::Ready(Err(IoErrorKind::Timeout)));
    assert_eq!(slots.blocked_reads(), 1);
}

#[test]
fn memory_of_another_storage_is_not_taken_for_its_own() {
    let (one, other) = (slots::<1, 1>(), slots::<1, 1>());
    let mut mine = pin!(one.reading(|| read(&one, 0, 512)));
    let mut theirs = pin!(other.reading(|| read(&other, 8192, 512)));
    assert!(poll(mine.as_mut()).is_pending() && poll(theirs.as_mut()).is_pending());
    let exchanged = one.queue().started.replace(other.queue().started.take());
    other.queue().started.replace(exchanged);
    one.queue().end();
    other.queue().end();
    one.drive();
    other.drive();
    assert!(poll(mine.as_mut()).is_pending() && poll(theirs.as_mut()).is_pending());
    assert_eq!(one.table.borrow().lent(), 1);
}

#[test]
fn devices_are_never_written_and_reads_that_do_not_fit_are_refused() {
    let slots = slots::<1, 1>();
    assert!(slots.info(DISK).unwrap().read_only && slots.info(DeviceId(1)).is_none());
    assert_eq!(read(&slots, 1, 512), Err(IoErrorKind::Unaligned));
    assert_eq!(read(&slots, BYTES, 512), Err(IoErrorKind::OutOfRange));
    let mut batch = [Transfer::write(DISK, 0, &[0; 512]), Transfer::flush(DISK)];
    slots.run(&mut batch, &mut |_, _| {});
    let kinds = batch.map(|transfer| transfer.outcome().map_err(|error| error.kind));
    assert_eq!(kinds, [Err(IoErrorKind::ReadOnly), Ok(())]);
}
