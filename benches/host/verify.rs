//! Verified reads: beside the hash alone, and beside the same reads without digests.
//!
//! Always: image, blob and tree lie in the host's page cache; one thread, unless the row says two.

use std::fs;
use std::hint::black_box;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use criterion::{Criterion, Throughput};
use rootlet::blob::{Image, SourceName};
use rootlet::cache::NoRegion;
use rootlet::read::Root;
use rootlet::storage::Discover;
use rootlet::storage::file::FileStorage;
use rootlet_base::units::Pow2;
use rootlet_sim::image::{Content, Options, Tree, build};
use rootlet_trust::{
    Algorithm, Builder, Format, Root as Digest, Salt, Shape, Software, Spec, Subject, digest,
};
use rootlet_verity::{Ask, Verified};

const FILE_BYTES: usize = 16 << 20;
const LARGE: usize = 1 << 20;
const SMALL: usize = 4096;
const SMALL_READS: u64 = 1000;
const NODES_BYTES: usize = 1 << 20;
/// Rounds of which the shares are medians.
const ROUNDS: usize = 21;

/// All of it.
pub fn all(criterion: &mut Criterion) {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-verify");
    fs::create_dir_all(&dir).unwrap();
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, FILE_BYTES));
    let built = build(&tree, &Options { blobs: 1, ..Options::default() }).unwrap();
    let specs = [("image", built.image.bytes().to_vec()), ("blob1", built.blobs[0].to_vec())]
        .map(|(name, data)| sealed(&dir, name, &data));
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Bytes(FILE_BYTES as u64));
    let data = Content::seeded(1, FILE_BYTES).to_vec();
    group.bench_function("SHA-256 alone, blocks of 4 KiB", |bencher| {
        bencher.iter(|| hashed(&data));
    });
    let plain = root(mounted(&dir, None));
    shares(&data, &plain, &root(mounted(&dir, Some(&specs))));
    group.bench_function("1 MiB, not verified", |bencher| bencher.iter(|| sequence(&plain)));
    let verified = root(mounted(&dir, Some(&specs)));
    group.bench_function("1 MiB", |bencher| bencher.iter(|| sequence(&verified)));
    group.throughput(Throughput::Elements(SMALL_READS));
    group
        .bench_function("random 4 KiB, not verified", |bencher| bencher.iter(|| scattered(&plain)));
    group.bench_function("random 4 KiB", |bencher| bencher.iter(|| scattered(&verified)));
    group.finish();
    assert_eq!(verified.storage().stats().wrong, 0);
}

/// Hashes all blocks.
fn hashed(data: &[u8]) -> u8 {
    let blocks = data.chunks(SMALL);
    let sums = blocks.map(|block| digest(&Software, Algorithm::Sha256, block).unwrap());
    sums.fold(0, |sum: u8, digest| sum ^ digest.as_bytes()[0])
}

/// Prints how fast verified reads in sequence are beside the hash alone on one processor: the medians
/// of rounds, in each of which all are timed one after the other.
fn shares(data: &[u8], plain: &Root<Mounted, NoRegion>, verified: &Root<Mounted, NoRegion>) {
    let time = |work: &dyn Fn() -> u8| {
        let start = Instant::now();
        black_box(work());
        start.elapsed().as_secs_f64()
    };
    let works: [(&str, &dyn Fn() -> u8); 5] = [
        ("1 MiB", &|| sequence(verified)),
        ("1 MiB, by two threads", &|| by_two(|half| part(verified, half))),
        ("the hash, by two threads", &|| by_two(|half| hashed(&data[half]))),
        ("a stream", &|| streamed(verified)),
        ("1 MiB, not verified", &|| sequence(plain)),
    ];
    let mut ratios = works.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, work), ratios) in works.iter().zip(&mut ratios) {
            let (alone, with) = (time(&|| hashed(data)), time(work));
            ratios.push(alone / with);
        }
    }
    for ((name, _), mut ratios) in works.iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios[0], ratios[ROUNDS - 1]);
        let median = ratios[ROUNDS / 2];
        println!("verify: {name}: {median:.2} of the hash alone ({least:.2} to {most:.2})");
    }
}

