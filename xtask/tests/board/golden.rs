//! Golden images on the board: the same rows as on the host, cold and warm.

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::boot::{fails, host, passes};
use rootlet_golden::{Golden, Set};

/// Arguments that name an image with its devices, and a command.
pub fn args(golden: &Golden, command: &[&str]) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["--image".into(), golden.image.clone().into()];
    for (number, blob) in golden.devices.iter().enumerate() {
        args.extend(["--blob".into(), format!("{}={}", number + 1, blob.display()).into()]);
    }
    args.push("--".into());
    args.extend(command.iter().map(OsString::from));
    args
}

fn with_region(region: &Path, golden: &Golden) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["--region".into(), region.into(), "--region-size".into()];
    all.push("24M".into());
    all.extend(args(golden, &["manifest", "/"]));
    all
}

/// Returns the golden image of this name.
pub fn image(name: &str) -> Golden {
    Set::built_in(env!("CARGO_TARGET_TMPDIR"))
        .images
        .into_iter()
        .find(|golden| golden.name == name)
        .unwrap()
}

/// Boots twice with a region: the second boot reads the blocks that the first one kept there.
fn assert_region_keeps_rows(name: &str, devices: usize) {
    let golden = image(name);
    assert_eq!(golden.devices.len(), devices);
    let rows = host(args(&golden, &["manifest", "/"]));
    assert!(rows.len() > 100_000, "{name}");
    let dir = tempfile::tempdir().unwrap();
    let region = dir.path().join("region");
    let cold = passes(with_region(&region, &golden));
    assert!(cold.stdout == rows, "{name}: cold");
    cold.assert_counter("dropped 0 bytes");
    let warm = passes(with_region(&region, &golden));
    assert!(warm.stdout == rows, "{name}: warm");
    warm.assert_counter("fetched 0 bytes");
    warm.assert_counter("check failures 0");
}

/// Boots at a time: one for each processor of the least machine that tests run on.
const BOOTS: usize = 2;

#[test]
fn every_image_gives_the_hosts_rows() {
    let images = Set::built_in(env!("CARGO_TARGET_TMPDIR")).images;
    assert_eq!(images.len(), 45);
    let next = AtomicUsize::new(0);
    let boot_all = || {
        while let Some(golden) = images.get(next.fetch_add(1, Ordering::Relaxed)) {
            let words = args(golden, &["manifest", "/"]);
            let rows = host(words.clone());
            assert!(rows.len() > 100_000, "{}: {} bytes", golden.name, rows.len());
            assert!(passes(words).stdout == rows, "{}", golden.name);
        }
    };
    std::thread::scope(|scope| {
        (0..BOOTS).for_each(|_| drop(scope.spawn(boot_all)));
    });
}

#[test]
fn region_of_an_image_without_devices_gives_the_hosts_rows() {
    assert_region_keeps_rows("plain", 0);
}

#[test]
fn region_of_an_image_with_one_device_gives_the_hosts_rows() {
    assert_region_keeps_rows("blobdev-48bit", 1);
}

#[test]
fn of_a_compressed_file_the_images_bytes_are_kept() {
    assert_region_keeps_rows("two-algs", 0);
    assert_region_keeps_rows("metabox", 0);
}

#[test]
fn decoders_find_room_in_a_small_guest() {
    for name in ["lzma", "deflate", "lz4hc-64k"] {
        let words = args(&image(name), &["manifest", "/"]);
        let small: [OsString; 2] = ["--mem".into(), "16M".into()];
        assert!(passes(small.into_iter().chain(words.clone())).stdout == host(words), "{name}");
    }
}

#[test]
fn region_of_images_merged_over_three_devices_gives_the_hosts_rows() {
    assert_region_keeps_rows("merged-chunk", 3);
    assert_region_keeps_rows("merged-tar", 3);
}

#[test]
fn sixteen_mib_of_memory_are_enough() {
    let golden = image("merged-blobdev");
    let words = args(&golden, &["manifest", "/"]);
    let rows = host(words.clone());
    let dir = tempfile::tempdir().unwrap();
    let region = dir.path().join("region");
    for counter in ["check failures 0", "fetched 0 bytes"] {
        let small: Vec<OsString> = ["--mem", "16M"].map(OsString::from).into();
        let small = small.into_iter().chain(with_region(&region, &golden));
        let outcome = passes(small);
        assert!(outcome.stdout == rows);
        outcome.assert_counter(counter);
    }
}

#[test]
fn image_whose_decoders_find_no_room_is_refused_with_the_figures() {
    let words = args(&image("zstd-1m"), &["manifest", "/"]);
    let small: [OsString; 2] = ["--mem".into(), "16M".into()];
    fails(small.into_iter().chain(words), "unsupported image: decoding needs ");
}
