//! Speed of reading, beside erofs-rs on the same image in memory.
//!
//! Always: both readers gave equal sums of all names, attributes and bytes before a clock runs;
//! an image that one of them cannot read is named and left out.
#![expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that panics has failed"
)]

mod images;
mod other;
mod ours;
mod table;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use images::Subject;

/// One read of a random place, in bytes.
const RANDOM_BYTES: usize = 4096;
/// How many places a pass reads, and how many paths it opens.
const PER_PASS: usize = 1000;

/// What both readers do. Each figure that comes back depends on all the bytes that were asked for
/// only where its document says so.
trait Reader {
    /// A sum of every path's attributes, and of every byte of every file.
    fn sum(&self) -> u64;
    /// Reads every file below the root into one buffer; how many bytes there were.
    fn read_all(&self) -> u64;
    /// Opens each path, following nothing; the sum of the sizes.
    fn open(&self, paths: &[Vec<u8>]) -> u64;
    /// Reads [`RANDOM_BYTES`] at each place of the file; the sum of the first bytes.
    fn random(&self, path: &[u8], places: &[u64]) -> u64;
    /// Visits everything below the root with its attributes; the sum of the sizes.
    fn walk(&self) -> u64;
}

/// The same deterministic numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

fn compare(criterion: &mut Criterion) {
    for subject in images::all() {
        let ours = match ours::Ours::mount(&subject.bytes) {
            Ok(ours) => ours,
            Err(error) => {
                eprintln!("{}: left out: {error}", subject.name);
                continue;
            }
        };
        let other = other::Other::mount(&subject.bytes);
        check(&subject, &ours, &other);
        let readers: [(&str, &dyn Reader); 2] = [("rootlet", &ours), ("erofs-rs", &other)];
        measure(criterion, &subject, &readers);
    }
    table::print();
}

/// Equal sums, or no figures at all.
fn check(subject: &Subject, ours: &dyn Reader, other: &dyn Reader) {
    let name = &subject.name;
    assert_eq!(ours.sum(), other.sum(), "{name}: attributes and bytes");
    assert_eq!(ours.read_all(), other.read_all(), "{name}: bytes read");
    assert_eq!(ours.walk(), other.walk(), "{name}: walk");
    let (paths, places) = (subject.some_paths(), subject.some_places());
    assert_eq!(ours.open(&paths), other.open(&paths), "{name}: open");
    let large = &subject.large;
    assert_eq!(ours.random(large, &places), other.random(large, &places), "{name}: random");
}

fn measure(criterion: &mut Criterion, subject: &Subject, readers: &[(&str, &dyn Reader)]) {
    let (paths, places) = (subject.some_paths(), subject.some_places());
    let mut group = criterion.benchmark_group(format!("{} read all", subject.name));
    group.throughput(Throughput::Bytes(subject.file_bytes));
    for (name, reader) in readers {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(reader.read_all()));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group(format!("{} open by path", subject.name));
    group.throughput(Throughput::Elements(paths.len() as u64));
    for (name, reader) in readers {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(reader.open(black_box(&paths))));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group(format!("{} random 4 KiB", subject.name));
    group.throughput(Throughput::Elements(places.len() as u64));
    for (name, reader) in readers {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(reader.random(&subject.large, black_box(&places))));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group(format!("{} walk with stat", subject.name));
    group.throughput(Throughput::Elements(subject.entries));
    for (name, reader) in readers {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(reader.walk()));
        });
    }
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = config();
    targets = compare
}
criterion_main!(benches);
