//! Every golden image gives its manifest: over files, over a region, and over disks that answer
//! out of order.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed"
)]

mod compare;
mod futures;
#[path = "../support/guest.rs"]
mod guest;
mod parts;
mod refused;
mod small;

use rootlet_guest::SYNC_TIME;
use std::fs;
use std::path::Path;

use guest::Guest;
use rootlet::storage::Discover;
use rootlet::storage::file::FileStorage;
use rootlet_golden::{Golden, Set};
use rootlet_sim::disk::{Sparse, World};
use serde_json::Value;

/// Length of a region that holds a whole image with all its blobs.
const REGION_BYTES: u64 = 24 << 20;

/// Whether ROOTLET_IMAGE is not set, or names this image.
fn is_asked_for(golden: &Golden) -> bool {
    std::env::var("ROOTLET_IMAGE").map_or(true, |name| name == golden.name)
}

/// Calls `each` with every image of every set.
fn each_image(each: impl Fn(&Set, &Golden)) {
    for set in [Some(Set::built_in(env!("CARGO_TARGET_TMPDIR"))), Set::named_by_user()]
        .into_iter()
        .flatten()
    {
        for golden in set.images.iter().filter(|golden| is_asked_for(golden)) {
            each(&set, golden);
        }
    }
}

fn line(golden: &Golden, region: bool) -> String {
    let blobs = (1..=golden.devices.len()).map(|slot| format!(" blob{slot}=blob{slot}"));
    let cache = if region { " cache=cache" } else { "" };
    format!("image=image{}{cache}", blobs.collect::<String>())
}

fn over_files(golden: &Golden, region: Option<&Path>, boot: u8) -> Guest<FileStorage> {
    let mut storage = FileStorage::new();
    storage.add_disk("image", &golden.image, true).unwrap();
    for (number, blob) in golden.devices.iter().enumerate() {
        storage.add_disk(&format!("blob{}", number + 1), blob, true).unwrap();
    }
    if let Some(region) = region {
        storage.add_disk("cache", region, false).unwrap();
    }
    Guest::mount(storage, &line(golden, region.is_some()), boot).expect(&golden.name)
}

fn manifest<S: Discover>(golden: &Golden, guest: &mut Guest<S>) -> Vec<Value> {
    let output = guest.run(&["manifest", "/"]);
    let output = String::from_utf8(output.expect(&golden.name)).unwrap();
    output.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
}

#[test]
fn every_golden_image_gives_its_manifest() {
    each_image(|set, golden| {
        let mut guest = over_files(golden, None, 1);
        let rows = manifest(golden, &mut guest);
        let root = &guest.root;
        compare::assert_rows(set, golden, &rows, &|path| {
            root.symlink_metadata(path.as_bytes()).unwrap().extended()
        });
    });
}

#[test]
fn cold_region_changes_no_row_and_a_warm_one_serves_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let region = dir.path().join("region");
    each_image(|_, golden| {
        let name = &golden.name;
        let rows = manifest(golden, &mut over_files(golden, None, 1));
        fs::File::create(&region).unwrap().set_len(REGION_BYTES).unwrap();

        let mut cold = over_files(golden, Some(&region), 2);
        let notice = cold.notices.last().unwrap();
        assert!(notice.starts_with("region  disk cache: 0 of "), "{name}: {notice}");
        assert_eq!(manifest(golden, &mut cold), rows, "{name}: cold");
        assert!(cold.counters().read.fetched_bytes > 0, "{name}: cold");
        assert!(cold.root.sync(SYNC_TIME), "{name}: sync");
        drop(cold);

        let mut warm = over_files(golden, Some(&region), 3);
        assert_eq!(manifest(golden, &mut warm), rows, "{name}: warm");
        let counters = warm.counters();
        assert_eq!(counters.read.fetched_bytes, 0, "{name}: {counters}");
        let cache = counters.cache.unwrap();
        assert_eq!((cache.region_faults, cache.check_failures), (0, 0), "{name}: {counters}");
    });
}

#[test]
fn disks_that_answer_out_of_order_change_no_row() {
    each_image(|_, golden| {
        let name = &golden.name;
        let rows = manifest(golden, &mut over_files(golden, None, 1));
        let world = World::new(rows.len() as u64);
        world.set_jitter_ns(2_000_000);
        world.blob("image", fs::read(&golden.image).unwrap());
        for (number, blob) in golden.devices.iter().enumerate() {
            world.blob(&format!("blob{}", number + 1), fs::read(blob).unwrap());
        }
        world.disk("cache", 512, Sparse::zeros(REGION_BYTES));

        let mut cold = Guest::mount(world.attach(), &line(golden, true), 1).expect(name);
        assert_eq!(manifest(golden, &mut cold), rows, "{name}: cold");
        assert!(cold.root.sync(SYNC_TIME), "{name}: sync");
        drop(cold);
        let mut warm = Guest::mount(world.attach(), &line(golden, true), 2).expect(name);
        assert_eq!(manifest(golden, &mut warm), rows, "{name}: warm");
        assert_eq!(warm.counters().read.fetched_bytes, 0, "{name}: {}", warm.counters());
    });
}
