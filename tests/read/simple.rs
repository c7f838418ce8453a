//! Disks of drivers that do one thing at a time, and what bad ones do: an error with a name, and
//! both laws.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use rootlet::Error;
use rootlet::blob::{BindError, Image};
use rootlet::cache::{Cache, CacheOptions, NoRegion};
use rootlet::read::Root;
use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, Disk, Ended, IoErrorKind, Job, Simple, Storage,
    Transfer, Unfit,
};
use rootlet_sim::image::{Content, Options, Tree, build};

const FILE: usize = 300_000;
const IMAGE: DeviceId = DeviceId(0);
const REGION: DeviceId = DeviceId(1);

/// What a driver does with requests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Good,
    /// From this request on this many bytes fewer arrive.
    Short(u32, usize),
    /// From this request on more bytes arrive than were wanted, it says.
    Long(u32),
    /// From this request on each fails.
    Fails(u32),
}

/// A disk in memory.
#[derive(Debug)]
struct Memory {
    serial: &'static str,
    bytes: Vec<u8>,
    info: DeviceInfo,
    manner: Manner,
    reads: u32,
}

impl Memory {
    fn new(serial: &'static str, bytes: Vec<u8>) -> Self {
        let info = DeviceInfo::new(bytes.len() as u64, 512);
        Self { serial, bytes, info, manner: Manner::Good, reads: 0 }
    }

    fn with(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }
}

impl Disk for Memory {
    fn info(&self) -> DeviceInfo {
        self.info
    }

    fn serial(&self) -> &str {
        self.serial
    }

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
        // What many a driver asserts.
        assert!(at.is_multiple_of(512) && out.len().is_multiple_of(512) && !out.is_empty());
        assert!(out.as_ptr().addr().is_multiple_of(self.info.memory_align as usize));
        self.reads += 1;
        let at = at as usize;
        match self.manner {
            Manner::Fails(first) if self.reads >= first => Err(IoErrorKind::Device(77)),
            Manner::Short(first, missing) if self.reads >= first => {
                let len = out.len() - missing;
                out[..len].copy_from_slice(&self.bytes[at..at + len]);
                Ok(len)
            }
            Manner::Long(first) if self.reads >= first => Ok(out.len() + 512),
            _ => {
                out.copy_from_slice(&self.bytes[at..at + out.len()]);
                Ok(out.len())
            }
        }
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<usize, IoErrorKind> {
        assert!(data.as_ptr().addr().is_multiple_of(self.info.memory_align as usize));
        if self.manner != Manner::Good {
            return Err(IoErrorKind::Device(78));
        }
        self.bytes[at as usize..][..data.len()].copy_from_slice(data);
        Ok(data.len())
    }
}

fn content() -> Vec<u8> {
    Content::seeded(5, FILE).to_vec()
}

fn image() -> Memory {
    let mut tree = Tree::new();
    tree.file("/data", Content::bytes(content()));
    let mut bytes = build(&tree, &Options::default()).unwrap().image.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    Memory::new("image", bytes)
}

fn region() -> Memory {
    Memory::new("cache", vec![0; 16 << 20])
}

fn storage(disks: impl IntoIterator<Item = Memory>) -> Simple<Memory> {
    let mut storage = Simple::new(|| 0);
    for disk in disks {
        storage.add(disk).unwrap();
    }
    storage
}

/// Reads the whole file at odd places, and compares it.
fn read<S: Storage, L: rootlet::cache::Layer<S>>(root: &Root<S, L>) -> Result<(), Error> {
    let want = content();
    let file = root.open(b"/data")?;
    for (at, len) in [(0, FILE), (77, 999), (4095, 8194), (FILE - 5, 5)] {
        let mut out = vec![0xee; len];
        assert_eq!(file.read_at(at as u64, &mut out)?, len);
        assert!(out == want[at..at + len], "{len} bytes at {at}");
    }
    Ok(())
}

fn with_region(storage: Simple<Memory>) -> Root<Simple<Memory>, Option<Cache>> {
    let cache = Cache::open(&storage, &CacheOptions::new(REGION, [3; 16])).ok();
    Root::open_image(storage, cache, IMAGE).unwrap()
}

