//! Blobs of a web server: what is read is the content that was there at the start, or an error that says
//! what is wrong.
//!
//! Always: no byte of another content goes to the guest or into the region, and nothing waits for ever.
//! Without nbdkit or curl the tests say so and pass.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rootlet_sim::image::{Content, Tree};

use crate::boot::{boot, host, passes};
use crate::origin::{Fault, Origin};
use crate::sample::Sample;

/// What a busy host may add.
const LOAD: Duration = Duration::from_secs(10);

/// Whether a program is missing; says so.
pub fn is_skipped() -> bool {
    let missing = ["nbdkit", "curl"].into_iter().find(|program| {
        Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err()
    });
    if let Some(program) = missing {
        println!("skipped: {program} is not installed");
    }
    missing.is_some()
}

/// Returns an image with one file in two blobs, and a server with the first of them.
fn large() -> (Sample, Origin) {
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, 8 << 20));
    let sample = Sample::from_tree(tree, 1);
    let origin = Origin::new(sample.built.blobs[0].to_vec());
    (sample, origin)
}

/// Arguments for the sample whose first blob is at `url`.
fn args(sample: &Sample, url: &str, more: &[&str]) -> Vec<OsString> {
    let second = format!("2={}", sample.path("blob2").display());
    let mut args: Vec<OsString> = vec!["--image".into(), sample.path("image").into()];
    let words = ["--blob", &format!("1={url}"), "--blob", &second, "--plain-http"];
    args.extend(words.map(OsString::from));
    args.extend(["--region".into(), sample.path("region").into()]);
    args.extend(["--region-size", "32M"].map(OsString::from));
    args.extend(more.iter().map(OsString::from));
    args
}

/// Returns what the file is.
fn content(sample: &Sample) -> Vec<u8> {
    sample.tree.content("/large").unwrap().to_vec()
}

const CAT: [&str; 3] = ["--", "cat", "/large"];

#[test]
fn server_that_hangs_up_or_refuses_for_a_second_is_asked_again() {
    if is_skipped() {
        return;
    }
    for fault in [Fault::Cut, Fault::Status(403)] {
        let (sample, origin) = large();
        origin.fail(fault, 1 << 20, Some(Duration::from_secs(1)));
        let outcome = passes(args(&sample, &origin.url(), &CAT));
        assert!(origin.has_failed(), "{fault:?}");
        assert!(outcome.stdout == content(&sample), "{fault:?}: {}", outcome.stderr);
    }
}

