//! Futures read what a blocking reader reads, of every golden image: all layouts and decoders.

use std::fs;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::{Budget, Root};
use rootlet::storage::Discover;
use rootlet_golden::{Golden, Set};
use rootlet_sim::Rng;
use rootlet_sim::disk::{SimStorage, Sparse, World};
use rootlet_sim::tasks::{Task, join};
use serde_json::Value;

use crate::{REGION_BYTES, each_image};

type Mount = Root<SimStorage, Option<Cache>>;

/// Readers of one mount.
const READERS: usize = 5;
/// Files that each reads a part of.
const FILES: usize = 12;

fn mounted(golden: &Golden, seed: u64, region: bool, budget: &Budget) -> Mount {
    let world = World::new(seed);
    world.set_jitter_ns(2_000_000);
    world.blob("image", fs::read(&golden.image).unwrap());
    for (number, blob) in golden.devices.iter().enumerate() {
        world.blob(&format!("blob{}", number + 1), fs::read(blob).unwrap());
    }
    world.disk("cache", 512, Sparse::zeros(REGION_BYTES));
    let mut storage = world.attach();
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let names: Vec<String> = (1..=golden.devices.len()).map(|n| format!("blob{n}")).collect();
    let given: Vec<(u16, SourceName<&str>)> =
        (1..).zip(names.iter().map(|name| SourceName::Disk(name.as_str()))).collect();
    let sources = image.bind(&mut storage, &given).unwrap();
    let layer = region.then(|| {
        let device = storage.disk("cache").unwrap();
        Cache::open(&storage, &CacheOptions::new(device, [7; 16])).unwrap()
    });
    Root::with_budget(storage, layer, &image, &sources, budget).unwrap()
}

/// The rows of the files that the image has.
fn rows<'s>(set: &'s Set, golden: &Golden) -> Vec<&'s Value> {
    let is_here = |row: &&Value| !golden.omits(row["path"].as_str().unwrap());
    let rows = set.manifest.iter().filter(|row| row.get("sha256").is_some());
    rows.filter(is_here).collect()
}

/// Reads parts of files, and compares each with what a blocking reader of another mount reads.
async fn read(name: &str, root: &Mount, blocking: &Mount, rows: &[&Value], mut rng: Rng) {
    for _ in 0..FILES {
        let path = rows[rng.index(rows.len())]["path"].as_str().unwrap();
        let inode = root.metadata_async(path.as_bytes()).await.unwrap();
        let other = blocking.metadata(path.as_bytes()).unwrap();
        assert_eq!((inode.nid(), inode.size()), (other.nid(), other.size()), "{name}: {path}");
        let at = if rng.below(3) == 0 { 0 } else { rng.below(inode.size() + 100) };
        let most = 2 << rng.index(19);
        let len = 1 + rng.index(most);
        let (mut got, mut want) = (vec![0xee; len], vec![0xdd; len]);
        let got_len = root.read(&inode, at, &mut got).await;
        let want_len = blocking.open_inode(other).unwrap().read_at(at, &mut want);
        assert_eq!(got_len, want_len, "{name}: {path} from {at}, {len} bytes");
        let len = want_len.unwrap();
        assert!(got[..len] == want[..len], "{name}: {path} from {at}, {len} bytes");
    }
}

#[test]
fn futures_read_what_a_blocking_reader_reads() {
    let small = Budget::default().with_metadata_bytes(0).with_decoded_bytes(0);
    let cases = [(small, true), (Budget::default(), false), (Budget::LARGE, true)];
    each_image(|set, golden| {
        let rows = rows(set, golden);
        for (seed, (budget, region)) in (0..).zip(cases) {
            let root = mounted(golden, seed, region, &budget);
            let blocking = mounted(golden, seed, false, &Budget::LARGE);
            let mut rng = Rng::new(seed);
            let mut readers: Vec<Task<'_, ()>> = Vec::new();
            for _ in 0..READERS {
                let reader = read(&golden.name, &root, &blocking, &rows, rng.fork());
                readers.push(Box::pin(reader));
            }
            join(&mut rng, readers, |_| {
                root.drive();
            });
            let blocked = root.stats().blocked_steps;
            assert_eq!(blocked, 0, "{} with {budget:?}", golden.name);
        }
    });
}

#[test]
fn step_of_many_reads_keeps_what_has_landed_and_reads_nothing_twice() {
    let set = Set::built_in(env!("CARGO_TARGET_TMPDIR"));
    let golden = set.images.iter().find(|golden| golden.name == "zstd-1m").unwrap();
    // A cluster of more than a buffer: its parts land one after another.
    let path = b"/usr/share/mixed.bin";
    let fetched = |root: &Mount, read: &mut dyn FnMut(&mut [u8])| {
        let before = root.stats();
        read(&mut [0]);
        let after = root.stats();
        (after.fetched_bytes - before.fetched_bytes, after.blocked_steps)
    };
    let blocking = mounted(golden, 0, false, &Budget::default());
    let inode = blocking.metadata(path).unwrap();
    let file = blocking.open_inode(inode).unwrap();
    let (all, _) = fetched(&blocking, &mut |out| assert_eq!(file.read_at(0, out), Ok(1)));
    assert!(all > 65536, "{all} bytes: more than a buffer of 64 KiB");
    for seed in 0..20 {
        let root = mounted(golden, seed, false, &Budget::default());
        let inode = root.metadata(path).unwrap();
        let read = &mut |out: &mut [u8]| {
            let read: Task<'_, _> = Box::pin(root.read(&inode, 0, out));
            let len = join(&mut Rng::new(seed), vec![read], |_| {
                root.drive();
            });
            assert_eq!(len, [Ok(1)]);
        };
        assert_eq!(fetched(&root, read), (all, 0), "seed {seed}");
    }
}
