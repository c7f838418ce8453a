//! A second processor: the rows of its files, machines without one, and its faults.

use std::ffi::OsString;
use std::fs;

use crate::boot::{BOARDS, boot, fails, host, passes};
use crate::faults;
use crate::golden;
use crate::sample::Sample;

const NO_SECOND: &str = "cpus=2: no second processor";

/// Words for a machine with `count` processors, of which the guest uses two.
fn two_of(board: &str, count: u32) -> Vec<OsString> {
    let count = count.to_string();
    // `--cpus 1` asks for no second one.
    let words = ["--board", board, "--cpus", &count, "--guest-option", "cpus=2"];
    words.into_iter().map(OsString::from).collect()
}

/// More processors than are used halt, and harm nobody.
#[test]
fn rows_are_the_hosts_and_in_its_order_with_a_second_processor() {
    for board in BOARDS {
        for count in [2, 4] {
            for name in ["lz4hc-64k", "merged-blobdev"] {
                let golden = golden::image(name);
                for command in ["manifest", "sum"] {
                    let words = golden::args(&golden, &[command, "/"]);
                    let outcome = passes(two_of(board, count).into_iter().chain(words.clone()));
                    assert!(!outcome.stderr.contains(NO_SECOND), "{board}: {}", outcome.stderr);
                    assert!(outcome.stdout == host(words), "{board} {count} {name} {command}");
                }
            }
        }
    }
}

#[test]
fn region_is_filled_by_both_processors_and_read_by_both() {
    for board in BOARDS {
        let sample = Sample::new();
        for counter in ["dropped 0 bytes", "fetched 0 bytes"] {
            let words = sample.cached(&["--", "manifest", "/"]);
            let outcome = passes(two_of(board, 2).into_iter().chain(words));
            assert!(outcome.stdout == sample.manifest(), "{board}: {}", outcome.stderr);
            outcome.assert_counter(counter);
            outcome.assert_counter("check failures 0");
            outcome.assert_counter("region faults 0");
        }
    }
}

/// One processor reads all, and says so.
#[test]
fn machine_without_a_second_processor_reads_all_by_itself_and_says_so() {
    for board in BOARDS {
        let sample = Sample::new();
        let words = sample.args(&["--", "manifest", "/"]);
        let outcome = passes(two_of(board, 1).into_iter().chain(words));
        assert!(outcome.stdout == sample.manifest(), "{board}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(NO_SECOND), "{board}: {}", outcome.stderr);
    }
}

#[test]
fn more_processors_than_are_used_are_refused() {
    let sample = Sample::new();
    let words = sample.args(&["--guest-option", "cpus=3", "--", "sum", "/"]);
    fails(words, "\"cpus=3\": expected 1 or 2 processors");
}

/// A file that cannot be read costs its row, whichever processor finds out.
#[test]
fn source_that_fails_costs_the_rows_of_its_files_alone() {
    let sample = Sample::new();
    let config = sample.path("blkdebug.conf");
    fs::write(&config, "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\n").unwrap();
    let config = format!("blob2={}", config.display());
    let once = ["--guest-option", "source-retry=0", "--blkdebug", &config, "--", "sum", "/"];
    let one = boot(sample.args(&once));
    let two = boot(two_of("microvm", 2).into_iter().chain(sample.args(&once)));
    assert_eq!((one.status, two.status), (Some(1), Some(1)), "{} {}", one.stderr, two.stderr);
    assert!(!one.stdout.is_empty() && one.stdout == two.stdout, "{}", two.stderr);
}

#[test]
fn fault_of_the_second_processor_ends_the_run_with_its_registers() {
    for board in BOARDS {
        let (outcome, place) = faults::fails_with(board, "second-undefined", &["-smp", "2"]);
        let verdict = outcome.verdict();
        assert!(verdict.ends_with(", on the second processor"), "{board}: {}", outcome.stderr);
        let behind = faults::field(&outcome, faults::PC[faults::target(board)]) - place.unwrap();
        assert!((2..=4).contains(&behind), "{board}: {}", outcome.stderr);
        let (outcome, _) = faults::fails_with(board, "second-overflow", &["-smp", "2"]);
        let touched = faults::field(&outcome, "touching address");
        let sp = faults::field(&outcome, faults::SP[faults::target(board)]);
        assert!(touched.abs_diff(sp) < 8192, "{board}: {}", outcome.stderr);
        let (outcome, _) = faults::fails_with(board, "second-panic", &["-smp", "2"]);
        let told = outcome.verdict().ends_with(": as the second was told");
        assert!(told, "{board}: {}", outcome.stderr);
    }
}
