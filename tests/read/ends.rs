//! Background jobs that come back twice, late, never, or to somebody else: exact bytes or an error
//! in time, in memory and in the region.

use rootlet::Error;
use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::{Root, Stream};
use rootlet::storage::{Buffer, DeviceId, Discover, IoErrorKind, Job, JobKind, Storage, Tag};
use rootlet_guest::SYNC_TIME;
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, Sparse, World};
use rootlet_sim::image::{Content, Options, Tree, build};

const FILE: usize = 4 << 20;
const REGION_BYTES: u64 = 16 << 20;

type Mounted = Root<SimStorage, Option<Cache>>;

/// A machine with an image, its blob, and a disk for a region.
struct Machine {
    world: World,
    blob: DeviceId,
    region: DeviceId,
    data: Vec<u8>,
}

fn machine(seed: u64) -> Machine {
    let data = Content::seeded(7, FILE).to_vec();
    let mut tree = Tree::new();
    tree.file("/data", Content::bytes(data.clone()));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    let world = World::new(seed);
    world.blob("image", &built.image);
    let blob = world.blob("blob1", &built.blobs[0]);
    let region = world.disk("cache", 512, Sparse::zeros(REGION_BYTES));
    Machine { world, blob, region, data }
}

impl Machine {
    fn mount(&self, boot: u8, with_region: bool) -> Mounted {
        let mut storage = self.world.attach();
        let device = storage.disk("image").unwrap();
        let image = Image::read(&storage, device).unwrap();
        let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
        let options = CacheOptions::new(self.region, [boot; 16]);
        let layer = with_region.then(|| Cache::open(&storage, &options).unwrap());
        Root::new(storage, layer, &image, &sources).unwrap()
    }

    fn rule(&self, fault: Fault, device: DeviceId, op: OpKind, per_million: u32) {
        self.world.rule(Rule::new(fault).device(device).op(op).per_million(per_million));
    }

    /// Reads the whole file by a stream and compares it; the error of the first read that fails.
    fn read(&self, root: &Mounted) -> Result<(), Error> {
        let mut stream = root.stream(b"/data").unwrap();
        while self.take(&mut stream)? > 0 {}
        assert_eq!(stream.position() as usize, FILE);
        Ok(())
    }

    fn take(&self, stream: &mut Stream<'_, SimStorage, Option<Cache>>) -> Result<usize, Error> {
        let at = stream.position() as usize;
        let bytes = stream.lend()?;
        let len = bytes.len();
        assert!(bytes == &self.data[at..at + len], "other bytes at {at}");
        stream.advance(len);
        Ok(len)
    }
}

fn strays(root: &Mounted) -> u64 {
    let region = root.with_layer(|layer, _| layer.as_ref().map_or(0, |c| c.stats().stray_jobs));
    root.stats().stray_jobs + region
}

#[test]
fn reads_of_a_stream_that_end_twice_give_nobody_elses_bytes() {
    let mut dropped = 0;
    for seed in 0..40 {
        let machine = machine(seed);
        machine.rule(Fault::EndTwice, machine.blob, OpKind::Read, 200_000);
        let root = machine.mount(1, false);
        machine.read(&root).unwrap();
        dropped += strays(&root);
    }
    assert!(dropped > 40, "{dropped}");
}

#[test]
fn region_keeps_no_bytes_of_a_read_that_ended_twice() {
    for seed in 0..40 {
        let machine = machine(seed);
        machine.rule(Fault::EndTwice, machine.blob, OpKind::Read, 200_000);
        let root = machine.mount(1, true);
        machine.read(&root).unwrap();
        assert!(root.sync(SYNC_TIME));
        drop(root);
        machine.world.heal();
        let root = machine.mount(2, true);
        let mut out = vec![0; FILE];
        assert_eq!(root.open(b"/data").unwrap().read_at(0, &mut out).unwrap(), FILE);
        assert!(out == machine.data, "seed {seed}");
        assert!(root.stats().hits > 0, "seed {seed}");
        root.with_layer(|layer, _| assert_eq!(layer.as_ref().unwrap().stats().check_failures, 0));
    }
}

#[test]
fn jobs_of_the_region_that_end_twice_count_once() {
    let mut dropped = 0;
    for seed in 0..20 {
        let machine = machine(seed);
        for op in [OpKind::Read, OpKind::Write, OpKind::Flush] {
            machine.rule(Fault::EndTwice, machine.region, op, 500_000);
        }
        for boot in 1..4 {
            let root = machine.mount(boot, true);
            machine.read(&root).unwrap();
            assert!(root.sync(SYNC_TIME), "seed {seed}");
            root.with_layer(|layer, _| {
                let stats = layer.as_ref().unwrap().stats();
                assert_eq!((stats.check_failures, stats.region_faults), (0, 0), "seed {seed}");
                dropped += stats.stray_jobs;
            });
        }
    }
    assert!(dropped > 100, "{dropped}");
}

