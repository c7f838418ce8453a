//! Serial ports that a command line names and nobody has, and ports that take nothing: no wait for
//! one is without end, and the run ends with its status.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::boot::guest;
use crate::emulator::{disk, run, run_command};

/// What ends a machine with a status.
const DEBUG_EXIT: [&str; 2] = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"];
const SEMIHOSTING: [&str; 2] = ["-semihosting-config", "enable=on,target=native"];

/// Boards, QEMU's words for a machine of each with a status, and words that name ports where there
/// is nothing, or something else.
const ABSENT: [(&str, &[&str], &[&str]); 4] = [
    ("q35", &["-M", "q35"], &["console=ttyS1", "console=uart,io,0x9000"]),
    ("q35", &["-M", "q35"], &["console=uart8250,mmio,0xd0000000", "earlycon=pl011,0xd0000000"]),
    (
        "virt-aarch64",
        &["-M", "virt", "-cpu", "max"],
        &[
            "console=uart8250,mmio,0xb000000",
            "console=uart8250,mmio32,0xb000000",
            "earlycon=pl011,0xb000000",
            // The first virtio device.
            "earlycon=pl011,0xa000000",
            "console=uart8250,mmio,0xa000000",
        ],
    ),
    (
        "virt-riscv64",
        &["-M", "virt"],
        &["console=uart8250,mmio32,0x11000000", "earlycon=pl011,0x10000000"],
    ),
];

fn exit(board: &str) -> [&'static str; 2] {
    if board.starts_with("virt") { SEMIHOSTING } else { DEBUG_EXIT }
}

#[test]
fn port_that_is_named_and_absent_is_told_on_the_usual_one() {
    for (board, machine, words) in ABSENT {
        for word in words {
            let machine = [machine, &exit(board)[..]].concat();
            let ended = run(board, machine, format!("{word} -- ls /"));
            ended.assert_verdict("FAIL no image given");
            assert_eq!(ended.status, Some(35), "{word}: {ended:?}");
            let (_, place) = word.rsplit_once(',').unwrap_or(("", "0x2f8"));
            let told = format!("console: no port answers at {place}");
            assert!(ended.console.lines().any(|line| line.starts_with(&told)), "{word}: {ended:?}");
        }
    }
}

/// The other end of the line is full from the start, and never read.
#[test]
fn port_that_takes_nothing_is_given_up_and_the_status_is_right() {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny.erofs");
    let dir = tempfile::tempdir().unwrap();
    let line = dir.path().join("line");
    for end in ["line.in", "line.out"] {
        let path = dir.path().join(end);
        rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
    }
    let flags = OFlags::RDWR | OFlags::NONBLOCK;
    let out = rustix::fs::open(dir.path().join("line.out"), flags, Mode::empty()).unwrap();
    let mut out = File::from(out);
    while out.write(&[0; 512]).is_ok() {}
    for (command, status) in [("manifest /", 33), ("cat /gone", 35)] {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-M", "q35", "-nodefaults", "-display", "none"]).args(DEBUG_EXIT);
        qemu.arg("-serial").arg(format!("pipe:{}", line.display()));
        qemu.args(disk("virtio-blk-pci", "image", &tiny)).arg("-kernel").arg(guest("q35"));
        qemu.arg("-append").arg(format!("image=image -- {command}"));
        let ended = run_command(&mut qemu, Duration::from_secs(90));
        assert_eq!(ended.status, Some(status), "{ended:?}");
    }
}
