//! Stacks of images on the boards: partitions of one disk, with digests and without, over a region.
//!
//! Always: the rows are those of the host, which are compared with Linux's own elsewhere.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::boot::{BOARDS, fails, host, passes};

/// The roots of the three images, and their blocks of data.
const ROOTS: [(&str, u32); 3] = [
    ("8233540b9ceb9e8eb7ed9353eebe316a78637d22a5d2b58999429ddc24b4456c", 101),
    ("6d338c5ea6b527bebd309214dba6b4b24e3afd86ef02751d5dc0f1c03d16d3cf", 4),
    ("bf951b8e6af9a0727f01eaf126f2da33a9e649b9717db7156c3d092096c5b64d", 51),
];

fn unpacked() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in rootlet_golden::layers() {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

/// Returns the words that name the partitions of the disk.
fn partitions(dir: &Path) -> Vec<OsString> {
    let disk = format!("{}@erofs-layer-*", dir.join("gpt.img").display());
    vec!["--layers".into(), disk.into()]
}

/// Returns the words that pin the images.
fn verity() -> Vec<OsString> {
    let words = ROOTS.into_iter().zip(1..).flat_map(|((root, blocks), number)| {
        let spec = format!(
            "{number}=root_hash={root},salt={},data_blocks={blocks},data_block_size=4096,\
             hash_block_size=4096",
            "00".repeat(32)
        );
        ["--verity".into(), spec.into()]
    });
    words.collect()
}

fn manifest() -> [OsString; 3] {
    ["--", "manifest", "/"].map(OsString::from)
}

#[test]
fn partitions_of_one_disk_are_a_stack_on_every_board() {
    let dir = unpacked();
    let rows = host([partitions(dir.path()), manifest().into()].concat());
    assert_eq!(rows.iter().filter(|byte| **byte == b'\n').count(), 17);
    for board in BOARDS {
        let words: Vec<OsString> = vec!["--board".into(), board.into()];
        let line = [words, partitions(dir.path()), verity(), manifest().into()].concat();
        let outcome = passes(line);
        assert!(outcome.stdout == rows, "{board}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("digest  verified "), "{}", outcome.stderr);
    }
}

#[test]
fn disks_of_a_stack_are_kept_in_a_region() {
    let dir = unpacked();
    let region = dir.path().join("region");
    let mut words: Vec<OsString> = vec!["--region".into(), region.into()];
    words.extend(["--region-size".into(), "8M".into()]);
    for number in 1..=3 {
        words.extend(["--layer".into(), dir.path().join(format!("l{number}.erofs")).into()]);
    }
    let words = [words, manifest().into()].concat();
    let cold = passes(words.clone());
    let warm = passes(words);
    assert!(cold.stdout == warm.stdout && !cold.stdout.is_empty());
    warm.assert_counter("fetched 0 bytes");
    warm.assert_counter("check failures 0");
}

#[test]
fn image_with_another_digest_ends_the_boot_by_its_number() {
    let dir = unpacked();
    let mut verity = verity();
    let swapped = verity[1].to_str().unwrap().replace("1=", "2=");
    verity[3] = swapped.into();
    fails([partitions(dir.path()), verity, manifest().into()].concat(), "layer 2");
}
