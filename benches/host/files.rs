//! Mounting and reading over files: without a region, into an empty one, and from a full one.
//!
//! Always: the files lie in a folder of the target directory, and in the host's page cache.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use criterion::{BatchSize, Criterion, Throughput};
use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions, Layer};
use rootlet::read::Root;
use rootlet::storage::Storage;
use rootlet::storage::file::FileStorage;
use rootlet_sim::image::{Content, Options, Tree, build};

const FILE_BYTES: usize = 16 << 20;
const REGION_BYTES: u64 = 32 << 20;
const LARGE: usize = 1 << 20;
const SMALL: usize = 4096;
const SMALL_READS: u64 = 1000;
/// How long the region may take to keep what was read.
const SYNC_NS_MAX: u64 = 10_000_000_000;

type Mounted = Root<FileStorage, Option<Cache>>;

/// All of it.
pub fn all(criterion: &mut Criterion) {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-host");
    fs::create_dir_all(&dir).unwrap();
    make(&dir);
    let region = dir.join("region");
    let mount = |with_region: bool| mounted(&dir, with_region.then_some(&*region));
    let mut group = criterion.benchmark_group("files");
    group.bench_function("mount and open", |bencher| {
        bencher.iter(|| mount(false).open(b"/large").unwrap().size());
    });
    let root = mount(false);
    group.throughput(Throughput::Bytes(FILE_BYTES as u64));
    group.bench_function("1 MiB", |bencher| bencher.iter(|| sequence(&root)));
    group.bench_function("1 MiB, cold region", |bencher| {
        let fresh = || {
            File::create(&region).unwrap().set_len(REGION_BYTES).unwrap();
            mount(true)
        };
        let read_and_keep = |root: Mounted| {
            sequence(&root);
            assert!(sync(&root));
        };
        bencher.iter_batched(fresh, read_and_keep, BatchSize::PerIteration);
    });
    let warm = mount(true);
    group.bench_function("1 MiB, warm region", |bencher| bencher.iter(|| sequence(&warm)));
    group.throughput(Throughput::Elements(SMALL_READS));
    group.bench_function("random 4 KiB", |bencher| bencher.iter(|| scattered(&root)));
    group.bench_function("random 4 KiB, warm region", |bencher| bencher.iter(|| scattered(&warm)));
    group.finish();
    assert_eq!(warm.stats().fetched_bytes, 0, "all of it came from the region");
}

fn make(dir: &Path) {
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, FILE_BYTES));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    built.image.write_to(&dir.join("image")).unwrap();
    built.blobs[0].write_to(&dir.join("blob1")).unwrap();
    File::create(dir.join("region")).unwrap().set_len(REGION_BYTES).unwrap();
    let root = mounted(dir, Some(&dir.join("region")));
    sequence(&root);
    assert!(sync(&root));
}

fn mounted(dir: &Path, region: Option<&Path>) -> Mounted {
    let mut storage = FileStorage::new();
    let device = storage.add_disk("image", &dir.join("image"), true).unwrap();
    storage.add_disk("blob1", &dir.join("blob1"), true).unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
    let layer = region.map(|region| {
        let device = storage.add_disk("cache", region, false).unwrap();
        Cache::open(&storage, &CacheOptions::new(device, [5; 16])).unwrap()
    });
    Root::new(storage, layer, &image, &sources).unwrap()
}

fn sync(root: &Mounted) -> bool {
    root.with_layer(|layer, storage| {
        let deadline_ns = storage.now_ns() + SYNC_NS_MAX;
        layer.as_mut().is_none_or(|cache| cache.sync(storage, deadline_ns))
    })
}

fn sequence(root: &Mounted) {
    let file = root.open(b"/large").unwrap();
    let mut out = vec![0; LARGE];
    for at in (0..FILE_BYTES).step_by(LARGE) {
        assert_eq!(file.read_at(at as u64, &mut out), Ok(LARGE));
        // As a command does: what is read next is kept, too.
        root.with_layer(|layer, storage| {
            while layer.as_ref().is_some_and(Cache::pressed) {
                layer.progress(storage);
            }
        });
    }
}

fn scattered(root: &Mounted) {
    let file = root.open(b"/large").unwrap();
    let mut out = [0; SMALL];
    for number in 0..SMALL_READS {
        let place = number * 0x9e37_79b9 % (FILE_BYTES / SMALL) as u64;
        assert_eq!(file.read_at(place * SMALL as u64, &mut out), Ok(SMALL));
    }
}
