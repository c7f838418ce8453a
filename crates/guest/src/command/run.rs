//! Running a command over a mounted root.
//!
//! Always: the memory of a command is in its [`Scratch`], made before the first read; nothing but the
//! command's own output goes to `out`. A list continues after an entry that cannot be read: its row
//! is absent, the fault is reported, and the command fails at its end. A fault costs a row if the
//! command reads what is at fault: xattrs are read by `manifest` and `stat`, and their headers by
//! every command that opens a file; `ls` reads neither.

#![expect(
    clippy::result_large_err,
    reason = "an error ends its command, and carries the path because nothing may be allocated"
)]

use super::digests::Digest;
use super::error::{CommandError, ShortPath, at, short};
use super::list::{AtOnce, List, Rows};
use super::print::{AtPath, Escaped, printed};
use super::row::{self, Row, RowFault};
use super::scratch::Scratch;
use super::words::Command;
use crate::stopwatch::Stopwatch;
use core::fmt;
use core::time::Duration;
use embedded_io::Write;
use rootlet::Error;
use rootlet::cache::Cache;
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::{DirEntry, Root};
use rootlet::storage::Storage;
use rootlet_base::num::wide;
use rootlet_base::units::count;
use sha2::{Digest as _, Sha256};

/// A mounted root of a guest: over any storage, with or without a region.
pub type GuestRoot<S> = Root<S, Option<Cache>>;

/// How long a command that reads much lets the region catch up at a time.
const CATCH_UP_TIME: Duration = Duration::from_secs(2);
/// How long a watched command is silent, in nanoseconds.
const WATCH_NS: u64 = 1_000_000_000;
/// How long the reading of a file is silent, in nanoseconds: this long at first, twice as long each
/// time after that.
const SILENT_NS: u64 = 1_000_000_000;
/// How long the reading of a file is silent at most, in nanoseconds.
const SILENT_NS_MAX: u64 = 64_000_000_000;

/// The work that a command has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Regular files that were read to their end.
    pub files: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// A listener to the progress of a command.
struct Watcher<'r> {
    report: &'r mut dyn FnMut(Done),
    since_report: Stopwatch,
}

/// A function that takes a line for the user.
type Notice<'r> = &'r mut dyn FnMut(fmt::Arguments<'_>);

/// A command under way.
pub struct Runner<'r, S, W> {
    pub(super) root: &'r GuestRoot<S>,
    out: W,
    pub(super) scratch: &'r mut Scratch,
    watcher: Option<Watcher<'r>>,
    notice: Option<Notice<'r>>,
    /// The first fault of a row, and the number of further ones.
    absent: Option<(ShortPath, Error, u64)>,
    /// The work done so far.
    pub done: Done,
}

/// Whether a command may continue; the error ends it.
pub type Outcome<W> = Result<(), CommandError<<W as embedded_io::ErrorType>::Error>>;

impl<'r, S: Storage, W: Write> Runner<'r, S, W> {
    /// Returns a runner whose output goes to `out`.
    pub fn new(root: &'r GuestRoot<S>, out: W, scratch: &'r mut Scratch) -> Self {
        let (watcher, notice, absent) = (None, None, None);
        Self { root, out, scratch, watcher, notice, absent, done: Done::default() }
    }

    /// Calls `report` once a second from now on, while the command makes progress.
    #[must_use]
    pub fn watched(mut self, report: &'r mut dyn FnMut(Done)) -> Self {
        self.watcher = Some(Watcher { report, since_report: Stopwatch::start(self.root) });
        self
    }

    /// Calls `notice` with each fault that costs a row, and with the progress of reading a long
    /// file.
    #[must_use]
    pub fn noticed(mut self, notice: Notice<'r>) -> Self {
        self.notice = Some(notice);
        self
    }

    /// Counts `got` bytes of a file, lets the region catch up, and reports.
    pub(super) fn step(&mut self, got: usize) {
        count(&mut self.done.bytes, wide(got));
        catch_up(self.root);
        let Some(Watcher { report, since_report }) = &mut self.watcher else { return };
        if since_report.ns(self.root) >= WATCH_NS {
            *since_report = Stopwatch::start(self.root);
            report(self.done);
        }
    }

    /// Runs any command except `boot`, `bench` and `race`, which need more than a root.
    ///
    /// # Errors
    /// Those of the output at once; those of a read at once if they concern the command's only file,
    /// and at its end if they cost a row.
    pub fn run(&mut self, command: &Command) -> Outcome<W> {
        self.run_by(command, &mut AtOnce)
    }

