//! Blobs on a virtio-fs share: beside disks, missing, and with a daemon that dies.

use std::ffi::OsString;
use std::fs;

use rootlet_sim::image::{Content, Tree};

use crate::boot::{Boot, fails, passes, qmp};
use crate::sample::Sample;

/// The daemon's program.
const DAEMON: &str = "virtiofsd";

/// Returns a sample whose second blob lies on a share.
fn args(sample: &Sample, more: &[&str]) -> Vec<OsString> {
    let share = sample.dir().join("shared");
    fs::create_dir_all(&share).unwrap();
    if sample.path("blob2").exists() {
        fs::rename(sample.path("blob2"), share.join("b.blob")).unwrap();
    }
    let mut args: Vec<OsString> = vec!["--image".into(), sample.path("image").into()];
    let one = format!("1={}", sample.path("blob1").display());
    args.extend(["--blob".into(), one.into()]);
    args.extend(["--blob", "2=share:b.blob", "--share"].map(OsString::from));
    args.push(share.into());
    args.extend(more.iter().map(OsString::from));
    args
}

#[test]
fn disks_and_a_share_make_one_image_cold_and_warm() {
    let sample = Sample::new();
    let manifest = sample.manifest();
    let region = sample.path("region").display().to_string();
    let more = ["--region", &region, "--region-size", "16M", "--", "manifest", "/"];
    let cold = passes(args(&sample, &more));
    assert!(cold.stdout == manifest);
    let warm = passes(args(&sample, &more));
    assert!(warm.stdout == manifest);
    warm.assert_counter("fetched 0 bytes");
}

#[test]
fn blob_that_changed_on_the_share_is_not_served_from_the_region() {
    let sample = Sample::new();
    let region = sample.path("region").display().to_string();
    let more = ["--region", &region, "--region-size", "16M", "--", "cat", "/d0/03"];
    let first = passes(args(&sample, &more)).stdout;
    let blob = sample.dir().join("shared/b.blob");
    let flipped: Vec<u8> = fs::read(&blob).unwrap().iter().map(|byte| !byte).collect();
    fs::write(&blob, flipped).unwrap();
    let second = passes(args(&sample, &more)).stdout;
    let expected: Vec<bool> = first.iter().zip(&second).map(|(a, b)| a == b).collect();
    assert_eq!(first.len(), second.len());
    assert!(expected.contains(&true), "chunks of the disk are as they were");
    assert!(expected.contains(&false), "chunks of the share are the new ones");
    let changed = first.iter().zip(&second).filter(|(a, b)| a != b);
    assert!(changed.into_iter().all(|(a, b)| *a == !b), "and nothing is mixed");
}

#[test]
fn share_without_the_file_is_told_with_its_name() {
    let sample = Sample::new();
    let words = args(&sample, &["--", "ls", "/"]);
    fs::remove_file(sample.dir().join("shared/b.blob")).unwrap();
    fails(words, "blob of slot 2 (file b.blob on share (any)): the share has no such file");
}

#[test]
fn daemon_that_is_dead_before_the_guest_starts_is_told() {
    let sample = Sample::new();
    let socket = sample.path("qmp");
    let qmp_at = format!("unix:{},server=on,wait=off", socket.display());
    let paused = ["--qemu-arg", "-S", "--qemu-arg", "-qmp", "--qemu-arg", &qmp_at];
    let more = [&paused[..], &["--guest-option", "deadline=3", "--", "ls", "/"]].concat();
    let boot = Boot::start(args(&sample, &more));
    // That it answers shows that the machine, its share included, is complete.
    qmp(&socket, "query-status");
    boot.kill(DAEMON);
    qmp(&socket, "cont");
    let outcome = boot.end();
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    let verdict = outcome.verdict();
    assert!(verdict.starts_with("FAIL "), "{}", outcome.stderr);
    assert!(verdict.contains("blob of slot 2 (file b.blob on share (any))"), "{}", outcome.stderr);
}

#[test]
fn daemon_that_dies_in_a_read_fails_the_read_within_its_deadline() {
    let mut tree = Tree::new();
    // More than fits between guest and test, so that it cannot end before it is let.
    tree.file("/large", Content::seeded(1, 48 << 20));
    let sample = Sample::from_tree(tree, 1);
    let more = ["--guest-option", "deadline=3", "--", "cat", "/large"];
    let mut boot = Boot::start(args(&sample, &more));
    let first = boot.first_byte();
    boot.kill(DAEMON);
    let outcome = boot.end();
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    let verdict = outcome.verdict();
    assert!(verdict.starts_with("FAIL /large: I/O error: "), "{}", outcome.stderr);
    let bytes = sample.tree.content("/large").unwrap().to_vec();
    assert_eq!(first, bytes[0]);
    assert!(bytes[1..].starts_with(&outcome.stdout), "what came is right");
    assert!(outcome.stdout.len() + 1 < bytes.len(), "and not all of it came");
}
