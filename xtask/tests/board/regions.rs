//! Regions on the board, good and bad: none of them makes a read fail or changes a byte.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use rootlet_sim::Rng;

use crate::boot::{Boot, Outcome, allocated, passes};
use crate::gpt;
use crate::sample::Sample;

/// The command that reads everything.
pub const MANIFEST: [&str; 3] = ["--", "manifest", "/"];
/// The size of the region in these tests, in bytes.
const REGION_BYTES: usize = 16 << 20;

/// Checks that the boot printed what the host's library does.
pub fn assert_manifest(sample: &Sample, outcome: &Outcome) {
    assert!(outcome.stdout == sample.manifest(), "{}", outcome.stderr);
}

/// Boots with the region of the sample. The output is right, whatever the region did.
pub fn boot_cached(sample: &Sample, more: &[&str]) -> Outcome {
    let outcome = passes(sample.cached(&[more, &MANIFEST].concat()));
    assert_manifest(sample, &outcome);
    outcome
}

/// Checks that a boot reads nothing from the sources.
pub fn assert_served_warm(sample: &Sample) {
    boot_cached(sample, &[]).assert_counter("fetched 0 bytes");
}

#[test]
fn region_of_zeros_is_formatted_and_serves_the_second_boot() {
    let sample = Sample::new();
    sample.fill_region(&vec![0; REGION_BYTES]);
    boot_cached(&sample, &[]).assert_counter("region yes");
    assert_served_warm(&sample);
}

#[test]
fn region_of_unknown_bytes_is_left_alone() {
    let sample = Sample::new();
    let mut garbage = vec![0; REGION_BYTES];
    Rng::new(7).fill(&mut garbage);
    sample.fill_region(&garbage);
    let outcome = boot_cached(&sample, &[]);
    outcome.assert_counter("region no");
    let notice = "region  not used: the area holds unknown data";
    assert!(outcome.stderr.lines().any(|line| line == notice), "{}", outcome.stderr);
    let words = "region  to overwrite it: `--guest-option cache-format=force`, or \
                 `rootlet region FILE format --force`";
    assert!(outcome.stderr.lines().any(|line| line == words), "{}", outcome.stderr);
    assert!(fs::read(sample.path("region")).unwrap() == garbage, "not a byte of it changed");
    // As the notice says.
    let forced = ["--guest-option", "cache-format=force"];
    boot_cached(&sample, &forced).assert_counter("region yes");
    assert_served_warm(&sample);
}

#[test]
fn region_with_a_key_on_a_share_serves_the_second_boot_and_is_left_alone_without() {
    let sample = Sample::new();
    fs::create_dir(sample.path("share")).unwrap();
    for (name, byte) in [("key", 1), ("other", 2)] {
        fs::write(sample.path("share").join(name), [byte; 32]).unwrap();
    }
    let share = sample.path("share").display().to_string();
    let with = |key| boot_cached(&sample, &["--share", &share, "--cache-key", key]);
    with("share:key").assert_counter("region yes");
    with("share:key").assert_counter("fetched 0 bytes");
    let before = fs::read(sample.path("region")).unwrap();
    assert!(before.starts_with(b"RLCRYPT\x1a"));
    let other = with("share:other");
    other.assert_counter("region no");
    let notice = "region  not used: it is encrypted with another key than the given one";
    assert!(other.stderr.lines().any(|line| line == notice), "{}", other.stderr);
    boot_cached(&sample, &[]).assert_counter("region no");
    assert!(fs::read(sample.path("region")).unwrap() == before, "not a byte of it changed");
    // The same key as a file of its own: it ends within a sector.
    let file = sample.path("share").join("key").display().to_string();
    boot_cached(&sample, &["--cache-key", &file]).assert_counter("fetched 0 bytes");
}

#[test]
fn region_in_a_read_only_file_gives_hits_and_stays_as_it_is() {
    let sample = Sample::new();
    boot_cached(&sample, &[]);
    let region = sample.path("region");
    let before = fs::read(&region).unwrap();
    fs::set_permissions(&region, fs::Permissions::from_mode(0o444)).unwrap();
    let outcome = boot_cached(&sample, &[]);
    outcome.assert_counter("fetched 0 bytes");
    let notice = "region  read-only: its disk is read-only";
    assert!(outcome.stderr.lines().any(|line| line == notice), "{}", outcome.stderr);
    assert!(fs::read(&region).unwrap() == before, "not a byte of it changed");
}

