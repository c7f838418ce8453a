//! Sources that keep silent: their daemon is stopped in the middle of a read.
//!
//! Always: the read or the run fails by its deadline, says which source it was, and leaves neither
//! the guest nor QEMU standing. Nothing of it may end in a device's reset, in which QEMU waits for
//! the daemon and the whole machine with it.

use std::ffi::OsString;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rootlet_sim::image::{Content, Tree};
use rustix::process::Signal;

use crate::boot::{Boot, fails, passes, qmp};
use crate::daemons::Daemon;
use crate::sample::Sample;

/// Board and bus of each transport.
const MACHINES: [(&str, &str); 3] = [("microvm", "mmio"), ("q35", "pci"), ("virt-aarch64", "mmio")];
const DEADLINE: Duration = Duration::from_secs(3);
/// What a busy host may add to the second that the guest has.
const LOAD: Duration = Duration::from_secs(10);

/// Returns an image with one file, of more than fits between guest and test, so that it cannot end
/// before it is let.
fn sample() -> Sample {
    let mut tree = Tree::new();
    tree.file("/large", Content::seeded(1, 6 << 20));
    Sample::from_tree(tree, 1)
}

/// Arguments for the image and its second blob, on a board.
fn args(sample: &Sample, board: &str, more: &[&str]) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["--board".into(), board.into()];
    args.extend(["--image".into(), sample.path("image").into()]);
    args.extend(["--blob".into(), format!("2={}", sample.path("blob2").display()).into()]);
    args.extend(["--guest-option", "deadline=3"].map(OsString::from));
    args.extend(more.iter().map(OsString::from));
    args
}

/// Boots, stops the daemon in the middle of the read of `name`, and expects the end.
#[track_caller]
fn stalls(args: Vec<OsString>, name: &str, stop: impl FnOnce(&Boot)) {
    let args = args.into_iter().chain(["--", "cat", "/large"].map(OsString::from));
    let mut boot = Boot::start(args);
    boot.first_byte();
    stop(&boot);
    let begin = Instant::now();
    let outcome = boot.end();
    let took = begin.elapsed();
    println!("{name}: {took:?}, {}", outcome.verdict());
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(&format!("{name}: no answer for 3 s")), "{}", outcome.stderr);
    assert!(outcome.verdict().starts_with("FAIL "), "{}", outcome.stderr);
    assert!(outcome.verdict().contains(name), "{}", outcome.stderr);
    assert!(outcome.verdict().contains("no answer before the deadline"), "{}", outcome.stderr);
    assert!(took < DEADLINE + Duration::from_secs(1) + LOAD, "{took:?}: {}", outcome.stderr);
}

#[test]
fn stopped_nbd_server_ends_the_read_by_its_deadline() {
    for (board, bus) in MACHINES {
        let sample = sample();
        let Some(server) = Daemon::nbd(&sample.path("blob1"), sample.path("socket")) else {
            return;
        };
        let mut args = args(&sample, board, &["--guest-option", "blob1=blob1"]);
        args.extend(server.nbd_args(bus, "blob1"));
        stalls(args, "blob1", |_| server.stop());
    }
}

#[test]
fn stopped_daemon_of_a_vhost_user_disk_ends_the_read_by_its_deadline() {
    for (board, bus) in MACHINES {
        let sample = sample();
        let daemon = Daemon::vhost_user_blk(&sample.path("blob1"), sample.path("socket"));
        let mut args = args(&sample, board, &["--guest-option", "blob1=vhost_user_blk"]);
        args.extend(daemon.vhost_user_args(bus, "queue-size=128"));
        stalls(args, "vhost_user_blk", |_| daemon.stop());
    }
}

#[test]
fn stopped_daemon_of_a_share_ends_the_read_by_its_deadline() {
    for (board, bus) in MACHINES {
        let sample = sample();
        let shared = sample.path("shared");
        fs::create_dir(&shared).unwrap();
        fs::rename(sample.path("blob1"), shared.join("blob1")).unwrap();
        let mut args = args(&sample, board, &["--bus", bus, "--blob", "1=share:blob1", "--share"]);
        args.push(shared.into());
        stalls(args, "share", |boot| {
            assert!(boot.signal("virtiofsd", Signal::STOP), "the tool runs no daemon");
        });
    }
}

#[test]
fn pause_of_the_machine_is_no_silence_of_its_devices() {
    let sample = sample();
    let more = ["--blob", &format!("1={}", sample.path("blob1").display()), "--", "cat", "/large"];
    let mut boot = Boot::start(args(&sample, "microvm", &more));
    let mut bytes = vec![boot.first_byte()];
    for _ in 0..2 {
        assert!(boot.signal("qemu-system", Signal::STOP), "the tool runs no QEMU");
        thread::sleep(DEADLINE + Duration::from_secs(1));
        boot.signal("qemu-system", Signal::CONT);
        thread::sleep(Duration::from_millis(50));
    }
    let outcome = boot.end();
    assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("no answer"), "{}", outcome.stderr);
    bytes.extend(outcome.stdout);
    assert!(bytes == sample.tree.content("/large").unwrap().to_vec());
}