    /// Runs a command as [`Runner::run`] does; `rows` makes the rows of its list.
    ///
    /// # Errors
    /// Those of [`Runner::run`].
    pub fn run_by(&mut self, command: &Command, rows: &mut impl Rows<'r, S, W>) -> Outcome<W> {
        self.absent = None;
        match command {
            Command::Ls(path) => self.ls(path.as_bytes())?,
            Command::Stat(path) => self.stat(path.as_bytes())?,
            Command::Cat(path) => self.cat(path.as_bytes())?,
            Command::Sum(path) => self.sum(path.as_bytes(), rows)?,
            Command::Manifest(path) => self.manifest(path.as_bytes(), rows)?,
            Command::Cache => self.cache()?,
            Command::Boot(_) | Command::Bench(_) | Command::Race(_) => {}
        }
        self.out.flush().map_err(CommandError::Output)?;
        match self.absent.take() {
            None => Ok(()),
            Some((path, error, more)) => Err(CommandError::Rows(path, error, more)),
        }
    }

    /// Prints bytes of a row that another runner has made.
    ///
    /// # Errors
    /// Those of the output.
    pub fn print(&mut self, bytes: &[u8]) -> Outcome<W> {
        self.out.write_all(bytes).map_err(CommandError::Output)
    }

    /// Ends a row of a list: if the row is absent, reports why, and lets the list continue.
    ///
    /// # Errors
    /// Those of the output.
    pub fn settle(&mut self, path: &[u8], row: Row<W>) -> Outcome<W> {
        match row {
            Ok(()) => Ok(()),
            Err(RowFault::Absent(error)) => {
                self.fault(path, error);
                Ok(())
            }
            Err(RowFault::Output(error)) => Err(CommandError::Output(error)),
        }
    }

    /// Reports a fault that costs the row of `path`.
    fn fault(&mut self, path: &[u8], error: Error) {
        if let Some(notice) = &mut self.notice {
            notice(format_args!("{}", AtPath(path, &error)));
        }
        match &mut self.absent {
            Some((_, _, more)) => count(more, 1),
            none => *none = Some((short(path), error, 0)),
        }
    }

    fn ls(&mut self, path: &[u8]) -> Outcome<W> {
        let inode = self.root.metadata(path).map_err(|error| at(path, error))?;
        if inode.kind() != FileKind::Directory {
            let row = row::list(self.root, &mut self.scratch.row, &mut self.out, &inode, path);
            return only(path, row);
        }
        let mut cursor = self.root.read_dir_inode(inode).map_err(|error| at(path, error))?;
        let mut entry = DirEntry::default();
        let mut whole = core::mem::take(&mut self.scratch.path);
        loop {
            let found = cursor.next_inode(self.root, &mut entry);
            whole.clear();
            whole.extend_from_slice(path);
            if !entry.name.is_empty() {
                whole.extend_from_slice(if path.ends_with(b"/") { b"" } else { b"/" });
                whole.extend_from_slice(&entry.name);
            }
            match found {
                Ok(None) => break,
                Ok(Some(inode)) => {
                    let (memory, out) = (&mut self.scratch.row, &mut self.out);
                    let row = row::list(self.root, memory, out, &inode, &entry.name);
                    self.settle(&whole, row)?;
                }
                Err(error) => {
                    self.fault(&whole, error);
                    // The directory itself is at fault: its other entries are unknown.
                    if entry.name.is_empty() {
                        break;
                    }
                }
            }
        }
        self.scratch.path = whole;
        Ok(())
    }

    fn stat(&mut self, path: &[u8]) -> Outcome<W> {
        let inode = self.root.symlink_metadata(path).map_err(|error| at(path, error))?;
        let (out, memory) = (&mut self.out, &mut self.scratch.row);
        let target = match inode.kind() {
            FileKind::Symlink => Some(memory.target_of(self.root, &inode)),
            _ => None,
        };
        let target = target.transpose().map_err(|error| at(path, error))?;
        printed(row::print_stat(out, &inode, path, target)).map_err(CommandError::Output)?;
        let mut failed = None;
        let listed = self.root.xattrs(&inode, &mut memory.xattrs, |name, value| {
            let [prefix, infix, rest] = name.parts().map(Escaped);
            if failed.is_none() {
                let bytes = value.len();
                let line = writeln!(out, "xattr  {prefix}{infix}{rest} ({bytes} bytes)");
                failed = printed(line).err();
            }
            Ok(())
        });
        listed.map_err(|error| at(path, error))?;
        failed.map_or(Ok(()), |error| Err(CommandError::Output(error)))
    }

    fn cat(&mut self, path: &[u8]) -> Outcome<W> {
        let mut file = self.root.stream(path).map_err(|error| at(path, error))?;
        self.scratch.names.note(file.inode().nid(), path);
        loop {
            let bytes = file.lend().map_err(|error| at(path, error))?;
            if bytes.is_empty() {
                count(&mut self.done.files, 1);
                return Ok(());
            }
            let len = bytes.len();
            self.out.write_all(bytes).map_err(CommandError::Output)?;
            file.advance(len);
            self.step(len);
        }
    }