#[test]
fn job_of_an_embedder_comes_back_to_it_whoever_polls() {
    for with_region in [false, true] {
        let machine = machine(3);
        let root = machine.mount(1, with_region);
        // Numbers that the tags of an earlier library had.
        let numbers = [0, 1, 1 << 32, 1 << 48, 0x100 << 32 | 1 << 8];
        for number in numbers {
            let (tag, device) = (Tag::from(number), machine.blob);
            let (kind, buffer) = (JobKind::Read, Some(Buffer::new(4096)));
            let job = Job { tag, device, at: number % 8 * 4096, kind, buffer };
            root.with_layer(|_, storage| storage.start(job).unwrap());
        }
        machine.read(&root).unwrap();
        let back: Vec<_> = std::iter::from_fn(|| root.poll_job()).collect();
        assert_eq!(back.len(), numbers.len(), "{with_region}");
        for (job, result) in back {
            assert_eq!(result, Ok(()));
            assert!(numbers.contains(&job.tag.number().unwrap()));
            assert_eq!(job.buffer.map(|buffer| buffer.len()), Some(4096));
        }
        assert_eq!(strays(&root), 0, "{with_region}");
    }
}

#[test]
fn jobs_that_their_embedder_forgets_are_bounded_and_the_rest_counted() {
    let machine = machine(4);
    machine.world.set_jobs_max(machine.region, 100);
    let root = machine.mount(1, false);
    for number in 0..100_u64 {
        let (kind, device) = (JobKind::Flush, machine.region);
        let job = Job { tag: number.into(), device, at: 0, kind, buffer: None };
        root.with_layer(|_, storage| storage.start(job).unwrap());
    }
    machine.read(&root).unwrap();
    machine.world.advance_ns(1_000_000_000);
    while root.stats().stray_jobs == 0 {
        machine.read(&root).unwrap();
    }
    let kept = std::iter::from_fn(|| root.poll_job()).count() as u64;
    assert!(kept >= 64, "{kept}");
    assert_eq!(kept + strays(&root), 100);
}

#[test]
fn read_of_a_stream_that_never_comes_back_fails_in_time_and_is_read_again() {
    for fault in [Fault::Keep, Fault::Rename(7)] {
        let machine = machine(5);
        let root = machine.mount(1, false);
        let first = Rule::new(fault).device(machine.blob).op(OpKind::Read).nth(2);
        machine.world.rule(first);
        let mut stream = root.stream(b"/data").unwrap();
        let start = root.now_ns();
        let error = loop {
            match machine.take(&mut stream) {
                Ok(len) => assert!(len > 0, "{fault:?}: the file ended"),
                Err(error) => break error,
            }
        };
        let patience = root.with_layer(|_, storage| storage.patience_ns());
        let waited = root.now_ns() - start;
        assert!((patience..patience + 2_000_000_000).contains(&waited), "{waited}");
        let Error::Io(error) = error else { panic!("{error}") };
        assert_eq!((error.device, error.kind), (machine.blob, IoErrorKind::Timeout));
        assert!(error.at >= stream.position() & !4095 && error.len > 0, "{error}");
        // The next try reads it.
        while machine.take(&mut stream).unwrap() > 0 {}
        assert_eq!(stream.position() as usize, FILE);
        drop(stream);
        assert_eq!(strays(&root), 0);
        let foreign = root.poll_job().map(|(job, _)| job.tag.number());
        assert_eq!(foreign, (fault != Fault::Keep).then_some(Some(7)));
    }
}

#[test]
fn read_that_comes_back_late_is_counted_and_its_buffer_is_used_again() {
    let machine = machine(6);
    let root = machine.mount(1, false);
    for round in 1..20 {
        machine.world.rule(Rule::new(Fault::Keep).device(machine.blob).op(OpKind::Read));
        let mut stream = root.stream(b"/data").unwrap();
        assert!(machine.take(&mut stream).is_err());
        drop(stream);
        machine.world.heal();
        assert!(machine.world.release() > 0);
        let batches = root.stats().batches;
        machine.read(&root).unwrap();
        assert_eq!(strays(&root), round);
        // Without buffers the file would be read in the foreground, 4 KiB at a time.
        assert!(root.stats().batches - batches < 10, "round {round}");
    }
}

#[test]
fn reader_waits_no_longer_for_what_a_stream_has_on_its_way_than_a_job_may_take() {
    let machine = machine(8);
    let root = machine.mount(1, true);
    machine.world.rule(Rule::new(Fault::Keep).device(machine.blob).op(OpKind::Read).nth(2));
    let mut stream = root.stream(b"/data").unwrap();
    machine.take(&mut stream).unwrap();
    let file = root.open(b"/data").unwrap();
    let mut out = vec![0; FILE];
    for _ in 0..2 {
        assert_eq!(file.read_at(0, &mut out).unwrap(), FILE);
        assert!(out == machine.data);
    }
    let (start, patience) = root.with_layer(|_, s| (s.now_ns(), s.patience_ns()));
    assert!(start < 2 * patience, "one wait, not one a read: {start}");
    // The stream's own wait is over, too.
    while stream.position() < FILE as u64 {
        let failed = machine.take(&mut stream).is_err();
        assert!(!failed || root.now_ns() < start + 1_000_000_000, "no second wait");
    }
}

#[test]
fn read_of_the_region_that_never_comes_back_is_read_from_its_source() {
    let machine = machine(9);
    let root = machine.mount(1, true);
    machine.read(&root).unwrap();
    assert!(root.sync(SYNC_TIME));
    drop(root);
    let root = machine.mount(2, true);
    machine.world.rule(Rule::new(Fault::Keep).device(machine.region).op(OpKind::Read).times(1));
    machine.read(&root).unwrap();
    assert!(root.stats().hits > 0 && root.stats().fetched_bytes > 0);
    root.with_layer(|layer, _| {
        let stats = layer.as_ref().unwrap().stats();
        assert_eq!((stats.region_faults, stats.check_failures), (1, 0));
    });
}
