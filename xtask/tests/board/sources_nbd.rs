//! Blobs of a network block device, and of the other formats that QEMU reads.
//!
//! Always: a server that is back in time costs no read; one that is away at the start is replaced by the
//! region. Without qemu-nbd or qemu-img the tests say so and pass.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rootlet_sim::image::{Content, Tree};

use crate::boot::{Boot, boot, passes};
use crate::daemons::Daemon;
use crate::sample::Sample;

/// What a busy host may add.
const LOAD: Duration = Duration::from_secs(10);

/// Arguments for the sample whose first blob is `first`.
fn args(sample: &Sample, first: &str, more: &[&str]) -> Vec<OsString> {
    let second = format!("2={}", sample.path("blob2").display());
    let mut args: Vec<OsString> = vec!["--image".into(), sample.path("image").into()];
    args.extend(["--blob", &format!("1={first}"), "--blob", &second].map(OsString::from));
    args.extend(more.iter().map(OsString::from));
    args
}

fn large() -> Sample {
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, 6 << 20));
    Sample::from_tree(tree, 1)
}

fn url(socket: &Path) -> String {
    format!("nbd+unix:///?socket={}", socket.display())
}

/// Makes `to` of the raw file `from`, in another format; whether there is a program for that.
fn convert(from: &Path, to: &Path, options: &[&str]) -> bool {
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "raw", "-O"]).args(options).arg(from).arg(to);
    match command.stdout(Stdio::null()).status() {
        Ok(status) => {
            assert!(status.success(), "{options:?}");
            true
        }
        Err(_) => {
            println!("skipped: qemu-img is not installed");
            false
        }
    }
}

#[test]
fn server_that_is_killed_and_back_costs_no_read() {
    let sample = large();
    let socket = sample.path("socket");
    let Some(server) = Daemon::nbd(&sample.path("blob1"), socket.clone()) else { return };
    let mut boot = Boot::start(args(&sample, &url(&socket), &["--", "cat", "/large"]));
    let mut bytes = vec![boot.first_byte()];
    drop(server);
    let _ = fs::remove_file(&socket);
    thread::sleep(Duration::from_secs(1));
    let _server = Daemon::nbd(&sample.path("blob1"), socket).unwrap();
    let outcome = boot.end();
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    bytes.extend(outcome.stdout);
    assert!(bytes == sample.tree.content("/large").unwrap().to_vec(), "{}", outcome.stderr);
}

#[test]
fn server_that_is_stopped_ends_the_run_by_the_deadline() {
    let sample = large();
    let socket = sample.path("socket");
    let Some(server) = Daemon::nbd(&sample.path("blob1"), socket.clone()) else { return };
    let options = ["--guest-option", "deadline=3", "--", "cat", "/large"];
    let mut boot = Boot::start(args(&sample, &url(&socket), &options));
    boot.first_byte();
    server.stop();
    let begin = Instant::now();
    let outcome = boot.end();
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    for words in ["no answer before the deadline", "is blob1)"] {
        assert!(outcome.verdict().contains(words), "{words}: {}", outcome.stderr);
    }
    assert!(begin.elapsed() < Duration::from_secs(4) + LOAD, "{:?}", begin.elapsed());
}

#[test]
fn server_that_is_away_at_the_start_is_replaced_by_the_region() {
    let sample = Sample::new();
    let (rows, socket) = (sample.manifest(), sample.path("socket"));
    let Some(server) = Daemon::nbd(&sample.path("blob1"), socket.clone()) else { return };
    let region = sample.path("region").display().to_string();
    let cached = ["--region", &region, "--region-size", "16M", "--", "manifest", "/"];
    let words = || args(&sample, &url(&socket), &cached);
    assert!(passes(words()).stdout == rows);
    drop(server);
    let outcome = passes(words());
    assert!(outcome.stdout == rows, "{}", outcome.stderr);
    let away = "is away, and is read from the region as far as that has it: Failed to connect";
    assert!(outcome.stderr.contains(away), "{}", outcome.stderr);
    let outcome = boot(args(&sample, &url(&socket), &["--", "manifest", "/"]));
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(outcome.verdict().contains("(blob1): Failed to connect"), "{}", outcome.stderr);
}

#[test]
fn qcow2_and_flat_vmdk_have_the_bytes_of_the_raw_file() {
    let sample = Sample::new();
    let rows = sample.manifest();
    for (format, options) in
        [("qcow2", &["qcow2", "-c"][..]), ("vmdk", &["vmdk", "-o", "subformat=monolithicFlat"])]
    {
        let file = sample.path(&format!("blob1.{format}"));
        if !convert(&sample.path("blob1"), &file, options) {
            return;
        }
        let first = format!("{format}:{}", file.display());
        let outcome = passes(args(&sample, &first, &["--", "manifest", "/"]));
        assert!(outcome.stdout == rows, "{format}: {}", outcome.stderr);
    }
}

/// Two guests of one region, of which each keeps its writes for itself.
#[test]
fn region_below_overlays_is_only_read() {
    let sample = Sample::new();
    let rows = sample.manifest();
    passes(sample.cached(&["--", "manifest", "/"]));
    let before = fs::read(sample.path("region")).unwrap();
    if !convert(&sample.path("blob1"), &sample.path("unused"), &["raw"]) {
        return;
    }
    for name in ["one", "two"] {
        let overlay = sample.path(name).display().to_string();
        let outcome = passes(sample.cached(&["--overlay", &overlay, "--", "manifest", "/"]));
        assert!(outcome.stdout == rows, "{}", outcome.stderr);
        outcome.assert_counter("fetched 0 bytes");
        let bytes = fs::metadata(&overlay).unwrap().len();
        println!("{name}: an overlay of {bytes} bytes");
        assert!(bytes < 2 << 20, "{bytes}");
    }
    assert!(fs::read(sample.path("region")).unwrap() == before, "the region was written");
}
