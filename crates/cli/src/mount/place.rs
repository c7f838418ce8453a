//! The directory that an image is mounted on, and the mount itself.
//!
//! Always: what is unmounted is our mount, and no other that came to the same directory.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::exit::{SETUP, stop, usage};
use crate::programs::find_in_path;

const DEVICE: &str = "/dev/fuse";
const TABLE: &str = "/proc/self/mountinfo";
/// How long users of the mount may take to leave, and the pause between two tries to unmount.
const LEAVING_MAX: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// A directory that can be mounted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(PathBuf);

/// A mount that is there.
#[derive(Debug)]
pub struct Mounted {
    place: Place,
    /// Its number in the table of mounts, where there is a table.
    id: Option<u64>,
}

/// How a mount ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// Nobody had a file of it open.
    Free,
    /// Somebody had: the directory is free, and the readers get errors.
    Busy,
}

impl Place {
    /// Finds the directory, and checks that this machine has FUSE.
    ///
    /// # Errors
    /// The path is not a directory (status 2), or FUSE cannot be used (status 3).
    pub fn find(dir: &Path) -> Result<Self> {
        let refuse = |error: io::Error| match Errno::from_io_error(&error) {
            Some(Errno::NOTCONN | Errno::CONNABORTED) => anyhow!(
                "{}: what is mounted there has died; `umount {0}` removes it",
                dir.display()
            ),
            _ => usage(format!("{}: {error}", dir.display())),
        };
        if !fs::metadata(dir).map_err(refuse)?.is_dir() {
            return Err(usage(format!("{}: not a directory", dir.display())));
        }
        // Of a mount whose program has died the kernel may still know what `stat` says.
        rustix::fs::statvfs(dir).map_err(|errno| refuse(errno.into()))?;
        let device = fs::OpenOptions::new().read(true).write(true).open(DEVICE);
        device.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                stop(SETUP, format!("there is no {DEVICE}: `modprobe fuse`, as root, makes it"))
            }
            _ => stop(SETUP, format!("{DEVICE}: {error}")),
        })?;
        Ok(Self(fs::canonicalize(dir).map_err(refuse)?))
    }

    /// Returns the directory, without symlinks.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Returns the mount that was just made here: the topmost.
    pub fn mounted(&self) -> Mounted {
        let rows = rows().ok();
        let ours = rows.iter().flatten().rfind(|row| row.dir == self.0);
        Mounted { place: self.clone(), id: ours.map(|row| row.id) }
    }
}

impl Mounted {
    /// Returns whether another mount lies over this one, in the same directory, as far as the table
    /// of mounts says.
    pub fn is_covered(&self) -> bool {
        let (Some(id), Ok(rows)) = (self.id, rows()) else { return false };
        rows.iter().any(|row| row.parent == id && row.dir == self.place.0)
    }

    /// Returns whether the mount is still in its directory, as far as the table of mounts says. The
    /// kernel gives the number of a mount that has gone to the next one, wherever that is.
    fn is_there(&self) -> bool {
        match (self.id, rows()) {
            (Some(id), Ok(rows)) => rows.iter().any(|row| row.id == id && row.dir == self.place.0),
            _ => true,
        }
    }

    /// Unmounts. Where somebody is inside, the mount goes from the directory all the same, and ends.
    pub fn unmount(&self) -> Result<Unmounted> {
        let dir = self.place.dir();
        let failed = |errno: Errno| anyhow!("{}: cannot be unmounted: {errno}", dir.display());
        // A program that got the same Ctrl-C may be about to leave.
        let end = Instant::now() + LEAVING_MAX;
        // Somebody may be faster, and mount something else here.
        while self.is_there() {
            match rustix::mount::unmount(dir, UnmountFlags::empty()) {
                Err(Errno::BUSY) if Instant::now() < end => thread::sleep(PAUSE),
                Err(Errno::BUSY) => {
                    // FORCE ends what is waited for, DETACH frees the directory.
                    let flags = UnmountFlags::FORCE | UnmountFlags::DETACH;
                    rustix::mount::unmount(dir, flags).map_err(failed)?;
                    return Ok(Unmounted::Busy);
                }
                Err(Errno::PERM) => return helper(dir),
                Ok(()) | Err(Errno::INVAL) => return Ok(Unmounted::Free),
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(Unmounted::Free)
    }
}

/// Returns the program that mounts and unmounts for users who may not.
pub fn helper_program() -> Option<PathBuf> {
    ["fusermount3", "fusermount"].iter().find_map(|name| find_in_path(name))
}

/// Unmounts by the program that may do so for its user.
fn helper(dir: &Path) -> Result<Unmounted> {
    let program = helper_program();
    let program = program.ok_or_else(|| anyhow!("{}: only root may unmount", dir.display()))?;
    for (options, unmounted) in [("-u", Unmounted::Free), ("-uz", Unmounted::Busy)] {
        let ran = Command::new(&program).args([options, "--"]).arg(dir).output();
        let ran = ran.with_context(|| program.display().to_string())?;
        if ran.status.success() {
            return Ok(unmounted);
        }
        if unmounted == Unmounted::Busy {
            let why = String::from_utf8_lossy(&ran.stderr);
            bail!("{}: cannot be unmounted: {}", dir.display(), why.trim());
        }
    }
    unreachable!("the second try returns")
}

/// A row of the table of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    id: u64,
    /// The mount that it lies on.
    parent: u64,
    dir: PathBuf,
}

fn rows() -> io::Result<Vec<Row>> {
    Ok(fs::read(TABLE)?.split(|byte| *byte == b'\n').filter_map(row).collect())
}

/// Reads a row, as proc_pid_mountinfo(5) has it.
fn row(line: &[u8]) -> Option<Row> {
    let mut words = line.split(|byte| *byte == b' ');
    let mut number = || str::from_utf8(words.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    Some(Row { id, parent, dir: unescaped(words.nth(2)?).into() })
}

/// Returns a path whose blanks, backslashes and line ends are written in three octal digits.
fn unescaped(mut word: &[u8]) -> OsString {
    let mut path = Vec::new();
    while let Some((&first, rest)) = word.split_first() {
        let code = (first == b'\\').then(|| rest.get(..3)).flatten();
        let code = code.and_then(|digits| str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                word = &rest[3..];
            }
            None => {
                path.push(first);
                word = rest;
            }
        }
    }
    OsString::from_vec(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_table_of_mounts_are_read() {
        let line = b"36 35 98:0 /mnt1 /a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw";
        let want = Row { id: 36, parent: 35, dir: "/a b\\c".into() };
        assert_eq!(row(line), Some(want));
        assert_eq!(row(b""), None);
        assert!(rows().unwrap().iter().any(|row| row.dir == Path::new("/")));
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path(), Path::new("/no/such/dir")] {
            let error = Place::find(path).unwrap_err();
            assert_eq!(crate::exit::status_of(&error), crate::exit::USAGE, "{error}");
        }
    }
}