/// Calls `work` with each half of the file, in a thread of its own.
fn by_two(work: impl Fn(Range<usize>) -> u8 + Sync) -> u8 {
    let halves = [0..FILE_BYTES / 2, FILE_BYTES / 2..FILE_BYTES];
    let work = &work;
    thread::scope(|scope| {
        let threads = halves.map(|half| scope.spawn(move || work(half)));
        threads.into_iter().fold(0, |sum, thread| sum ^ thread.join().unwrap())
    })
}

/// Reads the file by a stream.
fn streamed(root: &Root<Mounted, NoRegion>) -> u8 {
    let mut stream = root.stream(b"/large").unwrap();
    let mut sum = 0;
    loop {
        let bytes = stream.lend().unwrap();
        let Some(first) = bytes.first() else { return sum };
        sum ^= first;
        let len = bytes.len();
        stream.advance(len);
    }
}

/// Writes a file and its tree, and returns the text that pins the file.
fn sealed(dir: &Path, name: &str, data: &[u8]) -> String {
    let block = Pow2::of(SMALL as u64).unwrap();
    let len = data.len() as u64;
    let shape =
        Shape::new(Algorithm::Sha256, Format::FsVerity, Salt::NONE, [block; 2], len).unwrap();
    let mut tree = vec![0; shape.tree_bytes() as usize];
    let mut put = |at: u64, node: &[u8]| tree[at as usize..][..SMALL].copy_from_slice(node);
    let mut builder = Builder::new(&Software, shape).unwrap();
    data.chunks(SMALL).for_each(|block| builder.push(block, &mut put).unwrap());
    let Digest::File(digest) = builder.finish(&mut put).unwrap() else { panic!("fs-verity") };
    fs::write(dir.join(name), data).unwrap();
    fs::write(dir.join(format!("{name}.v")), tree).unwrap();
    format!("sha256-12:{digest}")
}

type Mounted = Verified<FileStorage>;

/// Returns the devices, pinned if there are texts for them.
fn mounted(dir: &Path, specs: Option<&[String; 2]>) -> Mounted {
    let mut files = FileStorage::new();
    for name in ["image", "image.v", "blob1", "blob1.v"] {
        files.add_disk(name, &dir.join(name), true).unwrap();
    }
    let mut storage = Verified::new(files, &Software, NODES_BYTES);
    let names = ["image", "blob1"].iter().zip(specs.into_iter().flatten());
    for (slot, (name, spec)) in (0..).zip(names) {
        let device = storage.disk(name).unwrap();
        let tree = storage.disk(&format!("{name}.v")).unwrap();
        let spec = Spec::parse(spec).unwrap();
        let ask = Ask { tree: Some(tree), ..Ask::new(Subject::of_slot(slot), device, &spec) };
        storage.pin(&ask).unwrap();
    }
    storage
}

fn root(mut storage: Mounted) -> Root<Mounted, NoRegion> {
    let device = storage.disk("image").unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[(1, SourceName::Disk("blob1"))]).unwrap();
    Root::new(storage, NoRegion, &image, &sources).unwrap()
}

fn sequence(root: &Root<Mounted, NoRegion>) -> u8 {
    part(root, 0..FILE_BYTES)
}

/// Reads a part of the file in sequence.
fn part(root: &Root<Mounted, NoRegion>, bytes: Range<usize>) -> u8 {
    let file = root.open(b"/large").unwrap();
    let mut out = vec![0; LARGE];
    let mut sum = 0;
    for at in bytes.step_by(LARGE) {
        assert_eq!(file.read_at(at as u64, &mut out), Ok(LARGE));
        sum ^= out[at / LARGE];
    }
    sum
}

/// Reads blocks that are far from each other; none twice, so that none lies in memory.
fn scattered(root: &Root<Mounted, NoRegion>) -> u8 {
    let file = root.open(b"/large").unwrap();
    let mut out = [0; SMALL];
    let blocks = (FILE_BYTES / SMALL) as u64;
    let mut sum = 0;
    for number in 0..SMALL_READS {
        let at = number * 2_654_435_761 % blocks * SMALL as u64;
        assert_eq!(file.read_at(at, &mut out), Ok(SMALL));
        sum ^= out[0];
    }
    sum
}
