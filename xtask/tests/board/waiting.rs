//! Waiting for a device: the processor is left to whoever else needs it.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::boot::Boot;
use crate::sample::Sample;

/// Thirty requests a second, so that a guest does nothing but wait.
const SLOW: [&str; 4] = [
    "--drive-opt",
    "blob1=throttling.iops-total=30",
    "--drive-opt",
    "blob2=throttling.iops-total=30",
];

/// How long the threads of a process have run, in nanoseconds.
fn ran_ns(id: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{id}/task")).expect("the guest still waits");
    let ran = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    };
    threads.filter_map(Result::ok).filter_map(ran).sum()
}

/// Boots with slow disks; what the emulator ran of a second in which the guest only waits.
#[track_caller]
fn share_of_a_second(board: &str, machine: Option<&str>) -> f64 {
    let sample = Sample::new();
    let machine: Vec<&str> = machine
        .iter()
        .flat_map(|machine| ["--qemu-arg", "-machine", "--qemu-arg", machine])
        .collect();
    let words = [&["--board", board], &SLOW[..], &machine[..], &["--", "sum", "/"]].concat();
    let mut boot = Boot::start(sample.args(&words));
    boot.first_byte();
    let ids = boot.children("qemu-system");
    let all = || ids.iter().map(|id| ran_ns(*id)).sum::<u64>();
    let (begin, before) = (Instant::now(), all());
    thread::sleep(Duration::from_secs(1));
    // A thread that has ended meanwhile counts no more.
    let share = all().saturating_sub(before) as f64 / begin.elapsed().as_nanos() as f64;
    assert!(!boot.has_ended(), "it waits for longer than that");
    drop(boot);
    share
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
        let share = share_of_a_second(board, machine);
        eprintln!("{board} {machine:?}: {share:.2}");
        // Who looks for the answer without end takes all of it.
        assert!(share < 0.5, "{board} {machine:?}: {share:.2} of a second");
    }
}
