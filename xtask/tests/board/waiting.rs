//! Waiting for a device: the processor is left to others that need it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::boot::{BOARDS, Boot, allocated};
use crate::sample::Sample;

/// Thirty requests a second, so that a guest does nothing but wait.
const SLOW: [&str; 4] = [
    "--drive-opt",
    "blob1=throttling.iops-total=30",
    "--drive-opt",
    "blob2=throttling.iops-total=30",
];
/// A region that takes longer to write than a second.
const SLOW_REGION: [&str; 2] = ["--drive-opt", "cache=throttling.bps-write=1000000"];

/// Returns how long the threads of a process have run, in nanoseconds.
fn ran_ns(id: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{id}/task")).expect("the guest still waits");
    let ran = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    };
    threads.filter_map(Result::ok).filter_map(ran).sum()
}

/// Boots with a slow disk; once `waits` has seen that the guest has nothing to do but to wait, it
/// is to sleep for most of a second.
#[track_caller]
fn sleeps(board: &str, more: &[&str], waits: impl Fn(&mut Boot)) {
    let sample = Sample::new();
    let words = [&["--board", board], more, &["--", "sum", "/"]].concat();
    let mut boot = Boot::start(sample.args(&words));
    waits(&mut boot);
    let ids = boot.children("qemu-system");
    assert!(!ids.is_empty(), "no emulator runs");
    let all = || ids.iter().map(|id| ran_ns(*id)).sum::<u64>();
    let (begin, before) = (Instant::now(), all());
    thread::sleep(Duration::from_secs(1));
    // A thread that has ended meanwhile counts no more.
    let share = all().saturating_sub(before) as f64 / begin.elapsed().as_nanos() as f64;
    assert!(!boot.has_ended(), "it waits for longer than that");
    assert!(share > 0.0, "the host does not count");
    // Who looks for an answer without end takes all of it.
    assert!(share < 0.5, "{board} {more:?}: {share:.2} of a second");
}

#[test]
fn guest_sleeps_while_it_waits_for_a_slow_disk() {
    for (board, machine) in [
        ("microvm", None),
        ("q35", None),
        ("virt-aarch64", None),
        ("virt-aarch64", Some("gic-version=3")),
        ("virt-aarch64", Some("virtualization=on")),
        ("virt-aarch64", Some("virtualization=on,gic-version=3")),
        ("virt-riscv64", None),
    ] {
        let machine = machine.map(|machine| ["--qemu-arg", "-machine", "--qemu-arg", machine]);
        let more = [&SLOW[..], machine.as_ref().map_or(&[], |words| &words[..])].concat();
        sleeps(board, &more, |boot| assert_ne!(boot.first_byte(), 0));
    }
}

#[test]
fn guest_sleeps_while_it_waits_for_its_region() {
    let dir = tempfile::tempdir().unwrap();
    for board in BOARDS {
        let region = dir.path().join(board);
        let name = region.display().to_string();
        let more = [&["--region", &name, "--region-size", "16M"], &SLOW_REGION[..]].concat();
        sleeps(board, &more, |boot| {
            while allocated(&region) < 512 << 10 {
                assert!(!boot.has_ended(), "the region is written for longer than that");
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
}