/// The image is read straight into the memory of who asks for it.
#[test]
fn source_that_keeps_memory_of_a_read_ends_the_run_by_its_deadline() {
    for board in ["microvm", "virt-riscv64"] {
        let sample = Sample::new();
        let (image, socket) = (sample.path("image"), sample.path("qmp"));
        let Some(server) = Daemon::nbd(&image, sample.path("socket")) else { return };
        let qmp_at = format!("unix:{},server=on,wait=off", socket.display());
        let mut args = server.nbd_args("mmio", "far");
        args.extend(["--board", board, "--qemu-arg", "-S"].map(OsString::from));
        args.extend(["--qemu-arg", "-qmp", "--qemu-arg", &qmp_at].map(OsString::from));
        let near = format!("near={},ro", sample.path("blob1").display());
        args.extend(["--disk", &near].map(OsString::from));
        for option in ["deadline=7", "image=far"] {
            args.extend(["--guest-option", option].map(OsString::from));
        }
        args.extend(["--", "ls", "/"].map(OsString::from));
        let boot = Boot::start(args);
        // That it answers shows that the machine is complete.
        qmp(&socket, "query-status");
        server.stop();
        qmp(&socket, "cont");
        let begin = Instant::now();
        let outcome = boot.end();
        let took = begin.elapsed();
        println!("{board}: {took:?}, {}", outcome.verdict());
        assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
        let said = ["far: no answer for 5 s", "far: no answer for 7 s: given up"];
        assert!(said.iter().all(|said| outcome.stderr.contains(said)), "{}", outcome.stderr);
        let why = "FAIL far: no answer before the deadline, and it keeps memory of a read";
        assert!(outcome.verdict().starts_with(why), "{}", outcome.stderr);
        assert!(took < Duration::from_secs(7 + 1) + LOAD, "{took:?}: {}", outcome.stderr);
    }
}

/// A region may be lost at any instant: in the middle of its hits, and before its first byte.
#[test]
fn region_that_keeps_silent_costs_its_deadline_and_fails_no_read() {
    // More rows than fit between guest and test, so that there are hits left.
    let mut tree = Tree::new();
    for number in 0..1000 {
        tree.file(format!("/{number:04}"), Content::seeded(number, 8 << 10));
    }
    let sample = Sample::from_tree(tree, 1);
    let rows = sample.manifest();
    let manifest = ["--", "manifest", "/"];
    let cold = passes(sample.cached(&manifest));
    assert!(cold.stdout == rows, "{}", cold.stderr);
    for (board, bus) in MACHINES {
        for is_at_once in [false, true] {
            let (socket, control) = (sample.path("socket"), sample.path("qmp"));
            let Some(server) = Daemon::nbd(&sample.path("region"), socket) else { return };
            let mut args = server.nbd_args(bus, "region");
            args.extend(["--board", board].map(OsString::from));
            for option in ["deadline=3", "cache=region"] {
                args.extend(["--guest-option", option].map(OsString::from));
            }
            if is_at_once {
                let control = format!("unix:{},server=on,wait=off", control.display());
                let words = ["--qemu-arg", "-S", "--qemu-arg", "-qmp", "--qemu-arg", &control];
                args.extend(words.map(OsString::from));
            }
            let mut boot = Boot::start(args.into_iter().chain(sample.args(&manifest)));
            let mut bytes = Vec::new();
            if is_at_once {
                qmp(&control, "query-status");
                server.stop();
                qmp(&control, "cont");
            } else {
                bytes.push(boot.first_byte());
                server.stop();
            }
            let outcome = boot.end();
            bytes.extend(&outcome.stdout);
            assert_eq!(outcome.status, Some(0), "{board} {is_at_once}: {}", outcome.stderr);
            assert!(bytes == rows, "{board} {is_at_once}: {}", outcome.stderr);
            let said = "region: no answer for 3 s: given up, and ";
            assert!(outcome.stderr.contains(said), "{board} {is_at_once}: {}", outcome.stderr);
        }
    }
}

/// The first read is QEMU's own, the next three fail, as those of a server that answers 503.
#[test]
fn source_that_fails_for_a_moment_is_asked_again() {
    let sample = Sample::new();
    let config = sample.path("blkdebug.conf");
    let rules: String = (1..5)
        .map(|state| {
            let next = state + 1;
            let error = "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\n";
            let moves = "[set-state]\nevent = \"read_aio\"\n";
            let fails = format!("{error}once = \"on\"\nstate = \"{state}\"\n");
            let moves = format!("{moves}state = \"{state}\"\nnew_state = \"{next}\"\n");
            if state == 1 { moves } else { format!("{fails}{moves}") }
        })
        .collect();
    fs::write(&config, rules).unwrap();
    let config = format!("blob1={}", config.display());
    let manifest = ["--blkdebug", &config, "--", "manifest", "/"];
    let once = ["--guest-option", "source-retry=0"];
    fails(sample.args(&[&once[..], &manifest[..]].concat()), " is blob1)");
    let outcome = passes(sample.args(&manifest));
    assert!(outcome.stdout == sample.manifest(), "{}", outcome.stderr);
}
