//! Waits over clocks that jump or stand still: a pause of the machine is not a timeout, and no wait is
//! endless.

use std::cell::Cell;

use rootlet::blob::Image;
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::Root;
use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind, Job, Storage, Transfer, Version,
};
use rootlet_sim::disk::{Fault, OpKind, Rule, SimStorage, Sparse, World};
use rootlet_sim::image::{Content, Options, Tree, build};

const FILE: usize = 1 << 20;
const HOUR_NS: u64 = 3_600_000_000_000;

/// What a clock does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// The number of looks after which the clock jumps by an hour, each time.
    Jumps(u64),
    /// It shows one moment for ever.
    Stands,
}

/// Simulated devices beside a clock of some manner.
struct Clocked {
    inner: SimStorage,
    manner: Manner,
    looks: Cell<u64>,
    /// What no other machine has.
    unique: u64,
}

impl Storage for Clocked {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.inner.info(device)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        self.inner.run(batch, done);
    }

    fn now_ns(&self) -> u64 {
        self.looks.set(self.looks.get() + 1);
        match self.manner {
            Manner::Jumps(looks) => self.inner.now_ns() + self.looks.get() / looks * HOUR_NS,
            Manner::Stands => 7,
        }
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        self.inner.start(job)
    }

    fn poll(&self) -> Option<(Job, Result<(), IoErrorKind>)> {
        self.inner.poll()
    }

    fn patience_ns(&self) -> u64 {
        match self.manner {
            Manner::Jumps(_) => 30_000_000_000,
            // Over a clock that stands still ten nanoseconds a look.
            Manner::Stands => 100_000,
        }
    }

    fn unique(&self) -> u64 {
        self.unique
    }
}

impl Discover for Clocked {
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        self.inner.disk(serial)
    }

    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        self.inner.share_file(mount_tag, name)
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        self.inner.disks(each);
    }

    fn set_version(&mut self, device: DeviceId, version: Version) {
        self.inner.set_version(device, version);
    }
}

/// A machine whose image's file takes its time, the disk of the image, and that of a region.
fn machine(seed: u64) -> (World, DeviceId, DeviceId) {
    let mut tree = Tree::new();
    tree.file("/data", Content::seeded(1, FILE));
    let built = build(&tree, &Options::default()).unwrap();
    let world = World::new(seed);
    let image = world.blob("image", &built.image);
    let region = world.disk("cache", 512, Sparse::zeros(16 << 20));
    world.rule(Rule::new(Fault::Delay(2_000_000)).device(image).op(OpKind::Read));
    (world, image, region)
}

fn mount(world: &World, region: DeviceId, manner: Manner) -> Root<Clocked, Option<Cache>> {
    mount_as(world, region, manner, 0)
}

/// As [`mount`], on the machine that has this number.
fn mount_as(
    world: &World,
    region: DeviceId,
    manner: Manner,
    unique: u64,
) -> Root<Clocked, Option<Cache>> {
    let mut storage = Clocked { inner: world.attach(), manner, looks: Cell::new(0), unique };
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[]).unwrap();
    let layer = Cache::open(&storage, &CacheOptions::new(region, [1; 16])).unwrap();
    Root::new(storage, Some(layer), &image, &sources).unwrap()
}

/// Reads the file by a stream; what its first error is.
fn read(root: &Root<Clocked, Option<Cache>>) -> Result<usize, rootlet::Error> {
    let want = Content::seeded(1, FILE).to_vec();
    let mut stream = root.stream(b"/data").unwrap();
    loop {
        let at = stream.position() as usize;
        let bytes = stream.lend()?;
        let len = bytes.len();
        assert!(bytes == &want[at..at + len], "at {at}");
        if len == 0 {
            return Ok(at);
        }
        stream.advance(len);
    }
}

#[test]
fn pauses_of_the_machine_end_no_read_of_a_stream_and_no_sync() {
    for seed in 0..10 {
        let (world, _, region) = machine(seed);
        let root = mount(&world, region, Manner::Jumps(40));
        assert_eq!(read(&root), Ok(FILE), "seed {seed}");
        let durable = root.with_layer(|layer, storage| {
            let end = storage.now_ns() + 30_000_000_000;
            layer.as_mut().unwrap().sync(storage, end)
        });
        assert!(durable, "seed {seed}");
        let looks = root.with_layer(|_, storage| storage.looks.get());
        assert!(looks > 80, "seed {seed}: some pauses, {looks} looks");
    }
}

#[test]
fn waits_over_a_clock_that_stands_still_end() {
    let (world, image, region) = machine(1);
    let root = mount(&world, region, Manner::Stands);
    world.rule(Rule::new(Fault::Keep).device(image).op(OpKind::Read).times(1));
    let error = format!("{:#}", read(&root).unwrap_err());
    assert!(error.starts_with("I/O error: device 0: "), "{error}");
    assert!(error.ends_with("no answer before the deadline"), "{error}");
    assert_eq!(read(&root), Ok(FILE));
    // Nor does a region wait for ever for a write that never comes back.
    world.rule(Rule::new(Fault::Keep).device(region));
    let durable = root.with_layer(|layer, storage| {
        let cache = layer.as_mut().unwrap();
        cache.catch_up(storage, 100_000);
        cache.sync(storage, 100_000)
    });
    assert!(!durable);
}

/// Machines that were resumed from one snapshot have one nonce and one generation; these two also do
/// the same at the same moment.
#[test]
fn mark_of_a_group_differs_by_what_is_unique_of_a_machine() {
    let mark = |unique: u64| {
        let (world, _, region) = machine(3);
        let root = mount_as(&world, region, Manner::Stands, unique);
        root.open(b"/data").unwrap().read_at(0, &mut [0; 4096]).unwrap();
        root.with_layer(|layer, storage| {
            assert!(layer.as_mut().unwrap().sync(storage, 100_000));
            // Its place is in FORMAT.md.
            let mut mark = vec![0; 4096];
            let mut batch = [Transfer::read(region, 24 << 12, &mut mark)];
            storage.run(&mut batch, &mut |_, _| {});
            mark
        })
    };
    assert_eq!(mark(7)[..4], *b"RLmk");
    assert_eq!(mark(7), mark(7), "nothing differs");
    assert_ne!(mark(7), mark(8));
}
