//! Every target with its seeds, and with what is made of them.
//!
//! Always: a failing case prints the one line that runs it again, and leaves its bytes in a file:
//! cargo-fuzz makes them smaller, and in `tests/data/seeds` they are tried for ever.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rootlet_targets::{TARGETS, Target, mutate, named};

/// Failures after which a target stops.
const FAILURES_MAX: usize = 5;

fn passes(target: &Target, case: &str, bytes: &[u8]) -> bool {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_ok() {
        return true;
    }
    let file = format!("{}-{}", target.name, case.replace(['/', '.'], "-"));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    fs::write(&file, bytes).unwrap();
    println!(
        "ROOTLET_CASE={}:{case} cargo test -p rootlet-targets replay -- --nocapture  # {} bytes, {}",
        target.name,
        bytes.len(),
        file.display()
    );
    false
}

/// Runs all seeds, and as many cases as are worth their time; ROOTLET_RUNS=10 runs ten times as
/// many.
fn sweep(name: &str) {
    let target = named(name).expect("a known target");
    let seeds = target.seeds().unwrap();
    assert!(!seeds.is_empty(), "no seeds of {name}");
    let times = std::env::var("ROOTLET_RUNS").ok().and_then(|value| value.parse::<u64>().ok());
    let mut failed = 0;
    for (path, bytes) in &seeds {
        let case = path.file_name().unwrap().to_string_lossy();
        failed += usize::from(!passes(&target, &case, bytes));
    }
    let seeds: Vec<Vec<u8>> = seeds.into_iter().map(|(_, bytes)| bytes).collect();
    for number in 0..target.cases * times.unwrap_or(1) {
        if failed >= FAILURES_MAX {
            break;
        }
        let bytes = mutate::case(&seeds, number, target.bytes_max);
        failed += usize::from(!passes(&target, &number.to_string(), &bytes));
    }
    assert!(failed == 0, "{failed} cases of {name} failed");
}

/// Runs the case that ROOTLET_CASE names: `TARGET:NUMBER`, `TARGET:SEED` or `TARGET:FILE`.
#[test]
fn replay() {
    let Ok(case) = std::env::var("ROOTLET_CASE") else { return };
    let (name, case) = case.split_once(':').expect("TARGET:CASE");
    let target = named(name).expect("a known target");
    let bytes = match case.parse() {
        Ok(number) => {
            let seeds = target.seeds().unwrap().into_iter().map(|(_, bytes)| bytes);
            mutate::case(&seeds.collect::<Vec<_>>(), number, target.bytes_max)
        }
        // An absolute path stands for itself.
        Err(_) => fs::read(target.folder().join(case)).expect("a seed or a file"),
    };
    (target.run)(&bytes);
}

#[test]
fn every_target_has_its_test_and_its_fuzzer() {
    let here = include_str!("seeds.rs");
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for Target { name, .. } in TARGETS {
        assert!(here.contains(&format!("sweep(\"{name}\")")), "no test of {name}");
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "no fuzzer of {name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "no fuzzer of {name}");
    }
}

#[test]
fn image_of_any_bytes_is_read_or_refused() {
    sweep("image");
}

#[test]
fn golden_images_changed_where_it_hurts_are_read_or_refused() {
    sweep("golden");
}

#[test]
fn map_of_any_bytes_has_sound_extents_or_none() {
    sweep("map");
}

#[test]
fn lz4_of_any_bytes_decodes_alike_in_parts_and_elsewhere() {
    sweep("lz4");
}

#[test]
fn micro_lzma_of_any_bytes_decodes_alike_in_parts() {
    sweep("micro_lzma");
}

#[test]
fn deflate_of_any_bytes_decodes_alike_in_parts_and_elsewhere() {
    sweep("deflate");
}

#[test]
fn zstd_of_any_bytes_decodes_alike_in_parts() {
    sweep("zstd");
}

#[test]
fn session_with_any_replies_ends() {
    sweep("fuse");
}

#[test]
fn texts_and_trees_of_any_bytes_pin_what_was_pinned() {
    sweep("verity");
}

#[test]
fn kernels_trees_and_entries_of_any_bytes_are_read_within_or_refused() {
    sweep("handover");
}

#[test]
fn region_of_any_bytes_changes_no_read() {
    sweep("region");
}
