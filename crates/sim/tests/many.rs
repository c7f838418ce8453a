//! Many readers of one mount: in turns that a seed decides, and in threads of the host.
//!
//! Always: a read gives the exact bytes or an error, and no error without a fault of a source; every
//! read ends; at the end nothing is under way, and a lone reader finds all memory back.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::{Budget, DirEntry, Root};
use rootlet::storage::file::FileStorage;
use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, Ended, IoErrorKind, Job, Storage, Transfer,
};
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, Sparse, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};
use rootlet_sim::{Rng, Turns};

const READERS: usize = 6;
const READS: usize = 12;
const SEEDS: u64 = 300;
const FILE_BYTES: usize = 640 << 10;
const LONG_READ: u64 = 96 << 10;
const SMALL_FILES: u64 = 60;
const SECOND: Duration = Duration::from_secs(1);

struct Made {
    built: Built,
    large: Vec<u8>,
}

fn small_file(number: u64) -> (String, Vec<u8>) {
    let bytes = usize::try_from(number * 137 % 9000).unwrap();
    (format!("/dir/sub/file-{number:03}"), Content::seeded(number, bytes).to_vec())
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let large = Content::seeded(7, FILE_BYTES).to_vec();
        let mut tree = Tree::new();
        tree.file("/large", Content::bytes(large.clone()));
        for number in 0..SMALL_FILES {
            let (path, content) = small_file(number);
            tree.file(&path, Content::bytes(content));
        }
        // Empty files whose names fill several blocks of a directory.
        for number in 0..400 {
            tree.file(format!("/dir/a-name-that-takes-some-room-{number:04}"), Content::hole(0));
        }
        let options = Options { blobs: 1, chunk_bits: 14, ..Options::default() };
        Made { built: build(&tree, &options).unwrap(), large }
    })
}

fn mount<S: Discover>(mut storage: S, region: bool, budget: &Budget) -> Root<S, Option<Cache>> {
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
    let layer = region.then(|| {
        let device = storage.disk("cache").unwrap();
        Cache::open(&storage, &CacheOptions::new(device, [7; 16])).unwrap()
    });
    Root::with_budget(storage, layer, &image, &sources, budget).unwrap()
}

/// What a seed decides about a world.
struct Course {
    world: World,
    turns: Arc<Turns>,
    blob: DeviceId,
    /// The region's disk, and its length.
    cache: Option<(DeviceId, u64)>,
    budget: Budget,
    is_faulty: bool,
}

fn course(seed: u64) -> Course {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let turns = Arc::new(Turns::new(seed));
    let world = World::new(seed).with_turns(Arc::clone(&turns));
    world.blob("image", &made().built.image);
    let blob = world.blob("blob1", &made().built.blobs[0]);
    let region_bytes = [1 << 20, 4 << 20][rng.index(2)];
    let cache =
        (!seed.is_multiple_of(4)).then(|| world.disk("cache", 512, Sparse::zeros(region_bytes)));
    let cache = cache.map(|cache| (cache, region_bytes));
    world.rule(Rule::new(Fault::Delay(rng.below(200_000))).device(blob).op(OpKind::Read));
    world.set_jobs_max(blob, 1 + rng.index(20));
    let budget = Budget::default()
        .with_metadata_bytes([16 << 10, 256 << 10][rng.index(2)])
        .with_block_bytes([0, 64 << 10][rng.index(2)])
        .with_stream_bytes([0, 256 << 10, 1 << 20][rng.index(3)]);
    Course { world, turns, blob, cache, budget, is_faulty: seed.is_multiple_of(3) }
}

impl Course {
    /// Breaks 2 % of the source's reads, and much of what the region does.
    fn break_it(&self) {
        let broken = Rule::new(Fault::Fail(IoErrorKind::Device(5))).op(OpKind::Read);
        self.world.rule(broken.device(self.blob).per_million(20_000));
        if let Some((cache, _)) = self.cache {
            for fault in [Fault::NoiseRead, Fault::FlipRead, Fault::StaleRead, Fault::EndTwice] {
                self.world.rule(Rule::new(fault).device(cache).per_million(30_000));
            }
        }
    }
}

/// One reader's reads. Returns how many failed.
fn read(course: &Course, root: &Root<SimStorage, Option<Cache>>, seed: u64) -> usize {
    let (mut rng, mut failed) = (Rng::new(seed), 0);
    for _ in 0..READS {
        let result = match rng.below(10) {
            0..5 => read_large(root, &mut rng),
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