#[test]
fn region_with_garbage_in_its_middle_costs_time_and_no_byte() {
    let sample = Sample::new();
    boot_cached(&sample, &[]);
    let mut region = fs::read(sample.path("region")).unwrap();
    for (seed, place) in [(1, 0x0_0000), (2, 0x1_2000), (3, 0x4_0000), (4, 0x20_0000)] {
        Rng::new(seed).fill(&mut region[place..place + 0x8000]);
        sample.fill_region(&region);
        boot_cached(&sample, &["--guest-option", "cache-format=auto"]);
        region = fs::read(sample.path("region")).unwrap();
    }
}

#[test]
fn region_that_another_image_filled_serves_none_of_its_bytes() {
    let (one, other) = (Sample::of(1), Sample::of(2));
    boot_cached(&other, &[]);
    fs::copy(other.path("region"), one.path("region")).unwrap();
    let outcome = boot_cached(&one, &[]);
    outcome.assert_counter("region yes");
    outcome.assert_counter("check failures 0");
    assert_served_warm(&one);
    // Both fit.
    fs::copy(one.path("region"), other.path("region")).unwrap();
    assert_served_warm(&other);
}

#[test]
fn region_in_a_partition_serves_the_second_boot_and_nothing_else_is_written() {
    use gpt_disk_io::gpt_disk_types::BlockSize;
    let sample = Sample::new();
    let disk = gpt::disk(BlockSize::BS_512, &gpt::PARTS);
    sample.fill_region(&disk);
    let place = |part| format!("{}@{part}", sample.path("region").display());
    let boot = |part| {
        let place = place(part);
        let outcome = passes(sample.args(&[&["--region", &place][..], &MANIFEST].concat()));
        assert_manifest(&sample, &outcome);
        outcome
    };
    boot("name:rootlet-region").assert_counter("region yes");
    boot("type").assert_counter("fetched 0 bytes");
    let after = fs::read(sample.path("region")).unwrap();
    assert!(disk[..3 << 20] == after[..3 << 20] && disk[7 << 20..] == after[7 << 20..]);
    // A partition that is not there costs the region, and no read.
    let outcome = boot("name:other");
    outcome.assert_counter("region no");
    let notice = "region  not used: cache@name:other: its GPT has no such partition";
    assert!(outcome.stderr.lines().any(|line| line == notice), "{}", outcome.stderr);
}

#[test]
fn region_on_a_read_only_disk_serves_and_is_not_written() {
    let sample = Sample::new();
    boot_cached(&sample, &[]);
    let before = fs::read(sample.path("region")).unwrap();
    let disk = format!("ro={},ro", sample.path("region").display());
    let words = ["--disk", &disk, "--guest-option", "cache=ro", "--", "manifest", "/"];
    let outcome = passes(sample.args(&words));
    assert_manifest(&sample, &outcome);
    outcome.assert_counter("fetched 0 bytes");
    assert!(
        outcome.stderr.contains("region  read-only: its disk is read-only"),
        "{}",
        outcome.stderr
    );
    assert!(fs::read(sample.path("region")).unwrap() == before);

    sample.fill_region(&vec![0; REGION_BYTES]);
    let outcome = passes(sample.args(&words));
    assert_manifest(&sample, &outcome);
    outcome.assert_counter("region no");
}

#[test]
fn region_smaller_than_a_slot_is_not_used() {
    let sample = Sample::new();
    for bytes in [512, 4096, 65_536] {
        sample.fill_region(&vec![0; bytes]);
        let outcome = boot_cached(&sample, &[]);
        outcome.assert_counter("region no");
        assert!(outcome.stderr.contains("region  not used: "), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("too few for one slot"), "{}", outcome.stderr);
    }
}

#[test]
fn region_disk_that_is_not_there_is_a_notice() {
    let sample = Sample::new();
    let outcome = passes(sample.args(&["--guest-option", "cache=gone", "--", "manifest", "/"]));
    assert_manifest(&sample, &outcome);
    let notice = "region  not used: disk gone: not found";
    assert!(outcome.stderr.contains(notice), "{}", outcome.stderr);
}

/// Input or output error.
const EIO: u32 = 5;
/// No space left on the device.
const ENOSPC: u32 = 28;

/// Boots with a region disk on which blkdebug injects this error.
fn boot_with_errors(sample: &Sample, event: &str, errno: u32, sector: Option<u64>) -> Outcome {
    let config = sample.path("blkdebug.conf");
    let sector = sector.map_or(String::new(), |sector| format!("sector = \"{sector}\"\n"));
    let rule = format!("[inject-error]\nevent = \"{event}\"\nerrno = \"{errno}\"\n{sector}");
    fs::write(&config, rule).unwrap();
    let config = format!("cache={}", config.display());
    boot_cached(sample, &["--blkdebug", &config])
}

