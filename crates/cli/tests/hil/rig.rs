//! Runs of `hil` against QEMU.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::junit::{self, Junit};
use crate::sample::{Sample, make_guest};
use crate::wire::{Mischief, Wire};

/// How a run ended.
struct Outcome {
    status: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
    junit: Junit,
}

/// QEMU with the sample's disks, its port at `serial`; its id goes to the file `id`.
fn qemu(sample: &Sample, serial: &str) -> String {
    let mut line = format!(
        "echo $$ > '{}'; exec qemu-system-x86_64 -M microvm,acpi=off -accel tcg -m 64M \
         -nodefaults -display none -no-reboot -serial '{serial}' -device \
         isa-debug-exit,iobase=0xf4,iosize=0x04 -global virtio-mmio.force-legacy=false -kernel \
         \"$ROOTLET_KERNEL\" -append \"$ROOTLET_APPEND\"",
        sample.path("id").display()
    );
    for name in ["image", "blob1", "blob2"] {
        let file = sample.path(name);
        let file = file.display();
        line.push_str(&format!(
            " -drive 'if=none,id={name},file={file},format=raw,readonly=on' \
             -device virtio-blk-device,drive={name},serial={name}"
        ));
    }
    line
}

/// Options that every run with the sample's disks has.
const GUEST: [&str; 8] = [
    "--board",
    "microvm",
    "--guest-option",
    "image=image",
    "--guest-option",
    "blob1=blob1",
    "--guest-option",
    "blob2=blob2",
];

/// Runs the tool to its end, which has to come within two minutes more than a build takes.
fn hil(dir: &Path, args: &[OsString]) -> Outcome {
    make_guest();
    let report = dir.join("hil.xml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    command.arg("hil").arg("--junit").arg(&report).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(report.exists(), "{stderr}");
    let junit = junit::read(&report);
    Outcome { status: output.status.code(), stdout: output.stdout, stderr, junit }
}

/// Runs the tool with QEMU at the far end of a line that does `mischief` to the bytes.
fn on_wire(sample: &Sample, mischief: Mischief, more: &[&str]) -> Outcome {
    let wire = Wire::new(sample.dir(), mischief);
    let runner = qemu(sample, &format!("unix:{}", wire.socket.display()));
    let port = format!("{},115200", wire.port.display());
    let mut args: Vec<OsString> = ["--serial", &port, "--runner", &runner].map(Into::into).into();
    args.extend(GUEST.iter().chain(more).map(OsString::from));
    hil(sample.dir(), &args)
}

fn clean() -> Mischief {
    Box::new(|_, _, bytes| bytes.to_vec())
}

/// A file with the rows that the sample's manifest has.
fn manifest(sample: &Sample) -> PathBuf {
    let file = sample.path("manifest.jsonl");
    fs::write(&file, sample.manifest()).unwrap();
    file
}

/// The process that the runner became is gone.
#[track_caller]
fn assert_gone(sample: &Sample) {
    let id = fs::read_to_string(sample.path("id")).unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", id.trim()));
    let alive = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let until = Instant::now() + Duration::from_secs(10);
    while alive() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!alive(), "QEMU runs on");
}

#[test]
fn boot_on_a_serial_line_passes_with_its_rows_and_counters_in_the_report() {
    let sample = Sample::new();
    let expected = manifest(&sample).display().to_string();
    let outcome = on_wire(&sample, clean(), &["--expect-manifest", &expected]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout == sample.manifest());
    let junit = &outcome.junit;
    let names: Vec<&str> = junit.cases.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["boot", "command", "wire", "manifest"]);
    assert!(junit.cases.iter().all(|(_, inside)| inside.is_empty()), "{junit:#?}");
    assert_eq!(junit.totals, [4, 0, 0]);
    assert_eq!(junit.properties["attempts"], "1");
    assert_eq!(junit.properties["counter.files"], "64");
    assert_eq!(junit.properties["wire.lost"], "0");
    assert!(junit.properties["guest"].starts_with("board=microvm "), "{junit:#?}");
    assert!(junit.system_out.contains("progress  stage=mounted"), "{junit:#?}");
    assert_gone(&sample);
}

