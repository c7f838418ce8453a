//! Many futures of one mount, polled in an order that a seed decides.
//!
//! Always: a future resolves to the exact bytes or to an error, and to no error without a fault of a
//! source; every wake arrives; polls are bounded; a dropped future leaves nothing.
//!
//! `ASYNC_SEED=7 cargo test -p rootlet-sim --test async` replays a seed, `ASYNC_SEEDS=10000` tries
//! more of them.

use crate::readers::{
    Course, FILE_BYTES, LONG_READ, SECOND, SMALL_FILES, course, made, mount, small_file,
};
use rootlet::cache::Cache;
use rootlet::read::Root;
use rootlet_sim::Rng;
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, Survive};
use rootlet_sim::tasks::{Task, join, within};

type Mount = Root<SimStorage, Option<Cache>>;
pub type Outcome = Result<(), rootlet::Error>;

pub const WORKERS: usize = 8;
/// What each worker does, one after another.
pub const WORKS: usize = 12;
const SEEDS: u64 = 300;
/// Seeds that found something: 5763 a task that could take no further buffer, and kept the first place
/// in the line; 8358 a region that had no page for its superblock, as its device kept them all, and
/// flushed at every look.
const SEEDS_OF_BUGS: [u64; 2] = [5763, 8358];
/// The most polls of a work: who waits for room on a device that hangs is woken by what others read.
pub const POLLS_MAX: usize = 400;
/// The most steps of a world that block though there are buffers and no faults: the region's disk may
/// have no room for a read beside the region's own jobs while no read of a reader is under way, whose
/// end would wake the line (1 step of the first 6,317 worlds, in the last: one buffer was idle).
const BLOCKED_MAX: u64 = 1;
/// The most flushes of a region by all workers of a world.
const FLUSHES_MAX: u64 = 1000;

async fn read_large(root: &Mount, mut rng: Rng) -> Outcome {
    let large = &made().large;
    let (at, len) = match rng.below(4) {
        0 => (rng.below(FILE_BYTES as u64 / 4096) * 4096, 4096),
        1 => (rng.below(FILE_BYTES as u64), 1 + rng.below(LONG_READ)),
        2 => (0, FILE_BYTES as u64 + 7),
        // Where others read, too.
        _ => (rng.below(4) * 16384, 1 + rng.below(16384)),
    };
    let mut out = vec![0xee; usize::try_from(len).unwrap()];
    let inode = root.metadata_async(b"/large").await?;
    let len = root.read(&inode, at, &mut out).await?;
    assert_eq!(len, out.len().min(FILE_BYTES - at as usize));
    assert!(out[..len] == large[at as usize..][..len], "wrong bytes of {at}..+{len}");
    Ok(())
}

async fn read_small(root: &Mount, number: u64) -> Outcome {
    let (path, content) = small_file(number);
    let mut out = vec![0xee; content.len() + 1];
    let file = root.open_async(path.as_bytes()).await?;
    let len = root.read(file.inode(), 0, &mut out).await?;
    assert!(out[..len] == content[..], "wrong bytes of {path}");
    Ok(())
}

async fn list(root: &Mount) -> Outcome {
    let dir = root.metadata_async(b"/dir/sub").await?;
    let mut cursor = root.read_dir_inode(dir)?;
    let mut number = 0;
    while let Some(entry) = cursor.next_async(root).await? {
        let (path, content) = small_file(number);
        assert_eq!(entry.name, path.as_bytes()["/dir/sub/".len()..]);
        let inode = root.find_async(&dir, &entry.name).await?.unwrap();
        assert_eq!((inode.nid(), inode.size()), (entry.nid, content.len() as u64));
        number += 1;
    }
    assert_eq!(number, SMALL_FILES);
    Ok(())
}

async fn spoil(root: &Mount, course: &Course, mut rng: Rng) -> Outcome {
    if let Some((cache, bytes)) = course.cache {
        let mut garbage = [0; 4096];
        rng.fill(&mut garbage);
        course.world.poke(cache, rng.below(bytes / 4096) * 4096, &garbage);
    }
    root.sync(SECOND);
    Ok(())
}

/// What came of a world.
#[derive(Default)]
pub struct Sum {
    pub done: usize,
    pub failed: usize,
    pub dropped: usize,
    pub polls: usize,
    pub blocked: u64,
}