#[test]
fn region_disk_that_fails_every_write_or_flush_fails_no_read() {
    for event in ["write_aio", "flush_to_disk"] {
        let sample = Sample::new();
        boot_with_errors(&sample, event, EIO, None);
        // A region that is formatted already meets the error later.
        fs::remove_file(sample.path("region")).unwrap();
        passes(sample.cached(&["--", "ls", "/"]));
        let outcome = boot_with_errors(&sample, event, EIO, None);
        assert!(!outcome.verdict().contains(" region faults 0,"), "{event}: {}", outcome.stderr);
        boot_cached(&sample, &[]);
        assert_served_warm(&sample);
    }
}

/// QEMU stops a machine whose disk is full, unless an option of the disk reports the error instead.
#[test]
fn full_disk_under_a_region_fails_no_read_and_stops_no_machine() {
    let sample = Sample::new();
    passes(sample.cached(&["--", "ls", "/"]));
    let outcome = boot_with_errors(&sample, "write_aio", ENOSPC, None);
    assert!(!outcome.verdict().contains(" region faults 0,"), "{}", outcome.stderr);
    boot_cached(&sample, &[]);
    assert_served_warm(&sample);
}

#[test]
fn region_disk_that_fails_every_read_is_as_good_as_none() {
    let sample = Sample::new();
    boot_cached(&sample, &[]);
    let outcome = boot_with_errors(&sample, "read_aio", EIO, None);
    outcome.assert_counter("hits 0");
    assert_served_warm(&sample);
}

#[test]
fn region_disk_that_fails_one_sector_is_read_around() {
    let sample = Sample::new();
    boot_cached(&sample, &[]);
    let region = fs::read(sample.path("region")).unwrap();
    let file = sample.tree.content("/d0/03").unwrap().to_vec();
    let kept = region.chunks(4096).position(|block| *block == file[..4096]).unwrap() as u64;
    let outcome = boot_with_errors(&sample, "read_aio", EIO, Some(kept * 8 + 3));
    assert!(!outcome.verdict().contains(" region faults 0,"), "{}", outcome.stderr);
    assert!(!outcome.verdict().contains(", hits 0,"), "{}", outcome.stderr);
    boot_cached(&sample, &[]);
}

#[test]
fn machine_killed_while_it_writes_the_region_reads_right_afterwards() {
    let mut killed = 0;
    for more in [0_u64, 64 << 10, 512 << 10, 1 << 20] {
        let sample = Sample::new();
        passes(sample.cached(&["--", "ls", "/"]));
        let formatted = allocated(&sample.path("region"));
        // Slow enough to be met in the middle.
        let slow = ["--drive-opt", "cache=throttling.bps-write=3000000"];
        let mut boot = Boot::start(sample.cached(&[&slow[..], &MANIFEST].concat()));
        while allocated(&sample.path("region")) <= formatted + more && !boot.has_ended() {
            thread::sleep(Duration::from_micros(500));
        }
        if !boot.has_ended() {
            boot.kill("qemu-system");
            let outcome = boot.end();
            assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
            assert!(outcome.stderr.contains("ended by signal 9"), "{}", outcome.stderr);
            killed += 1;
        }
        boot_cached(&sample, &[]);
        assert_served_warm(&sample);
    }
    assert!(killed >= 3, "killed {killed} of 4 machines in time");
}

#[test]
fn part_of_a_disk_is_the_region_and_the_rest_is_not_touched() {
    let sample = Sample::new();
    let (before, behind) = (vec![0x5a; 1 << 20], vec![0xa5; 1 << 20]);
    let whole = [before.as_slice(), &vec![0; 8 << 20], behind.as_slice()].concat();
    sample.fill_region(&whole);
    let place = format!("{}@2048+16384", sample.path("region").display());
    let words: Vec<OsString> = sample.args(&["--region", &place, "--", "manifest", "/"]);
    for counter in ["region yes", "fetched 0 bytes"] {
        let outcome = passes(words.clone());
        assert_manifest(&sample, &outcome);
        outcome.assert_counter(counter);
        let disk = fs::read(sample.path("region")).unwrap();
        assert!(disk[..1 << 20] == before && disk[9 << 20..] == behind);
    }
}
