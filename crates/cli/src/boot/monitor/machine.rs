//! A machine to start with any monitor, and the launch that a monitor makes of the machine.
//!
//! Always: a launch is complete: its file, written where it is named, and its command, typed by
//! hand, start the same machine.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Monitor;
use crate::boot::accel::Accel;
use crate::boot::board::{Board, Bus};
use crate::size::Size;
use crate::source::Source;

/// A virtio-blk disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What the guest knows it by; virtio-blk carries 20 bytes of it.
    pub serial: String,
    /// Where its bytes are; the path of a file is absolute.
    pub source: Source,
    /// Whether the guest may only read.
    pub read_only: bool,
    /// A configuration of blkdebug between the disk and its file.
    pub blkdebug: Option<PathBuf>,
    /// More options of -drive.
    pub options: Option<String>,
}

/// A virtio-fs share whose daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareDevice {
    /// The mount tag.
    pub tag: String,
    /// The daemon's socket.
    pub socket: PathBuf,
}

/// A machine to start.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Which one.
    pub board: Board,
    /// What its devices are on; `None` for the usual bus.
    pub bus: Option<Bus>,
    /// How the processor is run.
    pub accel: Accel,
    /// Memory of the guest.
    pub mem: Size,
    /// Processors.
    pub cpus: u8,
    /// The image to boot: an ELF, or a flat Linux image.
    pub kernel: PathBuf,
    /// The guest's command line.
    pub append: String,
    /// Disks, in the order of their slots.
    pub disks: Vec<Disk>,
    /// Shares, after the disks.
    pub shares: Vec<ShareDevice>,
    /// The socket on which the tool takes the log; `None` for a guest without one.
    pub log_socket: Option<PathBuf>,
    /// Arguments of the monitor as they are.
    pub extra: Vec<String>,
}

/// What starts a machine.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Who runs it.
    pub monitor: Monitor,
    /// The monitor's arguments.
    pub arguments: Vec<OsString>,
    /// A file that the arguments name and that has to be there first, with its text.
    pub config: Option<(PathBuf, String)>,
    /// The socket on which the tool takes the log.
    pub log_socket: Option<PathBuf>,
}

impl Launch {
    /// Writes the file that has to be there first.
    pub fn prepare(&self) -> Result<()> {
        let Some((file, text)) = &self.config else { return Ok(()) };
        fs::write(file, text).with_context(|| file.display().to_string())
    }

    /// Returns the lines that do by hand what the tool does, for a shell. Variables in the file's
    /// text are the shell's if it `expands` them.
    pub fn script(&self, program: &Path, expands: bool) -> String {
        let command = pasteable(program, &self.arguments);
        match &self.config {
            None => command,
            Some((file, text)) => {
                let file = pasteable(file, &[]);
                let end = if expands { "END" } else { "'END'" };
                format!("cat > {file} <<{end}\n{}\nEND\n{command}", text.trim_end())
            }
        }
    }
}

/// A command that a person can paste into a shell.
pub fn pasteable(program: &Path, args: &[OsString]) -> String {
    let mut line = String::new();
    for word in std::iter::once(program.as_os_str()).chain(args.iter().map(OsString::as_os_str)) {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@+".contains(c);
        if !line.is_empty() {
            line.push(' ');
        }
        if !word.is_empty() && word.chars().all(plain) {
            line.push_str(&word);
        } else {
            line.push_str(&format!("'{}'", word.replace('\'', r"'\''")));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_command_quotes_what_a_shell_would_split() {
        let args = ["-append".into(), "a 'b'".into(), "".into()];
        assert_eq!(pasteable(Path::new("q"), &args), r"q -append 'a '\''b'\''' ''");
    }

    #[test]
    fn a_script_writes_the_file_before_the_command_that_reads_it() {
        let launch = Launch {
            monitor: Monitor::Firecracker,
            arguments: vec!["--config-file".into(), "a b.json".into()],
            config: Some(("a b.json".into(), "{\n}\n".into())),
            log_socket: None,
        };
        assert_eq!(
            launch.script(Path::new("fc"), false),
            "cat > 'a b.json' <<'END'\n{\n}\nEND\nfc --config-file 'a b.json'"
        );
    }
}