#[test]
fn server_that_fails_for_good_is_an_error_in_time() {
    if is_skipped() {
        return;
    }
    for (fault, why) in [
        (Fault::Status(429), "answer 429"),
        (Fault::Status(500), "answer 500"),
        (Fault::Status(401), "the server does not let it be read any more"),
        (Fault::Status(404), "the object is gone"),
        (Fault::NoRanges, "the server has sent everything for a range"),
        (Fault::Short, "has fewer bytes"),
    ] {
        let (sample, origin) = large();
        origin.fail(fault, 1 << 20, None);
        let begin = Instant::now();
        let options = ["--guest-option", "deadline=6", "--guest-option", "source-retry=0"];
        let outcome = boot(args(&sample, &origin.url(), &[&options[..], &CAT].concat()));
        let took = begin.elapsed();
        println!("{fault:?}: {took:?}, {}", outcome.verdict());
        assert_eq!(outcome.status, Some(1), "{fault:?}: {}", outcome.stderr);
        assert!(outcome.verdict().contains("blob1"), "{fault:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(why), "{fault:?}: {}", outcome.stderr);
        assert!(content(&sample).starts_with(&outcome.stdout), "{fault:?}: wrong bytes");
        assert!(took < Duration::from_secs(6 + 1) + 2 * LOAD, "{fault:?}: {took:?}");
    }
}

#[test]
fn content_that_changes_is_an_error_and_never_other_bytes() {
    if is_skipped() {
        return;
    }
    // A server that heeds no If-Match is as good: each of its answers names its content.
    for fault in [Fault::Changed, Fault::ChangedHeedless] {
        let (sample, origin) = large();
        let wanted = content(&sample);
        origin.fail(fault, 1 << 20, None);
        let options = ["--guest-option", "deadline=6", "--guest-option", "source-retry=0"];
        let words = args(&sample, &origin.url(), &[&options[..], &CAT].concat());
        let outcome = boot(words);
        assert_eq!(outcome.status, Some(1), "{fault:?}: {}", outcome.stderr);
        assert!(wanted.starts_with(&outcome.stdout), "{fault:?}: wrong bytes");
        let told = "its content has changed since it was opened, and the old one is gone";
        assert!(outcome.stderr.contains(told), "{fault:?}: {}", outcome.stderr);
        // The region has bytes of the first content alone: with that back, all is as it was.
        origin.heal();
        let again = passes(args(&sample, &origin.url(), &CAT));
        assert!(again.stdout == wanted, "{fault:?}: {}", again.stderr);
        let need = sample.built.blobs[0].to_vec().len() as u64;
        assert!(origin.sent() < need, "nothing was kept: {} of {need}", origin.sent());
        // The new content is another version, and nothing of the old one is served for it.
        origin.fail(fault, 0, None);
        let other = passes(args(&sample, &origin.url(), &CAT));
        let is_other = other.stdout != wanted && other.stdout.len() == wanted.len();
        assert!(is_other, "{fault:?}: {}", other.stderr);
    }
}

#[test]
fn server_that_cannot_be_trusted_with_a_range_is_refused_by_what_it_does() {
    if is_skipped() {
        return;
    }
    let (sample, origin) = large();
    for (fault, why) in [
        (Fault::Status(401), "the server answers 401: it wants a name and a password"),
        (Fault::Status(404), "the server answers 404: there is no such object"),
        (Fault::NoRanges, "the server answers 200 for a range, with everything"),
        (Fault::NoTag, "the server gives no ETag"),
        (Fault::WeakTag, "its ETag W/\"1\" is weak"),
        (Fault::Status(403), "the server answers 403: it forbids to read this"),
        (Fault::Status(429), "the server answers 429"),
        (Fault::Status(503), "the server answers 503"),
    ] {
        origin.fail(fault, 0, None);
        let once = ["--guest-option", "source-retry=0"];
        let outcome = boot(args(&sample, &origin.url(), &[&once[..], &CAT].concat()));
        assert_eq!(outcome.status, Some(1), "{fault:?}: {}", outcome.stderr);
        assert!(outcome.verdict().contains(why), "{fault:?}: {}", outcome.stderr);
        assert!(outcome.verdict().contains(&origin.url()), "{fault:?}: {}", outcome.stderr);
    }
    // As one whose URL is signed for GET.
    origin.fail(Fault::NoHead, 0, None);
    assert!(passes(args(&sample, &origin.url(), &CAT)).stdout == content(&sample));
    let words: Vec<_> = args(&sample, &origin.url(), &CAT);
    let words = words.into_iter().filter(|word| word != "--plain-http");
    let outcome = boot(words);
    assert_eq!(outcome.status, Some(2), "{}", outcome.stderr);
    assert!(outcome.verdict().contains("insist by --plain-http"), "{}", outcome.stderr);
}

#[test]
fn server_that_is_away_at_the_start_is_replaced_by_the_region() {
    if is_skipped() {
        return;
    }
    let sample = Sample::new();
    let origin = Origin::new(sample.built.blobs[0].to_vec());
    let rows = sample.manifest();
    let manifest = ["--", "manifest", "/"];
    let part = ["--", "sum", "/d0"];
    let url = origin.url();
    let sums = host(sample.args(&part));
    // A region with a part of what there is.
    assert!(passes(args(&sample, &url, &part)).stdout == sums);
    drop(origin);
    let outcome = passes(args(&sample, &url, &part));
    assert!(outcome.stdout == sums, "{}", outcome.stderr);
    let away = format!("blob1: {url} is away, and is read from the region as far as that has it");
    assert!(outcome.stderr.contains(&away), "{}", outcome.stderr);
    let outcome = boot(args(&sample, &url, &manifest));
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("a source that is not there is blob1"), "{}", outcome.stderr);
    let is_row = |row: &[u8]| rows.windows(row.len()).any(|part| part == row);
    let mut shown = outcome.stdout.split_inclusive(|byte| *byte == b'\n');
    assert!(shown.all(is_row), "a wrong row");
    let origin = Origin::new(sample.built.blobs[0].to_vec());
    assert!(passes(args(&sample, &origin.url(), &manifest)).stdout == rows);
    // Without a region there is nothing to boot with.
    std::fs::remove_file(sample.path("region")).unwrap();
    let outcome = boot(args(&sample, &url, &manifest));
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(outcome.verdict().contains(&url), "{}", outcome.stderr);
    assert!(!sample.path("region").exists(), "a region was made for nothing");
}
