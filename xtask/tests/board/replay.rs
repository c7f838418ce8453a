//! A log of QEMU's blklogwrites, and the library over the disk as it was at any point of it.
//!
//! Format: Linux, Documentation/admin-guide/device-mapper/log-writes.rst. In sectors of 512 bytes:
//! a superblock (magic, version, count of entries, sector size), then entry after entry a sector
//! with (sector, count of sectors, flags, bytes of data) and the data.
//!
//! Always: what a mount found once at a flush is there at every later point.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{BlockPlace, Cache, CacheOptions};
use rootlet::read::Root;
use rootlet::storage::{DeviceId, Discover, Version};
use rootlet_sim::Rng;
use rootlet_sim::disk::{SimStorage, Sparse, StableImage, World};

use crate::sample::Sample;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: usize = 512;
const FLUSH: u64 = 1;

/// An entry of the log.
pub struct Entry {
    at: u64,
    data: Vec<u8>,
    flush: bool,
}

/// A log, in order.
pub struct Log(Vec<Entry>);

impl Log {
    /// Reads all of it.
    pub fn read(path: &Path) -> Self {
        let raw = fs::read(path).unwrap();
        let word = |at: usize| u64::from_le_bytes(raw[at..at + 8].try_into().unwrap());
        assert_eq!((word(0), word(8)), (MAGIC, 1), "the log's superblock");
        let mut at = SECTOR;
        let mut entries = Vec::new();
        for _ in 0..word(16) {
            let (sector, sectors, flags) = (word(at), word(at + 8), word(at + 16));
            at += SECTOR;
            let data = raw[at..at + sectors as usize * SECTOR].to_vec();
            at += data.len();
            entries.push(Entry { at: sector * SECTOR as u64, data, flush: flags & FLUSH != 0 });
        }
        Self(entries)
    }
}

/// Blocks that a mount found: of which blob entry, and which.
type Residents = BTreeSet<(u16, u64)>;

/// The disk of the log, and a machine that opens it.
pub struct Replay<'s> {
    sample: &'s Sample,
    world: World,
    image: DeviceId,
    disk: DeviceId,
    content: Sparse,
    kept: Residents,
    boots: u8,
}

impl<'s> Replay<'s> {
    /// The disks that an identity has; both machines get the same version of each.
    pub const DISKS: [&'static str; 3] = ["image", "blob1", "blob2"];
    pub const VERSION: u64 = 7;

    /// Returns a blank disk of `bytes`.
    pub fn new(sample: &'s Sample, bytes: u64) -> Self {
        let world = World::new(1);
        let image = world.blob("image", &sample.built.image);
        for (number, blob) in sample.built.blobs.iter().enumerate() {
            world.blob(&format!("blob{}", number + 1), blob);
        }
        let content = Sparse::zeros(bytes);
        let disk = world.disk("region", 512, content.clone());
        Self { sample, world, image, disk, content, kept: Residents::new(), boots: 0 }
    }

    /// Looks at the disk at every flush, at `between` writes, and with a random part of what was
    /// not flushed. Says how many of each there were.
    pub fn all(&mut self, log: &Log, between: usize, seed: u64) -> (usize, usize) {
        let mut rng = Rng::new(seed);
        let writes = log.0.iter().filter(|entry| !entry.flush).count();
        let (mut flushes, mut points) = (0, 0);
        let mut durable = self.content.clone();
        let mut open: Vec<&Entry> = Vec::new();
        for entry in &log.0 {
            if entry.flush {
                durable = self.content.clone();
                open.clear();
                flushes += 1;
                self.kept = self.look(&durable.clone());
            }
            // A flush may carry data of its own (FUA), which comes after the flushed writes.
            if !entry.data.is_empty() {
                self.content.write(entry.at, &entry.data);
                open.push(entry);
            }
            if rng.index(writes) < between {
                self.look(&self.content.clone());
                let mut some = durable.clone();
                for entry in &open {
                    let chance = [0, 800_000][rng.index(2)];
                    for (number, sector) in entry.data.chunks(SECTOR).enumerate() {
                        if rng.chance(chance) {
                            some.write(entry.at + (number * SECTOR) as u64, sector);
                        }
                    }
                }
                self.look(&some);
                points += 2;
            }
        }
        (flushes, points)
    }

    /// Bytes of the sources that a mount of the last state reads.
    pub fn fetched_at_the_end(&mut self) -> u64 {
        let root = self.boot(&self.content.clone());
        self.read(&root);
        root.stats().fetched_bytes
    }

    fn boot(&mut self, content: &Sparse) -> Root<SimStorage, Option<Cache>> {
        self.world.restore(self.disk, &StableImage(content.clone()));
        let mut storage = self.world.attach();
        for disk in Self::DISKS {
            let device = storage.disk(disk).unwrap();
            storage.set_version(device, Version::Said(Self::VERSION));
        }
        let image = Image::read(&storage, self.image).unwrap();
        let names = [(1, SourceName::Disk("blob1")), (2, SourceName::Disk("blob2"))];
        let parts = image.bind(&mut storage, &names).unwrap();
        self.boots = self.boots.wrapping_add(1);
        let cache = Cache::open(&storage, &CacheOptions::new(self.disk, [self.boots; 16]));
        Root::new(storage, Some(cache.expect("a cut leaves a region")), &image, &parts).unwrap()
    }

    /// Mounts and reads everything; what was found before is there, and no check fails.
    fn look(&mut self, content: &Sparse) -> Residents {
        let root = self.boot(content);
        let found = root.with_layer(|cache, _| residents(cache.as_ref().unwrap()));
        let lost = self.kept.difference(&found).next();
        assert_eq!(lost, None, "LOST: a block that an earlier flush had kept");
        self.read(&root);
        let stats = root.with_layer(|cache, _| cache.as_ref().unwrap().stats());
        assert_eq!(stats.check_failures, 0, "a check failed on an honest disk");
        found
    }

    fn read(&self, root: &Root<SimStorage, Option<Cache>>) {
        for number in 0..64 {
            let path = format!("/d{}/{number:02}", number % 3);
            let right = self.sample.tree.content(&path).unwrap().to_vec();
            let mut got = vec![0; right.len()];
            let read = root.open(path.as_bytes()).and_then(|file| file.read_at(0, &mut got));
            assert_eq!(read, Ok(right.len()), "{path}");
            assert!(got == right, "WRONG BYTES in {path}");
        }
    }
}

fn residents(cache: &Cache) -> Residents {
    let mut all = Residents::new();
    for (index, entry) in cache.blobs() {
        let (mut number, blocks) = (0, entry.bytes.div_ceil(4096));
        while number < blocks {
            let (found, run) = cache.find_block(index, number);
            if matches!(found, BlockPlace::Resident { .. }) {
                all.extend((number..number + run as u64).map(|number| (index.get(), number)));
            }
            number += run as u64;
        }
    }
    all
}