    fn sum(&mut self, path: &[u8], rows: &mut impl Rows<'r, S, W>) -> Outcome<W> {
        let whole = self.root.metadata(path).map_err(|error| at(path, error))?;
        if whole.kind() != FileKind::Directory {
            return only(path, self.sum_row(&whole, path));
        }
        self.list(List::Sum, whole, path, rows)
    }

    fn manifest(&mut self, path: &[u8], rows: &mut impl Rows<'r, S, W>) -> Outcome<W> {
        let first = self.root.symlink_metadata(path).map_err(|error| at(path, error))?;
        self.list(List::Manifest, first, path, rows)
    }

    /// Prints the row of an entry of a list: all of it, or nothing.
    ///
    /// # Errors
    /// [`RowFault`].
    pub fn row(&mut self, list: List, inode: &Inode, path: &[u8]) -> Row<W> {
        match list {
            List::Sum => self.sum_row(inode, path),
            List::Manifest => self.manifest_row(inode, path),
        }
    }

    fn sum_row(&mut self, inode: &Inode, path: &[u8]) -> Row<W> {
        let digest = self.digest(inode, path)?;
        self.print_row(List::Sum, inode, path, Some(digest))
    }

    /// Prints the row of an entry whose digest is known, if the list has one of it.
    pub(super) fn print_row(
        &mut self,
        list: List,
        inode: &Inode,
        path: &[u8],
        digest: Option<Digest>,
    ) -> Row<W> {
        let (memory, out) = (&mut self.scratch.row, &mut self.out);
        match (list, digest) {
            (List::Sum, Some(digest)) => row::sum(out, &digest, path),
            (List::Sum, None) => Ok(()),
            (List::Manifest, digest) => {
                row::manifest(self.root, memory, out, (inode, path), digest)
            }
        }
    }

    /// Counts a regular file that another processor has read.
    pub(super) fn count_read(&mut self, inode: &Inode, path: &[u8]) {
        self.scratch.names.note(inode.nid(), path);
        count(&mut self.done.files, 1);
        count(&mut self.done.bytes, inode.size());
    }

    fn digest(&mut self, inode: &Inode, path: &[u8]) -> Result<Digest, Error> {
        self.scratch.names.note(inode.nid(), path);
        let mut file = self.root.stream_inode(*inode)?;
        let (mut hash, mut silent_ns) = (Sha256::new(), SILENT_NS);
        let mut since_notice = Stopwatch::start(self.root);
        loop {
            let bytes = file.lend()?;
            if bytes.is_empty() {
                break;
            }
            let len = bytes.len();
            hash.update(bytes);
            file.advance(len);
            self.step(len);
            if since_notice.ns(self.root) >= silent_ns {
                since_notice = Stopwatch::start(self.root);
                silent_ns = (silent_ns << 1).min(SILENT_NS_MAX);
                if let Some(notice) = &mut self.notice {
                    let (at, of, unit) = how_far(file.position(), inode.size());
                    notice(format_args!("reading {}: {at} of {of} {unit}", Escaped(path)));
                }
            }
        }
        count(&mut self.done.files, 1);
        Ok(hash.finalize().into())
    }

    fn manifest_row(&mut self, inode: &Inode, path: &[u8]) -> Row<W> {
        let digest = match inode.kind() {
            FileKind::Regular => Some(self.digest(inode, path)?),
            _ => None,
        };
        self.print_row(List::Manifest, inode, path, digest)
    }

    fn cache(&mut self) -> Outcome<W> {
        let out = &mut self.out;
        let shown = self.root.with_layer(|layer, storage| match layer {
            Some(cache) => super::region::show(cache, storage, out),
            None => out.write_all(b"no region\n"),
        });
        shown.map_err(CommandError::Output)
    }
}

/// Ends the only row of a command: if the row is absent, the command fails.
fn only<E>(path: &[u8], row: Result<(), RowFault<E>>) -> Result<(), CommandError<E>> {
    row.map_err(|fault| match fault {
        RowFault::Absent(error) => at(path, error),
        RowFault::Output(error) => CommandError::Output(error),
    })
}

/// Returns how far a file is read, how long it is, and the unit of both.
fn how_far(at: u64, of: u64) -> (u64, u64, &'static str) {
    match of >> 20 {
        0 => (at >> 10, of >> 10, "KiB"),
        mib => (at >> 20, mib, "MiB"),
    }
}

/// Gives the region 2 s to write, if more than half of its buffers are full. A command that reads
/// much has that time; no read ever waits for the region.
pub fn catch_up<S: Storage>(root: &GuestRoot<S>) {
    root.catch_up(CATCH_UP_TIME);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_of_a_file_below_a_mib_is_in_kib() {
        assert_eq!(how_far(65_536, 70_000), (64, 68, "KiB"));
        assert_eq!(how_far(65_536, (1 << 20) - 1), (64, 1023, "KiB"));
        assert_eq!(how_far(65_536, 1 << 20), (0, 1, "MiB"));
    }
}
