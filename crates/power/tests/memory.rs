//! Invariant 10 by measurement: the memory of a mount over real files does not grow with what is
//! read. In a process of its own, whose memory nobody else's tests change.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use std::fs;
use std::path::Path;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::Root;
use rootlet::storage::Storage;
use rootlet::storage::file::FileStorage;
use rootlet_power::machine::{Scale, samples};
use rootlet_sim::Rng;

/// The growth that is allowed after the first reads: pages of the allocator, not of ours.
const GROWTH_BYTES_MAX: u64 = 1 << 20;

/// Bytes of this process that are in memory.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn memory_does_not_grow_with_what_is_read() {
    let sample = &samples(Scale::Wide)[0];
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut storage = FileStorage::new();
    let path = |name: &str| dir.join(format!("memory-{name}"));
    sample.built.image.write_to(&path("image")).unwrap();
    for (number, blob) in sample.built.blobs.iter().enumerate() {
        blob.write_to(&path(&format!("blob{number}"))).unwrap();
    }
    fs::write(path("region"), vec![0; 1 << 20]).unwrap();
    let device = storage.add_disk("image", &path("image"), true).unwrap();
    for blob in ["blob0", "blob1"] {
        storage.add_disk(blob, &path(blob), true).unwrap();
    }
    let disk = storage.add_disk("region", &path("region"), false).unwrap();
    let image = Image::read(&storage, device).unwrap();
    let names = [(1, SourceName::Disk("blob0")), (2, SourceName::Disk("blob1"))];
    let parts = image.bind(&mut storage, &names).unwrap();
    let cache = Cache::open(&storage, &CacheOptions::new(disk, [1; 16])).unwrap();
    let root = Root::new(storage, Some(cache), &image, &parts).unwrap();
    let mut rng = Rng::new(1);
    let mut out = vec![0; 128 << 10];
    let mut read = |count: u32| {
        for number in 0..count {
            // A group stays open for a second, and this is over before.
            if number.is_multiple_of(20) {
                root.with_layer(|cache, storage| {
                    let deadline_ns = storage.now_ns() + 10_000_000_000;
                    assert!(cache.as_mut().unwrap().sync(storage, deadline_ns));
                });
            }
            let file = &sample.files[rng.index(2)];
            let len = 1 + rng.index(out.len());
            let at = rng.below(file.bytes.len() as u64);
            let got = root.open(file.path.as_bytes()).unwrap().read_at(at, &mut out[..len]);
            let right = &file.bytes[at as usize..];
            assert!(out[..got.unwrap()] == right[..right.len().min(len)], "wrong bytes at {at}");
        }
    };
    read(1000);
    let before = resident_bytes();
    read(4000);
    let after = resident_bytes();
    let stats = root.with_layer(|cache, _| cache.as_ref().unwrap().stats());
    assert!(stats.culled_slots > 100 && stats.written_bytes > 10 << 20, "{stats:?}");
    assert!(after <= before + GROWTH_BYTES_MAX, "{before} bytes, then {after}");
    for name in ["image", "blob0", "blob1", "region"] {
        fs::remove_file(path(name)).unwrap();
    }
}