fn sync(root: &Root<Simple<Memory>, Option<Cache>>) -> bool {
    root.with_layer(|layer, storage| {
        layer.as_mut().is_some_and(|cache| cache.sync(storage, 100_000))
    })
}

#[test]
fn image_without_blobs_is_mounted_in_one_call() {
    let root = Root::open_image(storage([image()]), NoRegion, IMAGE).unwrap();
    read(&root).unwrap();
}

#[test]
fn second_mount_over_a_region_fetches_nothing() {
    let root = with_region(storage([image(), region()]));
    read(&root).unwrap();
    assert!(sync(&root), "over a clock that stands still");
    let (storage, _) = root.into_parts();
    let root = with_region(storage);
    read(&root).unwrap();
    let stats = root.stats();
    assert!(stats.fetched_bytes == 0 && stats.hit_bytes > 0, "{stats:?}");
}

#[test]
fn failures_of_a_driver_have_names_and_give_no_wrong_bytes() {
    for (manner, name) in [
        (Manner::Fails(6), "the device reported error 77"),
        (Manner::Short(6, 1), "bytes arrived"),
        (Manner::Short(6, 512), "bytes arrived"),
        (Manner::Long(6), "the device broke its protocol"),
    ] {
        let root = Root::open_image(storage([image().with(manner)]), NoRegion, IMAGE).unwrap();
        let error = format!("{:#}", read(&root).unwrap_err());
        assert!(error.ends_with(name), "{manner:?}: {error}");
        let error = Root::open_image(storage([image().with(first(manner))]), NoRegion, IMAGE);
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.ends_with(name), "{manner:?}: {error}");
    }
}

/// The same from the first request on.
fn first(manner: Manner) -> Manner {
    match manner {
        Manner::Good => Manner::Good,
        Manner::Short(_, missing) => Manner::Short(1, missing),
        Manner::Long(_) => Manner::Long(1),
        Manner::Fails(_) => Manner::Fails(1),
    }
}

#[test]
fn no_read_fails_for_the_driver_of_a_region() {
    for manner in [Manner::Fails(40), Manner::Short(40, 512), Manner::Long(40), Manner::Fails(1)] {
        let root = with_region(storage([image(), region()]));
        read(&root).unwrap();
        assert!(sync(&root));
        let (storage, _) = root.into_parts();
        let mut worse = Simple::new(|| 0);
        let bytes = {
            let mut bytes = vec![0; 16 << 20];
            for (part, at) in bytes.chunks_mut(1 << 20).zip((0..).step_by(1 << 20)) {
                let mut batch = [Transfer::read(REGION, at, part)];
                storage.run(&mut batch, &mut |_, _| {});
                batch[0].outcome().unwrap();
            }
            bytes
        };
        worse.add(image()).unwrap();
        worse.add(Memory::new("cache", bytes).with(manner)).unwrap();
        let root = with_region(worse);
        for _ in 0..3 {
            read(&root).unwrap();
        }
        sync(&root);
    }
}

#[test]
fn disk_that_no_read_can_be_cut_for_is_refused_by_name() {
    for (info, unfit) in [
        (DeviceInfo::new(1 << 20, 8192), Unfit::Sector(8192)),
        (DeviceInfo::new(1 << 20, 0), Unfit::Sector(0)),
        (DeviceInfo::new(1_000_000, 512), Unfit::Length { bytes: 1_000_000, sector: 512 }),
        (DeviceInfo::new(1 << 20, 512).with_memory_align(0), Unfit::Memory(0)),
        (DeviceInfo::new(1 << 20, 512).with_memory_align(24), Unfit::Memory(24)),
        (DeviceInfo::new(1 << 20, 512).with_memory_align(8192), Unfit::Memory(8192)),
        (
            DeviceInfo::new(1 << 20, 512).with_transfer_bytes_max(700),
            Unfit::Transfer { max: 700, sector: 512 },
        ),
    ] {
        let disk = Memory { info, ..image() };
        let failed = Root::open_image(storage([disk]), NoRegion, IMAGE).unwrap_err();
        let want = BindError::Unfit { slot: 0, device: IMAGE, unfit };
        assert_eq!(failed.error, Error::Bind(want));
        // Nor is a region there, and no read fails.
        let disk = Memory { info, ..region() };
        read(&with_region(storage([image(), disk]))).unwrap();
    }
}