#[test]
fn runner_itself_can_carry_the_line_by_a_pipe_or_a_terminal() {
    let sample = Sample::new();
    let runner = qemu(&sample, "stdio");
    for pty in [&[][..], &["--pty"]] {
        let mut args: Vec<OsString> = vec!["--runner".into(), (&runner).into()];
        args.extend(GUEST.iter().chain(pty).chain(&["--", "sum", "/d0/03"]).map(OsString::from));
        let outcome = hil(sample.dir(), &args);
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert!(outcome.stdout.ends_with(b"  /d0/03\n"));
        assert_eq!(outcome.junit.totals, [3, 0, 0]);
    }
}

/// A board of one's own: the tool boots its image, and holds it to its name.
#[test]
fn image_of_a_board_that_the_tool_does_not_build_is_given_to_the_runner() {
    let sample = Sample::new();
    let image = sample.path("own.elf").display().to_string();
    let runner = qemu(&sample, "stdio");
    let keep = format!("cp \"$ROOTLET_KERNEL\" '{image}'; {runner}");
    let run = |runner: &str, board: &str, more: &[&str]| {
        let mut args: Vec<OsString> =
            ["--runner", runner, "--board", board].map(OsString::from).into();
        args.extend(more.iter().chain(&GUEST[2..]).map(OsString::from));
        args.extend(["--", "sum", "/d0/03"].map(OsString::from));
        hil(sample.dir(), &args)
    };
    let built = run(&keep, "microvm", &[]);
    assert_eq!(built.status, Some(0), "{}", built.stderr);
    let given = run(&runner, "microvm", &["--kernel", &image]);
    assert_eq!(given.status, Some(0), "{}", given.stderr);
    assert!(given.stdout == built.stdout);
    let other = run(&runner, "rig7", &["--kernel", &image]);
    assert_eq!(other.status, Some(1), "{}", other.stderr);
    let words = "expected the board rig7, and board=microvm ";
    other.junit.assert_only("boot", "error", "board", words);
}

