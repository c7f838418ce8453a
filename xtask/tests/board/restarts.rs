//! A virtio-fs daemon that is killed under a guest and started again.
//!
//! Always: of the monitors here only Cloud Hypervisor connects the new daemon, so that it is the one
//! which is run; where it or KVM is missing the test says so. What is printed in the meantime is
//! compared as a whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rootlet_sim::image::{Content, Tree};
use rustix::process::{Pid, Signal, kill_process};

use crate::boot::{Boot, Outcome};
use crate::matrix::show;
use crate::monitors::MONITORS;
use crate::sample::Sample;

const DAEMON: &str = "virtiofsd";
/// How long a boot may take where KVM stands on no hardware and others work beside it.
const SECONDS: u64 = 240;
const ANEW: &str = "share share: its daemon was started anew";

/// A daemon that the test has started.
struct Again(Child);

impl Again {
    /// Kills the boot's daemon, and starts the same one on the same socket once `meanwhile` is done.
    fn after(boot: &Boot, meanwhile: impl FnOnce()) -> Self {
        let daemons = boot.children(DAEMON);
        let [id] = daemons[..] else { panic!("daemons: {daemons:?}") };
        let program = fs::read_link(format!("/proc/{id}/exe")).unwrap();
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap();
        let words: Vec<&str> =
            str::from_utf8(&words).unwrap().trim_end_matches('\0').split('\0').skip(1).collect();
        boot.kill(DAEMON);
        // It locks its socket until it is gone.
        let until = Instant::now() + Duration::from_secs(10);
        while !boot.children(DAEMON).is_empty() {
            assert!(Instant::now() < until, "the daemon does not go");
            thread::sleep(Duration::from_millis(1));
        }
        meanwhile();
        let socket = words.iter().find_map(|word| {
            let path = word.trim_start_matches("--socket-path=");
            path.ends_with(".sock").then(|| PathBuf::from(path))
        });
        fs::remove_file(socket.unwrap()).unwrap();
        Self(Command::new(program).args(words).spawn().unwrap())
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns many small files, whose rows are more than fits between guest and test.
fn sample() -> Sample {
    let mut tree = Tree::new();
    for number in 0..900 {
        tree.file(format!("/{number}"), Content::seeded(number, 100));
    }
    Sample::from_tree(tree, 9)
}

/// Lists the sample over a share of Cloud Hypervisor, whose daemon is started again after the
/// first of them.
fn restarted(sample: &Sample, meanwhile: impl FnOnce()) -> Outcome {
    let share = sample.dir().display().to_string();
    let image = sample.path("image").display().to_string();
    let words = ["--monitor", MONITORS[1].name, "--accel", "kvm!", "--share", &share];
    let words = words.into_iter().chain(["--blob", "1=share:blob1", "--blob", "2=share:blob2"]);
    let words = words.chain(["--image", &image, "--", "manifest", "/"]);
    let mut boot = Boot::start_within(SECONDS, words);
    let first = boot.first_byte();
    let daemon = Again::after(&boot, meanwhile);
    let mut outcome = boot.end();
    outcome.stdout.insert(0, first);
    drop(daemon);
    outcome
}

fn is_skipped() -> bool {
    let why = MONITORS[1].present().err();
    if let Some(why) = &why {
        show(&format!("skipped: Cloud Hypervisor: {why}\n"));
    }
    why.is_some()
}

#[test]
fn share_whose_daemon_is_started_again_is_connected_anew() {
    if is_skipped() {
        return;
    }
    let sample = sample();
    let rows = sample.manifest();
    for away in [Duration::ZERO, Duration::from_secs(3)] {
        let outcome = restarted(&sample, || thread::sleep(away));
        assert_eq!(outcome.status, Some(0), "{away:?}: {}", outcome.stderr);
        assert!(outcome.stdout == rows, "{away:?}: {}", outcome.stderr);
        assert_eq!(outcome.stderr.matches(ANEW).count(), 1, "{away:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("no answer for"), "{away:?}: {}", outcome.stderr);
    }
}

#[test]
fn blob_that_changed_while_its_daemon_was_away_is_refused() {
    if is_skipped() {
        return;
    }
    let sample = sample();
    let (blob, all) = (sample.path("blob1"), sample.manifest());
    let outcome = restarted(&sample, || {
        let flipped: Vec<u8> = fs::read(&blob).unwrap().iter().map(|byte| !byte).collect();
        fs::write(&blob, flipped).unwrap();
    });
    assert_eq!(outcome.status, Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the file changed under the mount"), "{}", outcome.stderr);
    let rows = |bytes: &[u8]| -> BTreeSet<Vec<u8>> {
        bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    assert!(rows(&outcome.stdout).is_subset(&rows(&all)), "what was printed is right");
}

/// A daemon that is slow knows its files: it is asked, and nothing comes of it.
#[test]
fn daemon_that_is_stopped_for_some_seconds_keeps_its_session() {
    for board in ["microvm", "q35"] {
        let mut tree = Tree::new();
        // More than fits between guest and test, so that it cannot end before it is let.
        tree.file("/large", Content::seeded(1, 6 << 20));
        let sample = Sample::from_tree(tree, 1);
        let share = sample.dir().display().to_string();
        let image = sample.path("image").display().to_string();
        let words = ["--board", board, "--share", &share, "--blob", "1=share:blob1"];
        let words = words.into_iter().chain(["--blob", "2=share:blob2"]);
        let words = words.chain(["--image", &image, "--", "cat", "/large"]);
        let mut boot = Boot::start(words);
        let mut bytes = vec![boot.first_byte()];
        let daemons = boot.children(DAEMON);
        assert!(boot.signal(DAEMON, Signal::STOP), "the tool runs no daemon");
        let continued = thread::spawn(move || {
            thread::sleep(Duration::from_secs(3));
            for id in daemons {
                let id = i32::try_from(id).ok().and_then(Pid::from_raw);
                kill_process(id.unwrap(), Signal::CONT).unwrap();
            }
        });
        let outcome = boot.end();
        continued.join().unwrap();
        assert_eq!(outcome.status, Some(0), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains(ANEW), "{}", outcome.stderr);
        bytes.extend(outcome.stdout);
        assert!(bytes == sample.tree.content("/large").unwrap().to_vec());
    }
}
