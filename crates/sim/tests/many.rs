//! Many readers of one mount: in turns that a seed decides, and in threads of the host.
//!
//! Always: a read gives the exact bytes or an error, and no error without a fault of a source; every
//! read ends; at the end nothing is under way, and a lone reader finds all memory back.

mod readers;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use readers::{
    Course, FILE_BYTES, LONG_READ, SECOND, SMALL_FILES, course, made, mount, small_file,
};
use rootlet::cache::Cache;
use rootlet::read::{Budget, DirEntry, Root};
use rootlet::storage::file::FileStorage;
use rootlet::storage::{DeviceId, DeviceInfo, Discover, Ended, Job, Storage, Transfer};
use rootlet_sim::disk::{SimStorage, Sparse, World};
use rootlet_sim::tasks::{Task, join};
use rootlet_sim::{Rng, Turns};

const READERS: usize = 6;
const READS: usize = 12;
const SEEDS: u64 = 300;

/// One reader's reads. Returns how many failed.
fn read(course: &Course, root: &Root<SimStorage, Option<Cache>>, seed: u64) -> usize {
    let (mut rng, mut failed) = (Rng::new(seed), 0);
    for _ in 0..READS {
        let result = match rng.below(14) {
            0..5 => read_large(root, &mut rng),
            10.. => read_by_future(course, root, &mut rng),
            5..7 => read_small(root, rng.below(SMALL_FILES)),
            7 => read_stream(root, &mut rng),
            8 => list(root),
            _ => {
                if let Some((cache, bytes)) = course.cache {
                    let mut garbage = [0; 4096];
                    rng.fill(&mut garbage);
                    let at = rng.below(bytes / 4096) * 4096;
                    course.world.poke(cache, at, &garbage);
                }
                root.sync(SECOND);
                Ok(())
            }
        };
        failed += usize::from(result.is_err());
    }
    failed
}

type Outcome = Result<(), rootlet::Error>;

fn read_large(root: &Root<SimStorage, Option<Cache>>, rng: &mut Rng) -> Outcome {
    let large = &made().large;
    let (at, len) = match rng.below(3) {
        0 => (rng.below(FILE_BYTES as u64 / 4096) * 4096, 4096),
        1 => (rng.below(FILE_BYTES as u64), 1 + rng.below(LONG_READ)),
        // Where others read, too.
        _ => (rng.below(4) * 16384, 1 + rng.below(16384)),
    };
    let mut out = vec![0xee; usize::try_from(len).unwrap()];
    let len = root.open(b"/large")?.read_at(at, &mut out)?;
    assert_eq!(len, out.len().min(FILE_BYTES - at as usize));
    assert!(out[..len] == large[at as usize..][..len], "wrong bytes of {at}..+{len}");
    Ok(())
}

/// As [`read_large`], by a future beside those that block.
fn read_by_future(
    course: &Course,
    root: &Root<SimStorage, Option<Cache>>,
    rng: &mut Rng,
) -> Outcome {
    let large = &made().large;
    let at = [rng.below(FILE_BYTES as u64), rng.below(4) * 16384][rng.index(2)];
    let mut out = vec![0xee; 1 + rng.index(LONG_READ as usize)];
    let future = async {
        let file = root.open_async(b"/large").await?;
        root.read(file.inode(), at, &mut out).await
    };
    // One task alone, in a thread beside others: it drives until it is woken.
    let read = join(rng, vec![Box::pin(future)], |_| {
        root.drive();
        course.turns.pass();
    });
    let len = read.into_iter().next().unwrap()?;
    assert_eq!(len, out.len().min(FILE_BYTES - at as usize));
    assert!(out[..len] == large[at as usize..][..len], "wrong bytes of {at}..+{len}");
    Ok(())
}

fn read_small(root: &Root<SimStorage, Option<Cache>>, number: u64) -> Outcome {
    let (path, content) = small_file(number);
    let mut out = vec![0xee; content.len() + 1];
    let len = root.open(path.as_bytes())?.read_at(0, &mut out)?;
    assert!(out[..len] == content[..], "wrong bytes of {path}");
    Ok(())
}

