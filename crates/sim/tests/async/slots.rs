//! Futures in lent slots, which need no heap: many of one mount, polled in an order that a seed
//! decides.
//!
//! Always: as for futures of a mount ([`super::world`]): exact bytes or an error, no error without a
//! fault of a source, every wake arrives, polls are bounded, a dropped future leaves nothing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::readers::{Course, FILE_BYTES, SMALL_FILES, course, made, mount, small_file};
use crate::world::{Outcome, POLLS_MAX, Shown, Sum, WORKERS, WORKS, hang_it, seeds};
use rootlet::cache::Cache;
use rootlet::read::Root;
use rootlet::storage::{
    BlockQueue, BlockRead, Buffer, DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind, Job,
    JobKind, ReadSlots, SlotMemory, Storage, Tag,
};
use rootlet_sim::Rng;
use rootlet_sim::disk::SimStorage;
use rootlet_sim::tasks::{Task, join, within};

const TASKS: usize = 4;
const BLOCKS: usize = 12;

type Slots = ReadSlots<Sim, TASKS, BLOCKS>;
type Mount = Root<Slots, Option<Cache>>;

/// The simulated disks, a block at a time.
struct Sim {
    disks: SimStorage,
    started: Cell<u64>,
    lent: RefCell<HashMap<u64, BlockRead>>,
}

impl BlockQueue for Sim {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.disks.info(device)
    }

    fn start(&self, mut read: BlockRead) -> Result<(), BlockRead> {
        self.started.set(self.started.get() + 1);
        let (device, at) = (read.device(), read.at());
        let buffer = Some(Buffer::new(read.out().len()));
        let tag = Tag::from(self.started.get());
        match self.disks.start(Job { tag, device, at, kind: JobKind::Read, buffer }) {
            Ok(()) => {
                self.lent.borrow_mut().insert(self.started.get(), read);
                Ok(())
            }
            Err(_) => Err(read),
        }
    }

    fn poll(&self) -> Option<(BlockRead, Result<(), IoErrorKind>)> {
        loop {
            let (job, result) = self.disks.poll()?;
            // What ends twice has no memory the second time.
            let read = job.tag.number().and_then(|tag| self.lent.borrow_mut().remove(&tag));
            let Some(mut read) = read else { continue };
            if let (Some(buffer), Ok(())) = (&job.buffer, result) {
                read.out().copy_from_slice(buffer);
            }
            return Some((read, result));
        }
    }

    fn now_ns(&self) -> u64 {
        self.disks.now_ns()
    }

    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        self.disks.disk(serial)
    }
}

/// Mounts a world in memory that a test may lose.
fn mount_slots(course: &Course) -> Mount {
    let disks = course.world.attach();
    let queue = Sim { disks, started: Cell::new(0), lent: RefCell::default() };
    let memory = Box::leak(Box::new(SlotMemory::new()));
    mount(ReadSlots::new(queue, memory), false, &course.budget)
}

async fn read_large(root: &Mount, mut rng: Rng) -> Outcome {
    let large = &made().large;
    let at = rng.index(FILE_BYTES);
    let mut out = vec![0xee; 1 + rng.index(40_000)];
    let slots = root.storage();
    let inode = slots.reading(|| root.metadata(b"/large")).await?;
    let mut done = 0;
    while done < out.len() {
        let end = out.len().min(done + 8192);
        let from = (at + done) as u64;
        let part = &mut out[done..end];
        let len = slots.reading(|| root.open_inode(inode)?.read_at(from, part)).await?;
        done += len;
        if len == 0 {
            break;
        }
    }
    assert_eq!(done, out.len().min(FILE_BYTES - at));
    assert!(out[..done] == large[at..][..done], "wrong bytes of {at}..+{done}");
    Ok(())
}

async fn read_small(root: &Mount, number: u64) -> Outcome {
    let (path, content) = small_file(number);
    let mut out = vec![0xee; content.len() + 1];
    let read = || root.open(path.as_bytes())?.read_at(0, &mut out);
    let len = root.storage().reading(read).await?;
    assert!(out[..len] == content[..], "wrong bytes of {path}");
    Ok(())
}

