//! Real cuts: machines killed at random moments, a log of QEMU's own writes replayed to any
//! point, requests that fail in their middle, and two machines on one region.
//!
//! Always: what a test draws follows from its seed, but for the moment at which a process is
//! killed; whatever the region holds then, no read fails and none is wrong.

use std::thread;
use std::time::Duration;

use rootlet_sim::Rng;

use crate::boot::{Boot, allocated, passes};
use crate::regions::{MANIFEST, assert_manifest, assert_served_warm, boot_cached};
use crate::replay::{Log, Replay};
use crate::sample::Sample;

/// Slow enough to be met in the middle.
const SLOW: [&str; 2] = ["--drive-opt", "cache=throttling.bps-write=3000000"];

/// Five lives on one region, each killed when a random part of it was written, or after a random
/// time.
#[test]
fn machine_killed_again_and_again_at_random_moments_reads_right_afterwards() {
    let sample = Sample::new();
    let mut rng = Rng::new(7);
    let mut killed = 0;
    for life in 0..5_u64 {
        let before = allocated(&sample.path("region"));
        let mut boot = Boot::start(sample.cached(&[&SLOW[..], &MANIFEST].concat()));
        let more = rng.below(1 << 20);
        while allocated(&sample.path("region")) <= before + more
            && boot.children("qemu-system").is_empty()
            && !boot.has_ended()
        {
            thread::sleep(Duration::from_micros(500));
        }
        thread::sleep(Duration::from_millis(100 + rng.below(1200)));
        if !boot.has_ended() && boot.kill_if_any("qemu-system") {
            let outcome = boot.end();
            assert_eq!(outcome.status, Some(1), "life {life}: {}", outcome.stderr);
            killed += 1;
        }
    }
    assert!(killed >= 2, "killed {killed} of 5 machines in time");
    boot_cached(&sample, &[]).assert_counter("check failures 0");
    assert_served_warm(&sample);
}

/// QEMU's blklogwrites keeps every write and flush of two boots. The region is restored to its
/// state at each flush, at random writes between, and with a random part of the unflushed writes.
#[test]
fn region_replayed_to_any_point_of_its_log_loses_nothing_that_was_durable() {
    let sample = Sample::new();
    sample.fill_region(&vec![0; 16 << 20]);
    let (region, log) = (sample.path("region"), sample.path("log"));
    for (append, words) in [("off", ["--", "sum", "/d1"]), ("on", MANIFEST)] {
        let drive = format!(
            "if=none,id=logged,format=raw,driver=blklogwrites,file.driver=file,file.filename={},\
             log.driver=file,log.filename={},log-append={append},throttling.bps-write=2000000",
            region.display(),
            log.display()
        )
        .replace("format=raw,", "");
        std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let device = "virtio-blk-device,drive=logged,serial=logged";
        let machine = ["--qemu-arg", "-drive", "--qemu-arg", &drive, "--qemu-arg", "-device"];
        let more = ["--qemu-arg", device, "--guest-option", "cache=logged"];
        let versions =
            Replay::DISKS.map(|disk| format!("disk={disk},version={:#x}", Replay::VERSION));
        let versions = versions.each_ref().map(|version| ["--guest-option", version]);
        let words = [&machine[..], &more, versions.as_flattened(), &words].concat();
        let outcome = passes(sample.args(&words));
        outcome.assert_counter("region yes");
    }
    let log = Log::read(&log);
    let mut replay = Replay::new(&sample, 16 << 20);
    let (flushes, between) = replay.all(&log, 24, 3);
    assert!(flushes >= 6 && between >= 20, "{flushes} flushes, {between} points between");
    assert_eq!(replay.fetched_at_the_end(), 0, "two boots keep everything");
}

/// A write of the region in pieces of 4 KiB of which one fails: the others are done, the request
/// is not.
#[test]
fn requests_that_fail_in_their_middle_cost_no_read() {
    let sample = Sample::new();
    boot_cached(&sample, &[]);
    for (event, sector) in [("write_aio", 5000), ("read_aio", 5000)] {
        let config = sample.path("blkdebug.conf");
        let rule =
            format!("[inject-error]\nevent = \"{event}\"\nerrno = \"5\"\nsector = \"{sector}\"\n");
        std::fs::write(&config, rule).unwrap();
        if event == "write_aio" {
            // A region that is full of it has nothing to write.
            std::fs::remove_file(sample.path("region")).unwrap();
        }
        let config = format!("cache={}", config.display());
        let pieces = ["--drive-opt", "cache=file.max-transfer=4096"];
        let outcome = boot_cached(&sample, &[&["--blkdebug", &config], &pieces[..]].concat());
        assert!(!outcome.verdict().contains(" region faults 0,"), "{event}: {}", outcome.stderr);
        boot_cached(&sample, &[]);
        assert_served_warm(&sample);
    }
}

#[test]
fn two_machines_on_one_region_read_right() {
    let (one, other) = (Sample::of(1), Sample::of(2));
    for second in [&one, &other] {
        let region = one.path("region").display().to_string();
        let shared = ["--drive-opt", "cache=file.locking=off,throttling.bps-write=4000000"];
        let first = Boot::start(one.cached(&[&shared[..], &MANIFEST].concat()));
        let words = ["--region", &region, "--region-size", "16M"];
        let also = Boot::start(second.args(&[&words, &shared[..], &MANIFEST].concat()));
        for (sample, boot) in [(&one, first), (second, also)] {
            let outcome = boot.end();
            assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
            assert_manifest(sample, &outcome);
        }
        // What each spoiled of the other is found out, and healed.
        boot_cached(&one, &[]);
        boot_cached(&one, &[]);
    }
}
