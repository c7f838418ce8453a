//! Building a board's image with cargo.
//!
//! Always: the paths come from cargo's own messages, so the target directory may be anywhere; the
//! user's RUSTFLAGS do not displace those of the board.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::dist::strip;
use crate::setup::{self, LINUX_TARGET, Need, workspace};
use rootlet_cli::boot::board::Board;
use rootlet_cli::boot::child::Child;
use rootlet_cli::boot::{Firmware, LogLevel};
use rootlet_cli::say;

/// Puts beside the ELF what is booted of it.
fn strip(mut firmware: Firmware) -> Result<Firmware> {
    let kernel = firmware.elf.with_extension("stripped");
    let wanted = strip::elf(&firmware.bytes)?;
    if std::fs::read(&kernel).ok().as_ref() != Some(&wanted) {
        // Another boot at the same time, in this process or another, sees a whole file.
        let said = || kernel.display().to_string();
        let mut new =
            NamedTempFile::new_in(kernel.parent().unwrap_or(Path::new("."))).with_context(said)?;
        new.write_all(&wanted).with_context(said)?;
        new.persist(&kernel).with_context(said)?;
    }
    firmware.kernel = kernel;
    Ok(firmware)
}

/// Returns cargo in the workspace.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace()).stdin(Stdio::null());
    command
}

/// Shows a moving line on a terminal; nothing elsewhere.
pub fn spinner(message: String) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Builds the image of `board`, with log calls down to `level` in it.
pub fn board(board: Board, level: LogLevel, verbose: bool) -> Result<Firmware> {
    let name = board.package();
    strip(package(name, name, board.target(), "release", Some(level), verbose)?)
}

/// Builds the guest of `board`, or of all boards, and names the files.
pub fn task(board: Option<Board>) -> Result<()> {
    let boards = board.map_or(Board::ALL.to_vec(), |board| vec![board]);
    setup::ensure(&boards.iter().copied().map(Need::Target).collect::<Vec<_>>())?;
    for of in boards {
        say!("{}", self::board(of, LogLevel::Info, false)?.elf.display());
    }
    Ok(())
}

/// Builds the first program of the Linux guest that rootlet is compared with.
pub fn peer(verbose: bool) -> Result<Firmware> {
    package("rootlet-peer", "rootlet-peer", LINUX_TARGET, "release", None, verbose)
}

/// Builds the program `rootlet` for any Linux.
pub fn program(verbose: bool) -> Result<Firmware> {
    package("rootlet-cli", "rootlet", LINUX_TARGET, "program", None, verbose)
}

/// Builds the executable `name` of `package`, with the profile `profile` of Cargo.toml; a guest's
/// with the log calls down to `level`.
fn package(
    package: &str,
    name: &str,
    target: &str,
    profile: &str,
    level: Option<LogLevel>,
    verbose: bool,
) -> Result<Firmware> {
    let mut command = cargo();
    command
        .args(["build", "--profile", profile, "--package", package, "--target", target])
        .args(["--message-format", "json-render-diagnostics"])
        // They would displace the flags of .cargo/config.toml, without which it does not boot.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(level) = level {
        command.env("DEFMT_LOG", level.name());
        if level != LogLevel::Info {
            // In one directory two levels would displace each other, and all be built anew each time.
            let own = target_directory()?.join(format!("log-{}", level.name()));
            command.arg("--target-dir").arg(own);
        }
    }
    let bar = spinner(format!("building {package}"));
    let mut child = Child::spawn(command)?;
    let (stdout, stderr) = (child.pipes().stdout.take(), child.pipes().stderr.take());
    let progress = bar.clone();
    let shown = package.to_string();
    let said = thread::spawn(move || watch(stderr, &progress, &shown, verbose));
    let mut elf = None;
    let lines = stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
    for line in lines.map_while(Result::ok) {
        elf = executable(&line, name).or(elf);
    }
    let status = child.wait_for(Duration::from_secs(60))?;
    bar.finish_and_clear();
    let said = said.join().expect("reading the words of cargo does not panic");
    if !status.is_some_and(|status| status.success()) {
        if !verbose {
            said.iter().for_each(|line| eprintln!("{line}"));
        }
        bail!("building {package} failed");
    }
    Firmware::read(elf.with_context(|| format!("cargo names no executable of {package}"))?)
}

/// Reads the words of cargo to their end, shows which crate it compiles, and returns the words.
fn watch(
    stderr: Option<ChildStderr>,
    progress: &ProgressBar,
    package: &str,
    verbose: bool,
) -> Vec<String> {
    let mut said = Vec::new();
    // Without a terminal one line says that cargo builds, if there is something to compile.
    let mut is_announced = false;
    let lines = stderr.into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
    for line in lines.map_while(Result::ok) {
        if let Some(what) = line.trim_start().strip_prefix("Compiling ") {
            if progress.is_hidden() && !verbose && !is_announced {
                eprintln!("building {package}; the first time takes a minute or two");
                is_announced = true;
            }
            let name = what.split_once(" (").map_or(what, |(name, _)| name);
            progress.set_message(format!("building {name}"));
        }
        if verbose {
            progress.suspend(|| eprintln!("{line}"));
        }
        said.push(line);
    }
    said
}

/// Returns the executable `name` that a message of cargo names.
fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == name;
    message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
}

/// Returns cargo's target directory.
pub fn target_directory() -> Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("cargo metadata is no JSON")?;
    let directory = metadata["target_directory"].as_str();
    directory.map(PathBuf::from).context("cargo metadata names no target directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_executable_of_the_board_is_taken() {
        let artifact = r#"{"reason":"compiler-artifact","target":{"name":"microvm"},"executable":"/t/microvm"}"#;
        assert_eq!(executable(artifact, "microvm"), Some("/t/microvm".into()));
        assert_eq!(executable(artifact, "q35"), None);
        let library =
            r#"{"reason":"compiler-artifact","target":{"name":"microvm"},"executable":null}"#;
        assert_eq!(executable(library, "microvm"), None);
        assert_eq!(executable("Compiling", "microvm"), None);
    }
}
