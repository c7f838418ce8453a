//! One example: its build, and a run of its machine until that ends.
//!
//! Always: the machine is gone when the run is; it takes a minute at most.

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a boot may take.
const BOOT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// How a machine ended.
#[derive(Debug)]
pub struct Outcome {
    /// The status that its program chose, or QEMU.
    pub status: Option<i32>,
    /// The output on the machine's console.
    pub console: String,
}

/// Returns the folder of an example.
pub fn folder(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example)
}

/// Builds an example for `target`, and returns the file; `None`, and says so, if the Rust target
/// cannot be had.
pub fn build(example: &str, target: &str, profile: &str, file: &str) -> Option<PathBuf> {
    if !has_target(target) {
        println!("skipped: no Rust target {target}");
        return None;
    }
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--target", target, "--profile", profile])
        .current_dir(folder(example))
        .env("CARGO_TARGET_DIR", &made)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = if profile == "dev" { "debug" } else { profile };
    Some(made.join(target).join(folder).join(file))
}

fn has_target(target: &str) -> bool {
    let ran = |program: &str, words: &[&str]| {
        Command::new(program).args(words).current_dir(folder("..")).output()
    };
    let is_here = || {
        let output = ran("rustc", &["--print", "target-libdir", "--target", target]);
        output
            .is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
    };
    is_here() || ran("rustup", &["target", "add", target]).is_ok() && is_here()
}

/// Returns whether a program is there, and says so if it is not.
pub fn has_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_here = env::split_paths(&path).any(|dir| dir.join(name).is_file());
    if !is_here {
        println!("skipped: no {name}");
    }
    is_here
}

/// Runs a machine in the folder `dir` until it ends.
pub fn run(program: &str, args: &[String], dir: &Path) -> Outcome {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let console = thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let until = Instant::now() + BOOT;
    let mut has_ended = false;
    while !has_ended && Instant::now() < until {
        has_ended = child.try_wait().unwrap().is_some();
        thread::sleep(LOOK);
    }
    if !has_ended {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let console = console.join().unwrap();
    assert!(has_ended, "no end within {BOOT:?}: {console}");
    Outcome { status: status.code(), console }
}

/// Returns the sum that the examples print of a file's bytes: FNV-1a of 32 bits.
pub fn sum(bytes: &[u8]) -> u32 {
    let add = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, add)
}
