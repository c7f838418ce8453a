//! One reader and sixteen, of random 4 KiB over devices that take 100 us: without a region, into an
//! empty one, and from a full one. Prints reads a second, and their ratio.
//!
//! Always: each reader has a part of the file of its own; each read is compared with the file.
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that panics has failed"
)]

use std::collections::VecDeque;
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::Root;
use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, Ended, IoErrorKind, Job, JobKind, Lent, Storage,
    Transfer, Version, only,
};
use rootlet_sim::image::{Built, Content, Options, Tree, build};

const READERS: usize = 16;
/// The blocks of 4 KiB that each reader reads.
const BLOCKS: usize = 256;
const BLOCK: usize = 4096;
const LATENCY: Duration = Duration::from_micros(100);
const REGION_BYTES: usize = 64 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// Disks in memory. A batch takes [`LATENCY`], beside all others; a background job takes no time, as
/// with a disk that has a cache for writes.
struct Disks {
    disks: Vec<(&'static str, RwLock<Vec<u8>>)>,
    ended: Mutex<VecDeque<Ended>>,
    since: Instant,
}

impl Disks {
    fn new(disks: Vec<(&'static str, Vec<u8>)>) -> Self {
        let whole = |mut bytes: Vec<u8>| {
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            RwLock::new(bytes)
        };
        let disks = disks.into_iter().map(|(name, bytes)| (name, whole(bytes))).collect();
        Self { disks, ended: Mutex::default(), since: Instant::now() }
    }

    fn move_bytes(&self, device: DeviceId, at: u64, lent: Lent<'_>) {
        let (disk, at) = (&self.disks[usize::from(device.0)].1, at as usize);
        match lent {
            Lent::Read(out) => out.copy_from_slice(&disk.read().unwrap()[at..][..out.len()]),
            Lent::Write(data) => disk.write().unwrap()[at..][..data.len()].copy_from_slice(data),
            Lent::Flush => {}
        }
    }
}

impl Storage for Disks {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        let (_, disk) = self.disks.get(usize::from(device.0))?;
        Some(DeviceInfo::new(disk.read().unwrap().len() as u64, 512))
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        thread::sleep(LATENCY);
        for (index, transfer) in batch.iter_mut().enumerate() {
            let lent = match &mut transfer.lent {
                Lent::Read(out) => Lent::Read(out),
                Lent::Write(data) => Lent::Write(data),
                Lent::Flush => Lent::Flush,
            };
            self.move_bytes(transfer.device, transfer.at, lent);
            transfer.result = Some(Ok(()));
            done(index, transfer);
        }
    }

    fn now_ns(&self) -> u64 {
        self.since.elapsed().as_nanos() as u64
    }

    fn start(&self, mut job: Job) -> Result<(), Job> {
        let lent = match (job.kind, &mut job.buffer) {
            (JobKind::Read, Some(buffer)) => buffer.get_mut().map(Lent::Read),
            (JobKind::Write, Some(buffer)) => Some(Lent::Write(buffer)),
            _ => Some(Lent::Flush),
        };
        let result = lent.map(|lent| self.move_bytes(job.device, job.at, lent));
        let ended = (job, result.ok_or(IoErrorKind::Protocol));
        self.ended.lock().unwrap().push_back(ended);
        Ok(())
    }

    fn poll(&self) -> Option<Ended> {
        self.ended.lock().unwrap().pop_front()
    }

    fn rest(&self, ns: u32) {
        thread::sleep(Duration::from_nanos(ns.into()));
    }
}

impl Discover for Disks {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        let disks = (0..).map(DeviceId).zip(&self.disks);
        only(disks.filter(|(_, disk)| disk.0 == name).map(|(device, _)| device))
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        for (number, (name, _)) in (0..).zip(&self.disks) {
            each(name, DeviceId(number));
        }
    }

    fn set_version(&mut self, _: DeviceId, _: Version) {}
}

type Mounted = Root<Disks, Option<Cache>>;

/// What the region holds at the start.
#[derive(Clone, Copy, PartialEq)]
enum Region {
    None,
    Cold,
    Warm,
}

fn mounted(built: &Built, region: Region) -> Mounted {
    let image = built.image.bytes().to_vec();
    let disks = vec![
        ("image", image),
        ("blob1", built.blobs[0].to_vec()),
        ("cache", vec![0; REGION_BYTES]),
    ];
    let mut storage = Disks::new(disks);
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
    let layer = (region != Region::None).then(|| {
        let device = storage.disk("cache").unwrap();
        Cache::open(&storage, &CacheOptions::new(device, [5; 16])).unwrap()
    });
    let root = Root::new(storage, layer, &image, &sources).unwrap();
    if region == Region::Warm {
        let file = root.open(b"/large").unwrap();
        let mut out = vec![0; 1 << 20];
        for at in (0..file.size()).step_by(out.len()) {
            file.read_at(at, &mut out).unwrap();
            assert!(root.sync(10 * SECOND));
        }
    }
    root
}

/// Reads of one reader: each block of its part once, in an order that looks random.
fn read(root: &Mounted, data: &[u8], part: usize) {
    let file = root.open(b"/large").unwrap();
    let mut out = [0; BLOCK];
    for number in 0..BLOCKS {
        let at = (part * BLOCKS + number * 89 % BLOCKS) * BLOCK;
        assert_eq!(file.read_at(at as u64, &mut out), Ok(BLOCK));
        assert!(out[..] == data[at..][..BLOCK]);
    }
}

/// Reads a second of this many readers together.
fn rate(built: &Built, data: &[u8], region: Region, readers: usize) -> f64 {
    let root = mounted(built, region);
    // The chunk map, and the file's inode.
    root.open(b"/large").unwrap().read_at(0, &mut [0]).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        for part in 0..readers {
            let root = &root;
            scope.spawn(move || read(root, data, part));
        }
    });
    (readers * BLOCKS) as f64 / start.elapsed().as_secs_f64()
}

fn main() {
    let data = Content::seeded(1, READERS * BLOCKS * BLOCK).to_vec();
    let mut tree = Tree::new();
    tree.file("/large", Content::bytes(data.clone()));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    println!("{:12} {:>10} {:>12} {:>6}", "region", "1 reader", "16 readers", "ratio");
    for (name, region) in [("none", Region::None), ("cold", Region::Cold), ("warm", Region::Warm)] {
        let one = rate(&built, &data, region, 1);
        let many = rate(&built, &data, region, READERS);
        println!("{name:12} {one:>8.0}/s {many:>10.0}/s {:>6.1}", many / one);
    }
}
