//! mkfs.erofs, which makes the image of an archive.
//!
//! Always: the options are those of containerd's differ, so the images are, too; one that says less
//! of itself than they need is refused before the first layer. A run that is dropped is ended.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::sum::Digest;
use crate::exit;
use crate::programs::find_in_path;

/// The options with which a program has to be acquainted.
const NEEDED: [&str; 4] = ["--tar", "--aufs", "--sort", "--mkfs-time"];
/// The options of every run.
const OPTIONS: [&str; 8] = [
    "--tar=f",
    "--aufs",
    "--quiet",
    "-Enoinline_data",
    "-b4096",
    // The same layer gives the same image whenever it is made.
    "-T0",
    "--mkfs-time",
    "--sort=none",
];
/// The longest message that is repeated.
const SAID_BYTES_MAX: u64 = 4096;

/// The program.
#[derive(Debug)]
pub struct Mkfs(PathBuf);

impl Mkfs {
    /// Finds the program.
    ///
    /// # Errors
    /// Status 3: there is none, or it is too old.
    pub fn find(named: Option<&Path>) -> Result<Self> {
        let advice = "erofs-utils 1.8.3 or newer has it; --mkfs FILE names it";
        let program = match named {
            Some(file) => file.to_path_buf(),
            None => find_in_path("mkfs.erofs").ok_or_else(|| {
                let why = "missing: mkfs.erofs, which makes the layers, is not in PATH";
                exit::stop(exit::SETUP, format!("{why} ({advice})"))
            })?,
        };
        let output = Command::new(&program).arg("--help").stdin(Stdio::null()).output();
        let output = output.map_err(|error| {
            exit::stop(exit::SETUP, format!("cannot start {}: {error}", program.display()))
        })?;
        let help = [output.stdout, output.stderr].concat();
        let help = String::from_utf8_lossy(&help);
        let lacks = |option: &&&str| !help.contains(**option);
        match NEEDED.iter().find(lacks) {
            None => Ok(Self(program)),
            Some(option) => Err(exit::stop(
                exit::SETUP,
                format!("{} is too old: it has no {option} ({advice})", program.display()),
            )),
        }
    }

    /// Starts a run for the layer with this digest, which writes the image to `out`.
    pub fn start(&self, layer: &Digest, out: &Path) -> Result<Run> {
        let program = self.0.display();
        let uuid = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("erofs:blobs/{layer}").as_bytes());
        let said = tempfile::tempfile().context("a temporary file")?;
        let mut command = Command::new(&self.0);
        command.args(OPTIONS).arg(format!("-U{uuid}")).arg(out).stdin(Stdio::piped());
        command.stdout(said.try_clone()?).stderr(said.try_clone()?);
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let stdin = child.stdin.take();
        Ok(Run { child: Some(child), stdin, said })
    }
}

/// A run of the program, to which an archive is written.
#[derive(Debug)]
pub struct Run {
    child: Option<Child>,
    stdin: Option<ChildStdin>,
    said: File,
}

impl Run {
    /// Ends the program before its time.
    pub fn stop(&mut self) {
        self.stdin = None;
        if let Some(child) = &mut self.child {
            // One that has ended already is fine.
            let _ = child.kill();
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The program has failed; its message is repeated.
    pub fn end(mut self) -> Result<()> {
        self.stdin = None;
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let status = child.wait().context("mkfs.erofs")?;
        if status.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        self.said.rewind()?;
        (&self.said).take(SAID_BYTES_MAX).read_to_end(&mut said)?;
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        bail!("mkfs.erofs: {status}: {}", lines.join("; "))
    }
}

impl Write for Run {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stdin {
            // The end of the program tells why nobody reads on.
            Some(stdin) => match stdin.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.stdin = None;
                    Ok(bytes.len())
                }
                written => written,
            },
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop();
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}
