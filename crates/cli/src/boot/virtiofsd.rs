//! virtio-fs daemons: one for each share and boot.
//!
//! Always: a daemon and its socket are gone when its [`Daemon`] is. It ends by itself when the
//! machine disconnects, so it cannot serve a second boot.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::boot::child::bound_command;
use crate::boot::daemon;
use crate::boot::monitor::pasteable;

/// Which of the two daemons a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// The one in C that came with QEMU up to 7.2.
    C,
    /// The one in Rust.
    Rust,
}

/// A daemon that can be started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Which one it is.
    pub flavour: Flavour,
}

/// Tells the flavour from the output of `--help`.
fn flavour(help: &str) -> Option<Flavour> {
    if help.contains("--shared-dir") {
        Some(Flavour::Rust)
    } else if help.contains("-o source=") {
        Some(Flavour::C)
    } else {
        None
    }
}

impl Program {
    /// Returns the daemon at `path` with its flavour; `None` if the executable does not start
    /// or has neither flavour.
    pub fn probe(path: &Path) -> Option<Self> {
        let output = Command::new(path).arg("--help").stdin(Stdio::null()).output().ok()?;
        let help = [output.stdout, output.stderr].concat();
        let flavour = flavour(&String::from_utf8_lossy(&help))?;
        Some(Self { path: path.into(), flavour })
    }

    /// Returns the command that shares `dir` on `socket`, for a shell.
    pub fn command(&self, dir: &Path, socket: &Path) -> Result<String> {
        let (dir, root) = (canonical(dir)?, rustix::process::geteuid().is_root());
        Ok(pasteable(&self.path, &self.arguments(&dir, socket, root)))
    }

    /// The arguments that share `dir` (absolute) on `socket`.
    fn arguments(&self, dir: &Path, socket: &Path, root: bool) -> Vec<OsString> {
        match self.flavour {
            Flavour::C => {
                let socket = [OsStr::new("--socket-path="), socket.as_os_str()];
                // libfuse splits -o at commas, and takes a backslash before one.
                let mut source = b"source=".to_vec();
                for &byte in dir.as_os_str().as_bytes() {
                    if byte == b',' || byte == b'\\' {
                        source.push(b'\\');
                    }
                    source.push(byte);
                }
                let mut args = vec![socket.into_iter().collect(), "-o".into()];
                args.push(OsString::from_vec(source));
                args.extend(["-o", "sandbox=chroot", "-o", "log_level=warn"].map(OsString::from));
                args
            }
            Flavour::Rust => vec![
                "--socket-path".into(),
                socket.into(),
                "--shared-dir".into(),
                dir.into(),
                "--sandbox".into(),
                // A chroot needs its capability; without one the daemon has only our rights.
                if root { "chroot" } else { "none" }.into(),
                "--log-level".into(),
                "warn".into(),
            ],
        }
    }
}

/// The directory as daemons want it.
fn canonical(dir: &Path) -> Result<PathBuf> {
    fs::canonicalize(dir).with_context(|| format!("share {}", dir.display()))
}

/// A daemon that listens.
#[derive(Debug)]
pub struct Daemon {
    inner: daemon::Daemon,
}

impl Daemon {
    /// Shares `dir` on `socket`, and returns when the daemon listens. The daemon's output goes to
    /// the file `says`.
    pub fn start(program: &Program, dir: &Path, socket: &Path, says: &Path) -> Result<Self> {
        let dir = canonical(dir)?;
        let root = rustix::process::geteuid().is_root();
        let mut command = bound_command(program.path.as_os_str());
        command.args(program.arguments(&dir, socket, root));
        let hint = match program.flavour {
            Flavour::C if !root => {
                " (this daemon runs as root only; the one in Rust runs as anybody)"
            }
            _ => "",
        };
        let name = program.path.display().to_string();
        Ok(Self { inner: daemon::Daemon::start(command, &name, socket, says, hint)? })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }
}

/// Where the daemon in C keeps a lock file for `socket`, which it never removes
/// (`vu_socket_lock` in QEMU's tools/virtiofsd/fuse_virtio.c).
pub fn lock_file(socket: &Path) -> PathBuf {
    let name = socket.as_os_str().as_bytes().iter();
    let mut name: Vec<u8> = name.map(|&byte| if byte == b'/' { b'.' } else { byte }).collect();
    name.extend_from_slice(b".pid");
    Path::new("/run/virtiofsd").join(OsString::from_vec(name))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error reaches nobody here; the daemon may have removed the file itself.
        let _ = fs::remove_file(lock_file(self.inner.socket()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours_are_told_apart_by_their_help() {
        let c = "usage: virtiofsd [options]\n    -o source=PATH   shared directory tree\n";
        let rust = "Usage: virtiofsd [OPTIONS]\n      --shared-dir <SHARED_DIR>\n";
        assert_eq!(flavour(c), Some(Flavour::C));
        assert_eq!(flavour(rust), Some(Flavour::Rust));
        assert_eq!(flavour("virtiofsd: not found"), None);
    }

    #[test]
    fn arguments_suit_the_flavour_and_the_user() {
        let words = |flavour, root| -> Vec<String> {
            let program = Program { path: "/v".into(), flavour };
            let args = program.arguments(Path::new("/a,b"), Path::new("/s"), root);
            args.into_iter().map(|word| word.into_string().unwrap()).collect()
        };
        assert_eq!(words(Flavour::C, true)[..4], ["--socket-path=/s", "-o", "source=/a\\,b", "-o"]);
        assert_eq!(
            words(Flavour::Rust, false)[2..6],
            ["--shared-dir", "/a,b", "--sandbox", "none"]
        );
        assert_eq!(words(Flavour::Rust, true)[5], "chroot");
    }
}