#[test]
fn driver_that_wants_aligned_memory_gets_it() {
    for align in [4, 512, 4096] {
        let aligned = |disk: Memory| Memory { info: disk.info.with_memory_align(align), ..disk };
        let root = with_region(storage([aligned(image()), aligned(region())]));
        read(&root).unwrap();
        let mut out = vec![0; FILE + 1];
        let file = root.open(b"/data").unwrap();
        assert_eq!(file.read_at(0, &mut out[1..]), Ok(FILE));
        assert!(out[1..] == content());
        assert!(sync(&root));
    }
}

#[test]
fn failed_mount_gives_the_storage_back() {
    let blank = Memory::new("blank", vec![0; 1 << 20]);
    let mut storage = storage([image(), blank]);
    let failed = Root::open_image(&mut storage, NoRegion, REGION).unwrap_err();
    assert!(matches!(failed.error, Error::Corrupt(_)), "{failed}");
    let root = Root::open_image(failed.storage, failed.layer, IMAGE).unwrap();
    read(&root).unwrap();
    drop(root);
    // The devices are still whose they were, and in a box they are as good.
    let boxed: Box<dyn Discover> = Box::new(storage);
    read(&Root::open_image(boxed, NoRegion, IMAGE).unwrap()).unwrap();
}

#[test]
fn disks_are_found_by_the_names_that_their_drivers_give() {
    let mut found = storage([image(), Memory::new("", vec![0; 512]), region(), region()]);
    assert_eq!(found.disk("image"), Ok(IMAGE));
    assert_eq!(found.disk("cache"), Err(DiscoverError::Ambiguous(2)));
    assert_eq!(found.disk(""), Err(DiscoverError::NotFound));
    assert_eq!(found.share_file(None, "image"), Err(DiscoverError::NotFound));
    assert_eq!(found.add(region()).map_err(|disk| disk.serial), Err("cache"), "there are four");
    assert_eq!(found.iter().map(|(device, _)| device.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn transfers_that_no_disk_has_never_reach_a_driver() {
    let mut storage = storage([image()]);
    let bytes = storage.info(IMAGE).unwrap().bytes;
    let mut out = [0; 1024];
    for (device, at, len, kind) in [
        (IMAGE, 100, 512, IoErrorKind::Unaligned),
        (IMAGE, 0, 100, IoErrorKind::Unaligned),
        (IMAGE, bytes, 512, IoErrorKind::OutOfRange),
        (IMAGE, u64::MAX - 511, 1024, IoErrorKind::OutOfRange),
        (REGION, 0, 512, IoErrorKind::Gone),
    ] {
        let mut batch = [Transfer::read(device, at, &mut out[..len])];
        storage.run(&mut batch, &mut |_, _| {});
        assert_eq!(batch[0].result, Some(Err(kind)), "{len} bytes at {at}");
    }
    let read_only = Memory { info: DeviceInfo::new(4096, 512).with_read_only(true), ..region() };
    let device = storage.add(read_only).unwrap();
    let mut batch = [Transfer::write(device, 0, &[1; 512]), Transfer::flush(device)];
    storage.run(&mut batch, &mut |_, _| {});
    assert_eq!(batch.map(|one| one.result.unwrap()), [Err(IoErrorKind::ReadOnly), Ok(())]);
    assert_eq!(storage.with(IMAGE, |disk| disk.reads), Some(0));
}

/// Gives each ended read a second time, with other bytes.
struct Twice {
    inner: Simple<Memory>,
    again: RefCell<Option<Ended>>,
}

impl Storage for Twice {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.inner.info(device)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        self.inner.run(batch, done);
    }

    fn now_ns(&self) -> u64 {
        0
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        self.inner.start(job)
    }

    fn poll(&self) -> Option<Ended> {
        if let Some(again) = self.again.take() {
            return Some(again);
        }
        let (job, result) = self.inner.poll()?;
        let buffer = job.buffer.as_ref().map(|buffer| {
            let mut other = rootlet::storage::Buffer::new(buffer.len());
            other.get_mut().unwrap().fill(0xbb);
            other
        });
        let Job { tag, device, at, kind, .. } = job;
        self.again.replace(Some((Job { tag, device, at, kind, buffer }, Ok(()))));
        Some((job, result))
    }
}

#[test]
fn request_that_ends_twice_gives_no_wrong_bytes() {
    let want = content();
    let mut inner = storage([image(), region()]);
    for _ in 0..2 {
        let twice = Twice { inner, again: RefCell::default() };
        let cache = Cache::open(&twice, &CacheOptions::new(REGION, [9; 16])).ok();
        let root = Root::open_image(twice, cache, IMAGE).unwrap();
        let mut stream = root.stream(b"/data").unwrap();
        loop {
            let at = stream.position() as usize;
            let bytes = stream.lend().unwrap();
            let len = bytes.len();
            assert!(bytes == &want[at..at + len], "at {at}");
            if len == 0 {
                break;
            }
            stream.advance(len);
        }
        drop(stream);
        read(&root).unwrap();
        root.with_layer(|layer, storage| layer.as_mut().unwrap().sync(storage, 100_000));
        inner = root.into_parts().0.inner;
    }
}

/// How a storage ends a batch that it has run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// Calls `done` twice for each transfer.
    Twice,
    /// Leaves the last transfer of each batch without a result, once the image is mounted.
    NotAll,
}

/// A storage with a queue that loses count.
struct Careless {
    inner: Simple<Memory>,
    ends: Ends,
    batches: Cell<u32>,
}

impl Storage for Careless {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.inner.info(device)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        let batches = self.batches.replace(self.batches.get() + 1);
        match (self.ends, batch.split_last_mut()) {
            (Ends::NotAll, Some((_, others))) if batches >= 4 => self.inner.run(others, done),
            (Ends::NotAll, _) => self.inner.run(batch, done),
            (Ends::Twice, _) => self.inner.run(batch, &mut |index, transfer| {
                done(index, transfer);
                done(index, transfer);
            }),
        }
    }

    fn now_ns(&self) -> u64 {
        0
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        self.inner.start(job)
    }

    fn poll(&self) -> Option<Ended> {
        self.inner.poll()
    }
}

