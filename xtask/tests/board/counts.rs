//! What it takes until a file of some bytes has been read, in figures that no host changes:
//! accesses of device registers, each of which leaves a guest under a hypervisor, round trips to the
//! disk, and instructions.

use std::path::Path;
use std::{fs, iter};

use crate::emulator::{disk, run};

/// Board, QEMU's words for a machine, its name for a disk, and the most accesses of virtio's
/// registers and the most round trips of a whole run: the disk's name, its superblock, and the file
/// with its metadata.
const MACHINES: [(&str, &[&str], &str, [usize; 2]); 4] = [
    ("microvm", &["-M", "microvm,acpi=off", "-no-reboot"], "virtio-blk-device", [50, 3]),
    // SeaBIOS looks at the disk, too, with two of the round trips.
    ("q35", &["-M", "q35"], "virtio-blk-pci", [80, 5]),
    // 32 places for devices, of which each is looked at.
    ("virt-aarch64", &["-M", "virt", "-cpu", "max"], "virtio-blk-device", [150, 3]),
    ("virt-riscv64", &["-M", "virt"], "virtio-blk-device", [75, 3]),
];
/// Instructions from entry to the first byte, in thousands; what is waited for counts, too.
const INSTRUCTIONS_MAX: u64 = 8000;
/// Boots of which the least counts: how long a disk of the host takes is not the guest's.
const BOOTS: usize = 3;

#[test]
fn first_byte_takes_few_accesses_few_round_trips_and_few_instructions() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny.erofs");
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    for (board, machine, device, [accesses_max, trips_max]) in MACHINES {
        let boot = || {
            let traced = ["-trace", "memory_region_ops_*", "-trace", "virtio_queue_notify", "-D"];
            // An instruction a nanosecond.
            let counted = ["-icount", "shift=0,sleep=on", "-global"];
            let modern = iter::once("virtio-mmio.force-legacy=false".to_string());
            let words = machine.iter().chain(&counted).map(|word| (*word).to_string());
            let words = words.chain(modern).chain(disk(device, "image", &tiny));
            let words = words.chain(traced.map(String::from));
            let words = words.chain([trace.display().to_string()]);
            let ended = run(board, words, "image=image -- cat /hello");
            ended.assert_verdict("PASS files=1 ");
            let (_, counters) = ended.verdicts()[0].split_once("first_byte_us=").unwrap();
            counters.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let thousands = iter::repeat_with(boot).take(BOOTS).min().unwrap();
        let trace = fs::read_to_string(&trace).unwrap();
        let count = |what: &str| trace.lines().filter(|line| line.contains(what)).count();
        let (accesses, trips) = (count("name 'virtio-"), count("virtio_queue_notify"));
        println!("{board}: {accesses} accesses, {trips} round trips, {thousands}000 instructions");
        assert!((1..=accesses_max).contains(&accesses), "{board}: {accesses} accesses");
        assert!((1..=trips_max).contains(&trips), "{board}: {trips} round trips");
        assert!((1..=INSTRUCTIONS_MAX).contains(&thousands), "{board}: {thousands}000");
    }
}