#[test]
fn board_that_the_program_has_no_guest_for_is_refused_with_those_that_it_has() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    let output = command.args(["hil", "--runner", "true", "--board", "rig7"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = "--board rig7: rootlet has guests for microvm, q35, virt-aarch64, virt-riscv64; give another";
    assert!(String::from_utf8_lossy(&output.stderr).contains(words));
}

#[test]
fn chatter_between_the_lines_confuses_nothing() {
    let sample = Sample::new();
    let chatter = |_: usize, at: usize, bytes: &[u8]| {
        let mut out = Vec::new();
        if at == 0 {
            out.extend_from_slice(b"\r\nU-Boot SPL 2025.01 ~r0000\r\n\x00\xff\x1b[2J~~~\r\n");
        }
        for (number, byte) in bytes.iter().enumerate() {
            out.push(*byte);
            if *byte == b'\n' && (at + number).is_multiple_of(3) {
                out.extend_from_slice(b"[    1.5] usb 1-1: ~rdead00000000vPASS~00000000\r\n");
            }
        }
        out
    };
    let expected = manifest(&sample).display().to_string();
    let outcome = on_wire(&sample, Box::new(chatter), &["--expect-manifest", &expected]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.junit.properties["wire.lost"], "0");
    assert!(outcome.junit.system_out.contains("U-Boot SPL"), "{:#?}", outcome.junit);
    assert!(outcome.junit.system_out.contains("usb 1-1"), "{:#?}", outcome.junit);
}

/// Drops one byte in `every` of the first `boots` boots.
fn dropping(every: usize, boots: usize) -> Mischief {
    Box::new(move |boot, at, bytes| {
        let kept = bytes.iter().enumerate();
        let kept = kept.filter(|(number, _)| boot >= boots || (at + number + 1) % every != 0);
        kept.map(|(_, byte)| *byte).collect()
    })
}

#[test]
fn lost_bytes_fail_a_run_however_well_it_ended() {
    let sample = Sample::new();
    let outcome = on_wire(&sample, dropping(1501, usize::MAX), &[]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.junit.assert_only("wire", "error", "lost-frames", "frames were lost");
    assert_eq!(outcome.junit.totals, [3, 0, 1]);
    assert_ne!(outcome.junit.properties["wire.lost"], "0");
    assert_gone(&sample);
}

#[test]
fn copies_of_each_line_make_up_for_lost_bytes() {
    let sample = Sample::new();
    let expected = manifest(&sample).display().to_string();
    let more = ["--copies", "3", "--expect-manifest", &expected];
    let outcome = on_wire(&sample, dropping(1501, usize::MAX), &more);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout == sample.manifest());
}

#[test]
fn boot_that_passes_in_the_second_attempt_is_a_flake_in_the_report() {
    let sample = Sample::new();
    let outcome = on_wire(&sample, dropping(1501, 1), &["--retries", "2"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout == sample.manifest());
    outcome.junit.assert_only("wire", "flakyError", "lost-frames", "frames were lost");
    assert_eq!(outcome.junit.totals, [3, 0, 0]);
    assert_eq!(outcome.junit.properties["attempts"], "2");
}

/// Returns a mischief that signals QEMU after `limit` bytes, and lets no later byte through.
fn signal_after(sample: &Sample, limit: usize, signal: rustix::process::Signal) -> Mischief {
    let file = sample.path("id");
    let mut sent = false;
    Box::new(move |_, at, bytes| {
        if at + bytes.len() > limit && !sent {
            let id = fs::read_to_string(&file).unwrap();
            let id = rustix::process::Pid::from_raw(id.trim().parse().unwrap());
            rustix::process::kill_process(id.unwrap(), signal).unwrap();
            sent = true;
        }
        bytes[..bytes.len().min(limit.saturating_sub(at))].to_vec()
    })
}

#[test]
fn guest_that_hangs_is_ended_after_its_silence() {
    let sample = Sample::new();
    let mischief = signal_after(&sample, 1000, rustix::process::Signal::STOP);
    let outcome = on_wire(&sample, mischief, &["--silence", "2"]);
    assert_eq!(outcome.status, Some(124), "{}", outcome.stderr);
    outcome.junit.assert_only("command", "error", "silence", "2 s of silence");
    assert_eq!(outcome.junit.case("boot").len(), 0);
    assert_eq!(outcome.junit.case("wire")[0][0], "skipped");
    assert_gone(&sample);
}

#[test]
fn guest_that_talks_on_and_on_is_ended_at_its_deadline() {
    let sample = Sample::new();
    let dots = "while echo .; do sleep 0.05; done";
    let args = ["--runner", dots, "--timeout", "1"].map(OsString::from);
    let outcome = hil(sample.dir(), &args);
    assert_eq!(outcome.status, Some(124), "{}", outcome.stderr);
    let words = "no verdict within 1 s";
    outcome.junit.assert_only("boot", "error", "timeout", words);
    outcome.junit.assert_only("boot", "error", "timeout", "no frame among them");
}

#[test]
fn runner_that_dies_in_the_middle_is_told_with_its_end() {
    let sample = Sample::new();
    let mischief = signal_after(&sample, 1000, rustix::process::Signal::KILL);
    let outcome = on_wire(&sample, mischief, &[]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.junit.assert_only("command", "error", "runner", "signal: 9");
}

#[test]
fn runner_that_cannot_start_a_boot_is_told_with_its_words() {
    let sample = Sample::new();
    let args = ["--runner", "echo no route to rig >&2; exit 255"].map(OsString::from);
    let outcome = hil(sample.dir(), &args);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.junit.assert_only("boot", "error", "runner", "exit status: 255");
    assert!(outcome.junit.system_out.contains("no route to rig"), "{:#?}", outcome.junit);
}

#[test]
fn wrong_ports_are_told_apart() {
    let sample = Sample::new();
    let missing = ["--serial", "/dev/no-such-port,9600"].map(OsString::from);
    let outcome = hil(sample.dir(), &missing);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.junit.assert_only("boot", "error", "port", "/dev/no-such-port: No such file");
    // A port that is there, where nobody speaks.
    let wire = Wire::new(sample.dir(), clean());
    let port = wire.port.display().to_string();
    let silent = ["--serial", &port, "--silence", "1"].map(OsString::from);
    let outcome = hil(sample.dir(), &silent);
    assert_eq!(outcome.status, Some(124), "{}", outcome.stderr);
    outcome.junit.assert_only("boot", "error", "silence", "nothing came over the line");
}

#[test]
fn failed_command_and_wrong_rows_are_failures_of_the_guest() {
    let sample = Sample::new();
    let outcome = on_wire(&sample, clean(), &["--", "cat", "/no-such"]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.junit.assert_only("command", "failure", "verdict", "no-such");
    assert_eq!(outcome.junit.totals, [3, 1, 0]);

    let other = Sample::of(2);
    let expected = manifest(&other).display().to_string();
    fs::remove_file(sample.path("port.sock")).unwrap();
    let outcome = on_wire(&sample, clean(), &["--expect-manifest", &expected]);
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    outcome.junit.assert_only("manifest", "failure", "rows", "64 rows differ");
}
