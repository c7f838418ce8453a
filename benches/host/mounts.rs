//! Mounting a region of 64 GiB that was left in order: as one that is full, and as one that holds
//! nothing.
//!
//! Always: the full one holds a block in nearly all of its slots, as many as a region keeps.

use criterion::Criterion;
use rootlet::cache::{BlobIdentity, Cache, CacheOptions, IDENTITY_BYTES, Layer, Why};
use rootlet::storage::{DeviceId, Storage};
use rootlet_sim::disk::{SimStorage, Sparse, World};
use std::hint::black_box;

const REGION_BYTES: u64 = 64 << 30;
/// Windows that are filled before what was written is made durable.
const AT_ONCE: u64 = 256;
const DEADLINE_NS: u64 = 60_000_000_000;

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mount 64 GiB");
    for (name, percent) in [("empty", 0), ("full", 94)] {
        let (world, disk) = left(percent);
        let (storage, options) = (world.attach(), CacheOptions::new(disk, [2; 16]));
        let before = world.counters(disk).read_bytes;
        let slots = Cache::open(&storage, &options).unwrap().used_slots();
        let read = world.counters(disk).read_bytes - before;
        println!("mount 64 GiB/{name}: {slots} slots hold something, {} KiB read", read >> 10);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(Cache::open(&storage, &options).unwrap()));
        });
    }
}

/// A world with a region of which `percent` of a hundred slots hold a block of zeros.
fn left(percent: u64) -> (World, DeviceId) {
    let world = World::new(1);
    let disk = world.disk("region", 4096, Sparse::zeros(REGION_BYTES));
    let storage = world.attach();
    let mut cache = Cache::open(&storage, &CacheOptions::new(disk, [1; 16])).unwrap();
    let geometry = cache.superblock().geometry;
    let wanted = u64::from(geometry.slots()) * percent / 100;
    let identity = BlobIdentity([7; IDENTITY_BYTES]);
    let blob = Layer::<SimStorage>::attach(&mut cache, || identity, REGION_BYTES).unwrap();
    let window_blocks = geometry.slot_size().bytes() / 4096;
    for window in 0..wanted.max(1) {
        let first = window * window_blocks;
        cache.prepare(&storage, blob, first..first + 1, Why::Read);
        Layer::<SimStorage>::fill(&mut cache, blob, first, &[0; 4096]);
        if window % AT_ONCE == AT_ONCE - 1 {
            let deadline_ns = storage.now_ns() + DEADLINE_NS;
            assert!(cache.sync(&storage, deadline_ns));
        }
    }
    let deadline_ns = storage.now_ns() + DEADLINE_NS;
    assert!(cache.leave(&storage, deadline_ns), "it was not left in order");
    (world, disk)
}