fn read_stream(root: &Root<SimStorage, Option<Cache>>, rng: &mut Rng) -> Outcome {
    let large = &made().large;
    let mut stream = root.stream(b"/large")?;
    let mut at = 0;
    for _ in 0..1 + rng.below(12) {
        let lent = stream.lend()?;
        assert!(*lent == large[at..][..lent.len()], "wrong bytes of a stream at {at}");
        let used = 1 + rng.index(lent.len().max(1));
        at += used.min(lent.len());
        stream.advance(used);
    }
    Ok(())
}

fn list(root: &Root<SimStorage, Option<Cache>>) -> Outcome {
    let (mut cursor, mut entry) = (root.read_dir(b"/dir/sub")?, DirEntry::default());
    let mut number = 0;
    while let Some(inode) = cursor.next_inode(root, &mut entry)? {
        let (path, content) = small_file(number);
        assert_eq!(entry.name, path.as_bytes()["/dir/sub/".len()..]);
        assert_eq!(inode.size(), content.len() as u64);
        number += 1;
    }
    assert_eq!(number, SMALL_FILES);
    Ok(())
}

#[test]
fn readers_in_any_order_get_exact_bytes_or_an_error_and_all_memory_comes_back() {
    let (mut failed, mut passes) = (0, 0);
    for seed in 0..SEEDS {
        let course = course(seed);
        let root = mount(course.world.attach(), course.cache.is_some(), &course.budget);
        if course.is_faulty {
            course.break_it();
        }
        let failures = AtomicUsize::new(0);
        course.turns.run(READERS, |number| {
            let failed = read(&course, &root, seed * 100 + number as u64);
            failures.fetch_add(failed, Ordering::Relaxed);
        });
        let failures = failures.into_inner();
        assert!(course.is_faulty || failures == 0, "seed {seed}: {failures} reads failed");
        (failed, passes) = (failed + failures, passes + course.turns.passes());
        course.world.heal();
        root.sync(60 * SECOND);
        let (mut rng, before) = (Rng::new(seed), root.stats());
        for _ in 0..40 {
            read_large(&root, &mut rng).unwrap();
        }
        for number in 0..SMALL_FILES {
            read_small(&root, number).unwrap();
        }
        list(&root).unwrap();
        assert!(root.stats().reads > before.reads);
        let lent_bytes = || course.world.counters(course.blob).lent_bytes;
        let is_over = (0..1000).any(|_| root.poll_job().is_none() && lent_bytes() == 0);
        assert!(is_over, "seed {seed}: {} bytes are lent still", lent_bytes());
    }
    assert!(failed > 100, "{failed} reads met a fault");
    assert!(passes > SEEDS * 500, "only {passes} turns");
}

#[test]
fn readers_that_miss_the_same_bytes_fetch_them_once() {
    for seed in 1..40 {
        let turns = Arc::new(Turns::new(seed));
        let world = World::new(seed).with_turns(Arc::clone(&turns));
        world.blob("image", &made().built.image);
        let blob = world.blob("blob1", &made().built.blobs[0]);
        world.disk("cache", 512, Sparse::zeros(4 << 20));
        let root = mount(world.attach(), true, &Budget::default());
        // Its map, and no more than its first block.
        read_at(&root, 0, 1);
        let before = world.counters(blob).reads;
        turns.run(16, |_| read_at(&root, 128 << 10, 4096));
        assert_eq!(world.counters(blob).reads - before, 1, "seed {seed}");
        assert_eq!(root.stats().joins + root.stats().hits, 15, "seed {seed}");
    }
}

fn read_at<S: Storage>(root: &Root<S, Option<Cache>>, at: usize, len: usize) {
    let mut out = vec![0xee; len];
    assert_eq!(root.open(b"/large").unwrap().read_at(at as u64, &mut out), Ok(len));
    assert!(out == made().large[at..][..len]);
}

/// Files whose reads of the blob take 100 us, and the first `meet` of which wait for each other.
struct Slow {
    files: FileStorage,
    blob: DeviceId,
    meet: usize,
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    now: usize,
    most: usize,
}

impl Slow {
    fn new(dir: &Path, meet: usize) -> Self {
        made().built.image.write_to(&dir.join("image")).unwrap();
        made().built.blobs[0].write_to(&dir.join("blob1")).unwrap();
        std::fs::File::create(dir.join("cache")).unwrap().set_len(16 << 20).unwrap();
        let mut files = FileStorage::new();
        files.add_disk("image", &dir.join("image"), true).unwrap();
        let blob = files.add_disk("blob1", &dir.join("blob1"), true).unwrap();
        files.add_disk("cache", &dir.join("cache"), false).unwrap();
        Self { files, blob, meet, inside: Mutex::default(), changed: Condvar::new() }
    }

