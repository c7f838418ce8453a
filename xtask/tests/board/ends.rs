//! How machines end that have no isa-debug-exit and no semihosting: by whatever else they have, with
//! one verdict, and never a second time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::boot::guest;
use crate::emulator::{Ended, command, disk, program, run, run_command, run_for};
use crate::faults;

/// Boards, QEMU's words for a machine of each, its name for a disk, and the statuses it ends
/// with.
const MACHINES: [(&str, &[&str], &str, [i32; 2]); 5] = [
    // By the control register of ACPI's power management.
    ("q35", &["-M", "q35"], "virtio-blk-pci", [0, 0]),
    // By ACPI's sleep control register.
    ("microvm", &["-M", "microvm"], "virtio-blk-device", [0, 0]),
    ("microvm", &["-M", "microvm,pcie=on"], "virtio-blk-pci", [0, 0]),
    // By PSCI.
    ("virt-aarch64", &["-M", "virt", "-cpu", "max"], "virtio-blk-device", [0, 0]),
    // By the test device that the tree names.
    ("virt-riscv64", &["-M", "virt"], "virtio-blk-device", [33, 35]),
];

#[test]
fn machine_switches_itself_off_whether_its_command_passed_or_failed() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny.erofs");
    for (board, machine, device, [passed, failed]) in MACHINES {
        let machine = machine.iter().map(|word| (*word).to_string());
        let words: Vec<String> = machine.chain(disk(device, "image", &tiny)).collect();
        let ended = run(board, &words, "image=image -- manifest /");
        ended.assert_verdict("PASS files=7 ");
        assert_eq!(ended.status, Some(passed), "{board} {words:?}: {ended:?}");
        let ended = run(board, &words, "image=image -- cat /gone");
        ended.assert_verdict("FAIL /gone: no such file or directory");
        assert_eq!(ended.status, Some(failed), "{board} {words:?}: {ended:?}");
    }
}

/// Nothing switches this one off: it is reset, which would run everything again and again.
#[test]
fn machine_that_is_reset_at_its_end_does_not_run_a_second_time() {
    let machine = ["-M", "microvm,acpi=off"];
    let ended = run_for("microvm", machine, "-- ls /", Duration::from_secs(3));
    ended.assert_verdict("FAIL no image given");
    assert_eq!(ended.status, None, "{ended:?}");
    let until_reset = ["-M", "microvm,acpi=off", "-no-reboot"];
    let ended = run("microvm", until_reset, "-- ls /");
    ended.assert_verdict("FAIL no image given");
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

#[test]
fn machine_without_a_console_ends_with_its_status() {
    let debug_exit = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"];
    let semihosting = ["-semihosting-config", "enable=on,target=native"];
    for (board, machine, exit) in [
        ("microvm", &["qemu-system-x86_64", "-M", "microvm"][..], debug_exit),
        ("q35", &["qemu-system-x86_64", "-M", "q35"], debug_exit),
        ("virt-aarch64", &["qemu-system-aarch64", "-M", "virt", "-cpu", "max"], semihosting),
        ("virt-riscv64", &["qemu-system-riscv64", "-M", "virt"], semihosting),
    ] {
        let mut command = Command::new(machine[0]);
        command.args(&machine[1..]).args(exit).args(["-nodefaults", "-display", "none"]);
        command.args(["-serial", "none", "-append", "-- ls /", "-kernel"]).arg(guest(board));
        let ended = run_command(&mut command, Duration::from_secs(60));
        assert_eq!(ended.status, Some(35), "{board}: {ended:?}");
    }
}

/// One line of QEMU's for each time that the port's rate is set.
#[test]
fn serial_line_of_a_pc_runs_at_115200_baud() {
    let traced = ["-M", "q35", "-trace", "serial_update_parameters"];
    let ended = run("q35", traced, "-- ls /");
    let rates: Vec<&str> = ended.said.lines().filter(|line| line.contains("baudrate=")).collect();
    assert!(rates.last().is_some_and(|line| line.contains("baudrate=115200")), "{ended:?}");
}

/// The faults example fails at the port of isa-debug-exit, which is asked first.
#[test]
fn fault_in_one_way_to_end_a_machine_leads_to_the_next() {
    let machine = ["-M", "microvm,acpi=off", "-no-reboot"];
    let image = faults::image("microvm");
    let mut qemu = command("microvm", machine, &image);
    let ended = run_command(qemu.args(["-append", "-- exit"]), Duration::from_secs(60));
    ended.assert_verdict("FAIL");
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

/// Returns the device tree of QEMU's virt for riscv64, with some bytes replaced wherever they are.
fn altered(changes: &[(&[u8], &[u8])]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let dump = format!("virt,dumpdtb={}", file.path().display());
    let mut qemu = Command::new(program("virt-riscv64"));
    qemu.args(["-nodefaults", "-display", "none", "-M", &dump]);
    assert!(qemu.output().unwrap().status.success());
    let mut tree = fs::read(file.path()).unwrap();
    for (old, new) in changes {
        let found = |tree: &[u8]| tree.windows(old.len()).position(|bytes| bytes == *old);
        assert!(found(&tree).is_some(), "the tree has no {old:?}");
        while let Some(at) = found(&tree) {
            tree[at..at + old.len()].copy_from_slice(new);
        }
    }
    fs::write(file.path(), tree).unwrap();
    file
}

/// Runs a machine that has such a tree, and ends it.
fn run_altered(changes: &[(&[u8], &[u8])]) -> Ended {
    let tree = altered(changes);
    let machine = ["-M", "virt", "-dtb", tree.path().to_str().unwrap()];
    let ended = run_for("virt-riscv64", machine, "-- ls /", Duration::from_secs(10));
    assert_eq!(ended.status, None, "{ended:?}");
    ended.assert_verdict("FAIL no image given");
    ended
}

/// It is where a supervisor may not write, and firmware has no other.
#[test]
fn test_device_that_is_a_fault_is_no_second_verdict() {
    let device = |at: u32| [&[0; 4], &at.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0, 0x10, 0]].concat();
    run_altered(&[(&device(0x10_0000), &device(0x8000_0000))]);
}

#[test]
fn machine_that_nothing_ends_is_said_to_halt() {
    let ended = run_altered(&[(b"sifive,test", b"nobody,test"), (b"syscon-", b"nobody-")]);
    let told = "end     nothing is known that ends this machine: it halts";
    assert!(ended.console.lines().any(|line| line == told), "{ended:?}");
}
