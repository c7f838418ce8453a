//! What the tool needs from the machine: found, or installed where it may, or named.
//!
//! Always: only what the task at hand needs is looked for; nothing is installed unannounced, nor
//! with ROOTLET_NO_INSTALL=1; who may not install is given one command to type.

mod packages;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use packages::{Decision, Facts, Manager};
use rootlet_cli::boot::board::Board;
use rootlet_cli::boot::monitor::Monitor;
use rootlet_cli::exit;
use rootlet_cli::programs::{find_in_path, find_virtiofsd};

/// Installing.
#[derive(Args, Clone, Copy, Debug)]
pub struct SetupArgs {
    /// Only say what is there and what is missing
    #[arg(long)]
    pub check: bool,
}

/// Something that a task needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The emulator of a board.
    Qemu(Board),
    /// A virtio-fs daemon.
    Virtiofsd,
    /// The EROFS tools, for those who make images.
    ErofsUtils,
    /// The Rust target of a board.
    Target(Board),
    /// The Rust target of a program for any Linux.
    LinuxTarget,
}

/// The Rust target of a program without libraries, for any Linux.
pub const LINUX_TARGET: &str = "x86_64-unknown-linux-musl";

impl Need {
    /// Returns the name of the need, for a person.
    pub fn name(self) -> String {
        match self {
            Self::Qemu(board) => board.qemu().into(),
            Self::Virtiofsd => "virtiofsd".into(),
            Self::ErofsUtils => "mkfs.erofs".into(),
            Self::Target(board) => format!("the Rust target {}", board.target()),
            Self::LinuxTarget => format!("the Rust target {LINUX_TARGET}"),
        }
    }

    /// Returns whether rustup brings it, and not the system.
    pub fn is_target(self) -> bool {
        matches!(self, Self::Target(_) | Self::LinuxTarget)
    }

    /// Returns where it is, if it is there.
    fn find(self) -> Option<PathBuf> {
        match self {
            Self::Qemu(board) => find_in_path(board.qemu()),
            Self::Virtiofsd => find_virtiofsd().map(|program| program.path),
            Self::ErofsUtils => find_in_path("mkfs.erofs"),
            Self::Target(board) => find_target(board.target()),
            Self::LinuxTarget => find_target(LINUX_TARGET),
        }
    }
}

fn find_target(target: &str) -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .current_dir(workspace())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let sysroot = String::from_utf8(output.stdout).ok()?;
    let place = Path::new(sysroot.trim()).join("lib/rustlib").join(target);
    place.join("lib").is_dir().then_some(place)
}

/// Returns the folder of the workspace.
pub fn workspace() -> PathBuf {
    // Cargo says where the tool lives now; a tool that is started by hand knows where it was made.
    let here = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    here.filter(|dir| dir.ends_with("xtask"))
        .unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into())
        .parent()
        .map_or_else(|| ".".into(), Path::to_path_buf)
}

/// Makes sure of `needs`: installs what is missing, or stops with the command to type.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<Need> = needs.iter().copied().filter(|need| need.find().is_none()).collect();
    if missing.is_empty() {
        // Asking the package manager takes longer than booting.
        return Ok(());
    }
    match packages::decide(&missing, &facts()) {
        Decision::Nothing => Ok(()),
        Decision::Tell(command) => Err(exit::stop(
            exit::SETUP,
            format!("missing: {}. Type this, then try again:\n  {command}", list(&missing)),
        )),
        Decision::Install(commands) => {
            // One at a time: package managers refuse a second one, and tests run side by side.
            let lock = fs::File::open(workspace().join("Cargo.toml")).context("Cargo.toml")?;
            lock.lock().context("Cargo.toml")?;
            if missing.iter().all(|need| need.find().is_some()) {
                return Ok(());
            }
            say(&format!("missing: {}", list(&missing)));
            for command in &commands {
                run(command)?;
            }
            let left: Vec<Need> =
                missing.into_iter().filter(|need| need.find().is_none()).collect();
            if left.is_empty() {
                return Ok(());
            }
            Err(exit::stop(exit::SETUP, format!("still missing after installing: {}", list(&left))))
        }
    }
}

fn list(needs: &[Need]) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in needs.iter().map(|need| need.name()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// Writes a line on standard error, in tests too, where what `eprintln` writes is held back.
fn say(line: &str) {
    // A closed standard error is not a reason to fail.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints `command` and runs it, with its output on standard error: an install may take minutes.
fn run(command: &[String]) -> Result<()> {
    let shown = command.join(" ");
    say(&format!("installing: {shown}"));
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    let error = io::stderr().as_fd().try_clone_to_owned().context("standard error")?;
    let status = Command::new(program)
        .args(args)
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stdout(error)
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if status.success() {
        return Ok(());
    }
    bail!(exit::Stop { status: exit::SETUP, message: format!("`{shown}` failed") })
}

/// Returns what the decision about installing looks at, on this machine.
fn facts() -> Facts {
    let root = rustix::process::geteuid().is_root();
    let manager =
        Manager::ALL.into_iter().find(|manager| find_in_path(manager.program()).is_some());
    Facts {
        root,
        sudo: !root && passes(&["sudo", "-n", "true"]),
        forbidden: env::var_os("ROOTLET_NO_INSTALL").is_some_and(|value| value == "1"),
        manager,
        rustup: find_in_path("rustup").is_some(),
        // Debian 12 and Ubuntu 22.04 ship the daemon with QEMU and know no such package.
        virtiofsd_package: manager != Some(Manager::Apt) || apt_knows("virtiofsd"),
    }
}

fn passes(command: &[&str]) -> bool {
    Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Returns whether apt has a package; before its first update it knows none, so the release
/// decides.
fn apt_knows(package: &str) -> bool {
    let known = |name: &str| {
        let output = Command::new("apt-cache").args(["show", "--no-all-versions", name]).output();
        output.is_ok_and(|output| !output.stdout.is_empty())
    };
    if known("qemu-system-common") {
        return known(package);
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    packages::has_virtiofsd_package(&release)
}

/// Installs all that any task needs, or with `check` says what is missing.
pub fn task(check: bool) -> Result<()> {
    let mut needs: Vec<Need> = Board::ALL.map(Need::Qemu).into();
    needs.extend([Need::Virtiofsd, Need::ErofsUtils, Need::LinuxTarget]);
    needs.extend(Board::ALL.map(Need::Target));
    if !check {
        ensure(&needs)?;
    }
    let mut missing: Vec<Need> = Vec::new();
    let mut named = Vec::new();
    for need in needs {
        // Boards of one architecture need the same.
        if named.contains(&need.name()) {
            continue;
        }
        named.push(need.name());
        match need.find() {
            Some(place) => eprintln!("found    {}: {}", need.name(), place.display()),
            None => {
                eprintln!("MISSING  {}", need.name());
                missing.push(need);
            }
        }
    }
    for monitor in [Monitor::Firecracker, Monitor::CloudHypervisor] {
        match monitor.find(monitor.board()) {
            Ok(place) => eprintln!("found    {}: {}", monitor.name(), place.display()),
            Err(_) => eprintln!("optional {}: not found (docs/monitors.md)", monitor.name()),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let command = packages::one_command(&missing, &facts());
    Err(exit::stop(exit::SETUP, format!("type this, or `cargo run -- setup`:\n  {command}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_the_folder_of_the_library() {
        assert!(workspace().join("xtask/Cargo.toml").is_file());
        assert!(workspace().join("boards").is_dir());
    }
}