#[test]
fn batch_that_ends_twice_or_not_at_all_gives_no_wrong_bytes() {
    let mut inner = storage([image(), region()]);
    // Into an empty region, then out of it.
    for _ in 0..2 {
        let twice = Careless { inner, ends: Ends::Twice, batches: Cell::default() };
        let cache = Cache::open(&twice, &CacheOptions::new(REGION, [4; 16])).ok();
        assert!(cache.is_some());
        let root = Root::open_image(twice, cache, IMAGE).unwrap();
        read(&root).unwrap();
        assert!(root.sync(Duration::from_secs(1)));
        inner = root.into_parts().0.inner;
    }
    let lost = Careless { inner, ends: Ends::NotAll, batches: Cell::default() };
    let root = Root::open_image(lost, NoRegion, IMAGE).unwrap();
    let error = read(&root).unwrap_err();
    assert!(matches!(&error, Error::Io(io) if io.kind == IoErrorKind::Gone), "{error:?}");
}

#[test]
fn blobs_that_lie_elsewhere_are_named_by_a_mount_of_one_device() {
    let mut tree = Tree::new();
    tree.file("/data", Content::bytes(content()));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    let storage = storage([Memory::new("image", built.image.into_bytes())]);
    let head = Image::read(&storage, IMAGE).unwrap();
    assert!(matches!(head.alone(&storage), Err(BindError::Missing { slot: 1, .. })));
    let failed = Root::open_image(storage, NoRegion, IMAGE).unwrap_err();
    assert!(matches!(failed.error, Error::Bind(BindError::Missing { slot: 1, .. })));
}
