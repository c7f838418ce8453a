//! QEMU without the tool: machines as other monitors make them.
//!
//! Always: the emulator's process is gone when a run is; a machine that does not end is ended, and
//! said to have had no status.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::boot::guest;

/// How long a machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a machine ended.
#[derive(Debug)]
pub struct Ended {
    /// The emulator's status; `None` if it had to be killed.
    pub status: Option<i32>,
    /// What came over the serial line.
    pub console: String,
    /// The emulator's own words.
    pub said: String,
}

impl Ended {
    /// Returns the lines of the console that are verdicts.
    pub fn verdicts(&self) -> Vec<&str> {
        let is_verdict = |line: &&str| line.starts_with("PASS") || line.starts_with("FAIL");
        self.console.lines().filter(is_verdict).collect()
    }

    /// Asserts that the only verdict has these words in it.
    #[track_caller]
    pub fn assert_verdict(&self, words: &str) {
        let verdicts = self.verdicts();
        assert!(verdicts.len() == 1 && verdicts[0].contains(words), "{words}: {self:?}");
    }
}

/// Returns QEMU's name for the processor of a board.
pub fn program(board: &str) -> &'static str {
    match board {
        "virt-aarch64" => "qemu-system-aarch64",
        "virt-riscv64" => "qemu-system-riscv64",
        _ => "qemu-system-x86_64",
    }
}

/// Words of QEMU that give a disk with a serial, on `device`.
pub fn disk(device: &str, serial: &str, file: &Path) -> [String; 4] {
    let drive = format!("if=none,id={serial},file={},format=raw,readonly=on", file.display());
    ["-drive".into(), drive, "-device".into(), format!("{device},drive={serial},serial={serial}")]
}

/// Runs a board's image on a machine with nothing but a serial line and `devices`.
pub fn run<I: IntoIterator<Item = impl Into<OsString>>>(
    board: &str,
    devices: I,
    append: impl AsRef<OsStr>,
) -> Ended {
    run_for(board, devices, append, PATIENCE)
}

/// Does what [`run`] does, for at most so long.
pub fn run_for<I: IntoIterator<Item = impl Into<OsString>>>(
    board: &str,
    devices: I,
    append: impl AsRef<OsStr>,
    patience: Duration,
) -> Ended {
    let mut command = command(board, devices, guest(board));
    run_command(command.arg("-append").arg(append), patience)
}

/// Returns QEMU's command for a machine with nothing but a serial line and `devices`.
pub fn command<I: IntoIterator<Item = impl Into<OsString>>>(
    board: &str,
    devices: I,
    kernel: &Path,
) -> Command {
    let mut command = Command::new(program(board));
    command.args(["-nodefaults", "-display", "none", "-serial", "stdio"]);
    command.args(devices.into_iter().map(Into::into)).arg("-kernel").arg(kernel);
    command
}

/// Runs any command in the same way.
pub fn run_command(command: &mut Command, patience: Duration) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| fs::File::create(dir.path().join(name)).unwrap();
    command.stdin(Stdio::null()).stdout(file("console")).stderr(file("said"));
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |name: &str| {
        let bytes = fs::read(dir.path().join(name)).unwrap();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    };
    Ended { status, console: text("console"), said: text("said") }
}