/// What one worker does, one work after another.
async fn work(course: &Course, root: &Mount, mut rng: Rng) -> Sum {
    let mut sum = Sum::default();
    for _ in 0..WORKS {
        let own = rng.fork();
        let work: Task<'_, Outcome> = match rng.below(10) {
            0..6 => Box::pin(read_large(root, own)),
            6..8 => Box::pin(read_small(root, rng.below(SMALL_FILES))),
            8 => Box::pin(list(root)),
            _ => Box::pin(spoil(root, course, own)),
        };
        let gives_up = rng.below(6) == 0;
        let polls_max = if gives_up { rng.index(4) } else { POLLS_MAX };
        match within(polls_max, work).await {
            Some((result, polls)) => {
                let has_power = course.world.has_power();
                assert!(course.is_faulty || !has_power || result.is_ok(), "{result:?}");
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

pub fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|seed| seed.parse::<u64>().unwrap());
    match (number("ASYNC_SEED"), number("ASYNC_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (0..count).collect(),
        (None, None) => (0..SEEDS).chain(SEEDS_OF_BUGS).collect(),
    }
}

impl Sum {
    pub fn add(&mut self, one: &Self) {
        (self.done, self.failed) = (self.done + one.done, self.failed + one.failed);
        (self.dropped, self.polls) = (self.dropped + one.dropped, self.polls + one.polls);
        self.blocked += one.blocked;
    }
}

/// Jobs that do not come back, or only when their device is given up; and a device that is gone.
pub fn hang_it(course: &Course, seed: u64) {
    let reads = |fault| Rule::new(fault).op(OpKind::Read);
    course.world.rule(reads(Fault::Keep).device(course.blob).per_million(2_000));
    for fault in [Fault::EndTwice, Fault::EndAgain] {
        course.world.rule(reads(fault).device(course.blob).per_million(50_000));
    }
    if let Some((cache, _)) = course.cache {
        course.world.rule(reads(Fault::Keep).device(cache).per_million(2_000));
        if seed % 5 == 1 {
            course.world.rule(reads(Fault::Hang).device(cache).nth(40));
        }
    }
}

/// Mounts, and has the workers work; with `is_cut` until the power goes. Returns what came of it.
fn live(course: &Course, rng: &mut Rng, is_cut: bool) -> Sum {
    if let Some((cache, _)) = course.cache {
        course.world.set_gone(cache, false);
    }
    let root = mount(course.world.attach(), course.cache.is_some(), &course.budget);
    if course.is_faulty {
        course.break_it();
        hang_it(course, rng.next_u64());
    }
    if is_cut {
        course.world.cut_after(1 + rng.below(400));
    }
    let workers: Vec<Task<'_, Sum>> = (0..WORKERS)
        .map(|_| -> Task<'_, Sum> { Box::pin(work(course, &root, rng.fork())) })
        .collect();
    let mut sum = Sum::default();
    let drive = |_| {
        root.drive();
    };
    for one in join(rng, workers, drive) {
        sum.add(&one);
    }
    assert_eq!(course.turns.passes(), 0, "one thread alone");
    if let Some((cache, _)) = course.cache {
        // A region that waits does not flush meanwhile.
        let counters = course.world.counters(cache);
        assert!(counters.flushes < FLUSHES_MAX, "{} flushes", counters.flushes);
    }
    course.world.heal();
    if course.world.has_power() {
        leaves_nothing(course, &root, &mut sum);
    }
    sum
}

/// All jobs come back, and with them all buffers: reads then find what they need, and do not block.
fn leaves_nothing(course: &Course, root: &Mount, sum: &mut Sum) {
    // A third of the mounts have no buffers, and a third have four for all, the region included.
    let has_buffers = course.budget.stream_bytes >= 1 << 20;
    sum.blocked = root.stats().blocked_steps;
    let is_bounded = sum.blocked <= BLOCKED_MAX;
    assert!(is_bounded || !has_buffers || course.is_faulty, "{} blocked", sum.blocked);
    course.world.release();
    let devices = [Some(course.blob), course.cache.map(|(cache, _)| cache)];
    let lent_bytes = || -> u64 {
        devices.into_iter().flatten().map(|one| course.world.counters(one).lent_bytes).sum()
    };
    root.sync(60 * SECOND);
    let is_over = (0..1000).any(|_| !root.drive() && lent_bytes() == 0);
    assert!(is_over, "{} bytes are lent still", lent_bytes());
    let mut rng = Rng::new(7);
    for _ in 0..4 {
        let reads = (0..4).map(|_| -> Task<'_, Outcome> { Box::pin(read_large(root, rng.fork())) });
        let reads = reads.collect();
        let all = join(&mut rng, reads, |_| {
            root.drive();
        });
        if !course.world.has_power() {
            return;
        }
        assert!(all.iter().all(Result::is_ok), "{all:?}");
    }
    let blocked = root.stats().blocked_steps;
    assert!(blocked == sum.blocked || !has_buffers, "{} more blocked", blocked - sum.blocked);
}

#[test]
fn futures_in_any_order_get_exact_bytes_or_an_error_and_leave_nothing() {
    let mut sum = Sum::default();
    for seed in seeds() {
        let _shown = Shown(seed);
        let course = course(seed);
        let mut rng = Rng::new(seed);
        sum.add(&live(&course, &mut rng, seed % 2 == 1));
        if seed % 2 == 1 {
            course.world.crash(Survive::Seeded(seed));
            sum.add(&live(&course, &mut rng, false));
        }
    }
    let Sum { done, failed, dropped, polls, blocked } = sum;
    println!(
        "{done} works done, {failed} of them failed, {dropped} dropped, {polls} polls, {blocked} blocked"
    );
    assert!(done > 0 && dropped > 0, "{done} done, {dropped} dropped");
}

/// Says which seed failed.
pub struct Shown(pub u64);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}: ASYNC_SEED={} replays it", self.0, self.0);
        }
    }
}