async fn list(root: &Mount) -> Outcome {
    let slots = root.storage();
    let dir = slots.reading(|| root.metadata(b"/dir/sub")).await?;
    let mut cursor = root.read_dir_inode(dir)?;
    let mut number = 0;
    loop {
        // A call that fails leaves the cursor of the one before.
        let next = || {
            let mut next = cursor.clone();
            let entry = next.next(root)?;
            Ok::<_, rootlet::Error>((next, entry))
        };
        let (next, entry) = slots.reading(next).await?;
        cursor = next;
        let Some(entry) = entry else { break };
        let (path, content) = small_file(number);
        assert_eq!(entry.name, path.as_bytes()["/dir/sub/".len()..]);
        let inode = slots.reading(|| root.find(&dir, &entry.name)).await?.unwrap();
        assert_eq!((inode.nid(), inode.size()), (entry.nid, content.len() as u64));
        number += 1;
    }
    assert_eq!(number, SMALL_FILES);
    Ok(())
}

async fn work(course: &Course, root: &Mount, mut rng: Rng) -> Sum {
    let mut sum = Sum::default();
    for _ in 0..WORKS {
        let own = rng.fork();
        let work: Task<'_, Outcome> = match rng.below(10) {
            0..6 => Box::pin(read_large(root, own)),
            6..9 => Box::pin(read_small(root, rng.below(SMALL_FILES))),
            _ => Box::pin(list(root)),
        };
        let gives_up = rng.below(6) == 0;
        let polls_max = if gives_up { rng.index(4) } else { POLLS_MAX };
        match within(polls_max, work).await {
            Some((result, polls)) => {
                assert!(course.is_faulty || result.is_ok(), "{result:?}");
                (sum.done, sum.polls) = (sum.done + 1, sum.polls + polls);
                sum.failed += usize::from(result.is_err());
            }
            None => {
                assert!(gives_up, "more than {POLLS_MAX} polls");
                sum.dropped += 1;
            }
        }
    }
    sum
}

fn live(course: &Course, rng: &mut Rng) -> Sum {
    let root = mount_slots(course);
    if course.is_faulty {
        course.break_it();
        hang_it(course, rng.next_u64());
    }
    let workers: Vec<Task<'_, Sum>> = (0..WORKERS)
        .map(|_| -> Task<'_, Sum> { Box::pin(work(course, &root, rng.fork())) })
        .collect();
    let mut sum = Sum::default();
    let drive = |drives| {
        root.storage().drive();
        // Nobody but a device that works keeps this clock running.
        if drives > 1000 {
            course.world.advance_ns(10_000_000);
        }
    };
    for one in join(rng, workers, drive) {
        sum.add(&one);
    }
    course.world.heal();
    sum.blocked = root.storage().blocked_reads();
    let is_over = (0..1000).any(|_| {
        // Some end only now, and are kept until they are released.
        course.world.release();
        root.storage().drive();
        root.storage().queue().lent.borrow().is_empty()
    });
    assert!(is_over, "memory is away still");
    assert_eq!(course.world.counters(course.blob).lent_bytes, 0);
    let reads = (0..6).map(|_| -> Task<'_, Outcome> { Box::pin(read_large(&root, rng.fork())) });
    let all = join(&mut Rng::new(7), reads.collect(), |_| {
        root.storage().drive();
    });
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    sum
}

#[test]
fn futures_in_slots_get_exact_bytes_or_an_error_and_leave_nothing() {
    let mut sum = Sum::default();
    for seed in seeds() {
        let _shown = Shown(seed);
        sum.add(&live(&course(seed), &mut Rng::new(seed)));
    }
    let Sum { done, failed, dropped, polls, blocked } = sum;
    println!(
        "{done} works done, {failed} of them failed, {dropped} dropped, {polls} polls, {blocked} blocked"
    );
    assert!(done > 0 && dropped > 0, "{done} done, {dropped} dropped");
}