    fn most(&self) -> usize {
        self.inside.lock().unwrap().most
    }

    fn enter(&self) {
        let mut inside = self.inside.lock().unwrap();
        inside.now += 1;
        inside.most = inside.most.max(inside.now);
        self.changed.notify_all();
        let long = Duration::from_secs(20);
        let waits = |inside: &mut Inside| inside.most < self.meet;
        let (inside, late) = self.changed.wait_timeout_while(inside, long, waits).unwrap();
        assert!(!late.timed_out(), "{} readers at once", inside.most);
    }
}

impl Storage for Slow {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.files.info(device)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        if batch.iter().any(|transfer| transfer.device == self.blob) {
            self.enter();
            thread::sleep(Duration::from_micros(100));
            self.inside.lock().unwrap().now -= 1;
        }
        self.files.run(batch, done);
    }

    fn now_ns(&self) -> u64 {
        self.files.now_ns()
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        self.files.start(job)
    }

    fn poll(&self) -> Option<Ended> {
        self.files.poll()
    }

    fn rest(&self, ns: u32) {
        self.files.rest(ns);
    }
}

impl Discover for Slow {
    fn disk(&mut self, serial: &str) -> Result<DeviceId, rootlet::storage::DiscoverError> {
        self.files.disk(serial)
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        self.files.disks(each);
    }

    fn set_version(&mut self, device: DeviceId, version: rootlet::storage::Version) {
        self.files.set_version(device, version);
    }
}

#[test]
fn threads_of_the_host_are_in_the_device_together() {
    for region in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let root = mount(Slow::new(dir.path(), 16), region, &Budget::default());
        thread::scope(|scope| {
            for number in 0..16 {
                let root = &root;
                // Each in a part of its own, so that nobody finds the bytes of another.
                scope.spawn(move || {
                    for block in 0..10 {
                        read_at(root, (number * 10 + block) * 4096, 4096);
                    }
                });
            }
        });
        assert_eq!(root.storage().most(), 16);
    }
}

/// Reads blocks of a part of the file by four futures of one thread.
fn read_by_futures(root: &Root<Slow, Option<Cache>>, part: usize) {
    let inode = root.metadata(b"/large").unwrap();
    let reads = (0..4).map(|task| -> Task<'_, ()> {
        Box::pin(async move {
            let mut out = vec![0xee; 4096];
            for block in 0..8 {
                // Blocks that all read, and blocks of its own.
                let block = if block % 2 == 0 { block } else { part * 32 + task * 8 + block };
                assert_eq!(root.read(&inode, block as u64 * 4096, &mut out).await, Ok(4096));
                assert!(out[..] == made().large[block * 4096..][..4096]);
            }
        })
    });
    let reads = reads.collect();
    join(&mut Rng::new(part as u64), reads, |_| {
        root.drive();
        thread::sleep(Duration::from_micros(50));
    });
}

#[test]
fn threads_that_block_and_threads_that_poll_futures_wake_each_other() {
    for region in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        // Four buffers, for which the futures stand in line.
        let budget = Budget::default().with_stream_bytes(256 << 10);
        let root = &mount(Slow::new(dir.path(), 1), region, &budget);
        thread::scope(|scope| {
            for part in 0..2 {
                scope.spawn(move || read_by_futures(root, part));
                scope.spawn(move || (0..20).for_each(|block| read_at(root, block * 4096, 4096)));
            }
        });
    }
}

#[test]
fn paths_are_found_while_a_device_keeps_a_reader_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let root = mount(Slow::new(dir.path(), 2), false, &Budget::default());
    thread::scope(|scope| {
        let root = &root;
        scope.spawn(|| read_at(root, 0, 4096));
        let is_inside = || root.storage().most() == 1;
        while !is_inside() {
            thread::yield_now();
        }
        assert_eq!(root.metadata(b"/large").unwrap().size(), FILE_BYTES as u64);
        assert!(root.metadata(b"/dir/sub/file-007").is_ok() && is_inside());
        read_at(root, 64 << 10, 4096);
    });
    assert_eq!(root.storage().most(), 2);
}
