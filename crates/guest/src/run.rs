//! Running a command over a mounted root.
//!
//! Always: the memory of a command is in its [`Scratch`], made before the first read; what goes
//! to `out` is the command's own output and nothing else. A list goes on after an entry that
//! cannot be read: its row is absent, its fault is told to whoever listens, and the command fails
//! at its end. A fault is one of the row if the command reads what is at fault: xattrs are read by
//! `manifest` and `stat`, and their headers by whatever opens a file; `ls` reads neither.

#![expect(
    clippy::result_large_err,
    reason = "an error ends its command, and carries the path because nothing may be allocated"
)]

use crate::mount::Memory;
use crate::parse::Command;
use crate::print::{AtPath, Escaped, Mode, Shape, printed};
use crate::row::{self, Row, RowFault, RowMemory};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use embedded_io::Write;
use rootlet::Error;
use rootlet::cache::Cache;
use rootlet::erofs::{FileKind, Inode};
use rootlet_base::num::OrBug;
use rootlet::read::{DirEntry, NAME_BYTES_MAX, PATH_BYTES_MAX, Root, Tree};
use rootlet::storage::Storage;
use sha2::{Digest, Sha256};

/// What a guest mounts: any storage, with or without a region.
pub type GuestRoot<S> = Root<S, Option<Cache>>;

/// How long a command that reads a lot lets the region catch up at a time.
const CATCH_UP_TIME: Duration = Duration::from_secs(2);
/// How long a watched command is silent.
const WATCH_NS: u64 = 1_000_000_000;
/// How long a file is read before its reader says how far it is: this long at first, twice as long
/// each time, and at most the second.
const SILENT_NS: u64 = 1_000_000_000;
const SILENT_NS_MAX: u64 = 64_000_000_000;

/// The memory of a command.
pub struct Scratch {
    row: RowMemory,
    /// The path of an entry.
    path: Vec<u8>,
    /// For a command that walks.
    tree: Option<Tree>,
}

/// The longest path of an entry, in a directory whose path is as long as any.
const ENTRY_BYTES_MAX: usize = PATH_BYTES_MAX + 1 + NAME_BYTES_MAX;

impl Scratch {
    /// Allocates what `command` needs, a row as `memory` says.
    pub fn new(command: &Command, memory: &Memory) -> Self {
        let (xattrs, printed, walks) = match command {
            Command::Sum(_) => (false, 0, true),
            Command::Manifest(_) => (true, memory.row, true),
            Command::Stat(_) => (true, 0, false),
            Command::Cat(_) | Command::Ls(_) | Command::Cache => (false, 0, false),
            Command::Bench(_) | Command::Race(_) => (false, 0, false),
        };
        let entries = matches!(command, Command::Ls(_));
        Self {
            row: RowMemory::new(xattrs, printed),
            path: Vec::with_capacity(if entries { ENTRY_BYTES_MAX } else { 0 }),
            tree: walks.then(Tree::new),
        }
    }
}

/// A path, cut to what fits.
type ShortPath = heapless::Vec<u8, 96>;

fn short(path: &[u8]) -> ShortPath {
    path.iter().copied().take(96).collect()
}

/// Why a command failed.
#[derive(Debug)]
pub enum CommandError<E> {
    /// A read failed, of this path.
    Read(ShortPath, Error),
    /// Rows are absent: the first one's path, why, and how many more there are.
    Rows(ShortPath, Error, u64),
    /// The output failed.
    Output(E),
}

impl<E: fmt::Debug> fmt::Display for CommandError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) | Self::Rows(path, error, 0) => AtPath(path, error).fmt(f),
            Self::Rows(path, error, more) => {
                write!(f, "{}; and {more} more", AtPath(path, error))
            }
            Self::Output(error) => write!(f, "output: {error:?}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for CommandError<E> {}

fn at<E>(path: &[u8], error: Error) -> CommandError<E> {
    CommandError::Read(short(path), error)
}

/// What a command has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Regular files that were read to their end.
    pub files: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// Who wants to know how far a command is.
struct Watcher<'r> {
    tell: &'r mut dyn FnMut(Done),
    told_ns: u64,
}

/// Takes a line for the user.
type Notice<'r> = &'r mut dyn FnMut(fmt::Arguments<'_>);

/// A command under way.
pub struct Runner<'r, S, W> {
    root: &'r GuestRoot<S>,
    out: W,
    scratch: &'r mut Scratch,
    watcher: Option<Watcher<'r>>,
    notice: Option<Notice<'r>>,
    /// The first fault of a row, and how many more there were.
    absent: Option<(ShortPath, Error, u64)>,
    /// What it did.
    pub done: Done,
}

type Outcome<W> = Result<(), CommandError<<W as embedded_io::ErrorType>::Error>>;

impl<'r, S: Storage, W: Write> Runner<'r, S, W> {
    /// A runner whose output goes to `out`.
    pub fn new(root: &'r GuestRoot<S>, out: W, scratch: &'r mut Scratch) -> Self {
        let (watcher, notice, absent) = (None, None, None);
        Self { root, out, scratch, watcher, notice, absent, done: Done::default() }
    }

    /// Calls `tell` once a second from now on, as long as the command gets on with its work.
    #[must_use]
    pub fn watched(mut self, tell: &'r mut dyn FnMut(Done)) -> Self {
        self.watcher = Some(Watcher { tell, told_ns: self.root.now_ns() });
        self
    }

    /// Calls `notice` with each fault that costs a row, and with how far the reading of a long file
    /// is.
    #[must_use]
    pub fn noticed(mut self, notice: Notice<'r>) -> Self {
        self.notice = Some(notice);
        self
    }

    /// After `got` bytes of a file.
    fn step(&mut self, got: usize) {
        let bytes = u64::try_from(got).unwrap_or(u64::MAX);
        self.done.bytes = self.done.bytes.saturating_add(bytes);
        catch_up(self.root);
        let Some(Watcher { tell, told_ns }) = &mut self.watcher else { return };
        let now = self.root.now_ns();
        if now.saturating_sub(*told_ns) >= WATCH_NS {
            *told_ns = now;
            tell(self.done);
        }
    }

    /// Runs any command but `bench` and `race`, which need more than a root.
    ///
    /// # Errors
    /// The output's at once; those of a read at once where they are the command's only file, and at
    /// its end where they cost a row.
    pub fn run(&mut self, command: &Command) -> Outcome<W> {
        self.absent = None;
        match command {
            Command::Ls(path) => self.ls(path.as_bytes())?,
            Command::Stat(path) => self.stat(path.as_bytes())?,
            Command::Cat(path) => self.cat(path.as_bytes())?,
            Command::Sum(path) => self.sum(path.as_bytes())?,
            Command::Manifest(path) => self.manifest(path.as_bytes())?,
            Command::Cache => self.cache()?,
            Command::Bench(_) | Command::Race(_) => {}
        }
        self.out.flush().map_err(CommandError::Output)?;
        match self.absent.take() {
            None => Ok(()),
            Some((path, error, more)) => Err(CommandError::Rows(path, error, more)),
        }
    }

    /// What a row becomes in a list: if it is absent, the list goes on.
    fn settle(&mut self, path: &[u8], row: Row<W>) -> Outcome<W> {
        match row {
            Ok(()) => Ok(()),
            Err(RowFault::Absent(error)) => {
                self.fault(path, error);
                Ok(())
            }
            Err(RowFault::Output(error)) => Err(CommandError::Output(error)),
        }
    }

    /// Tells of a fault that costs the row of `path`.
    fn fault(&mut self, path: &[u8], error: Error) {
        if let Some(notice) = &mut self.notice {
            notice(format_args!("{}", AtPath(path, &error)));
        }
        match &mut self.absent {
            // There are no 2^64 rows.
            Some((_, _, more)) => *more = more.wrapping_add(1),
            none => *none = Some((short(path), error, 0)),
        }
    }

    fn ls(&mut self, path: &[u8]) -> Outcome<W> {
        let inode = self.root.metadata(path).map_err(|error| at(path, error))?;
        if inode.kind != FileKind::Directory {
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
                    // The directory itself is at fault: nobody can tell what else it holds.
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
        let target = match inode.kind {
            FileKind::Symlink => Some(memory.target_of(self.root, &inode)),
            _ => None,
        };
        let target = target.transpose().map_err(|error| at(path, error))?;
        printed(print_stat(out, &inode, path, target)).map_err(CommandError::Output)?;
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
        loop {
            let bytes = file.lend().map_err(|error| at(path, error))?;
            if bytes.is_empty() {
                self.done.files = self.done.files.saturating_add(1);
                return Ok(());
            }
            let len = bytes.len();
            self.out.write_all(bytes).map_err(CommandError::Output)?;
            file.advance(len);
            self.step(len);
        }
    }

    fn sum(&mut self, path: &[u8]) -> Outcome<W> {
        let whole = self.root.metadata(path).map_err(|error| at(path, error))?;
        if whole.kind != FileKind::Directory {
            let row = self.sum_row(&whole, path);
            return only(path, row);
        }
        // From what a symlink leads to, as the sum of a file is that of its target.
        self.each_below(whole, path, |runner, inode, path| match inode.kind {
            FileKind::Regular => runner.sum_row(inode, path),
            _ => Ok(()),
        })
    }

    /// Calls `row` for everything below `first` at `path`, itself included.
    fn each_below(
        &mut self,
        first: Inode,
        path: &[u8],
        row: impl Fn(&mut Self, &Inode, &[u8]) -> Row<W>,
    ) -> Outcome<W> {
        let tree = self.scratch.tree.take().or_bug();
        let mut tree = tree.map_err(|bug| at(path, bug.into()))?;
        let result = self.each_of(&mut tree, first, path, row);
        self.scratch.tree = Some(tree);
        result
    }

    fn each_of(
        &mut self,
        tree: &mut Tree,
        first: Inode,
        path: &[u8],
        row: impl Fn(&mut Self, &Inode, &[u8]) -> Row<W>,
    ) -> Outcome<W> {
        tree.begin_with(self.root, first, path).map_err(|error| at(path, error))?;
        loop {
            let row = match tree.next(self.root) {
                Ok(None) => return Ok(()),
                Ok(Some(inode)) => row(self, &inode, tree.path()),
                Err(error) => Err(error.into()),
            };
            self.settle(tree.path(), row)?;
            self.step(0);
        }
    }

    fn sum_row(&mut self, inode: &Inode, path: &[u8]) -> Row<W> {
        let digest = self.digest(inode, path)?;
        row::sum(&mut self.out, &digest, path)
    }

    fn digest(&mut self, inode: &Inode, path: &[u8]) -> Result<[u8; 32], Error> {
        let mut file = self.root.stream_inode(*inode)?;
        let (mut hash, mut gap_ns) = (Sha256::new(), SILENT_NS);
        let mut told_ns = self.root.now_ns();
        loop {
            let bytes = file.lend()?;
            if bytes.is_empty() {
                break;
            }
            let len = bytes.len();
            hash.update(bytes);
            file.advance(len);
            self.step(len);
            let now_ns = self.root.now_ns();
            if now_ns.checked_sub(told_ns).is_some_and(|silent_ns| silent_ns >= gap_ns) {
                (told_ns, gap_ns) = (now_ns, (gap_ns << 1).min(SILENT_NS_MAX));
                if let Some(notice) = &mut self.notice {
                    let (at, of, unit) = how_far(file.position(), inode.size);
                    notice(format_args!("reading {}: {at} of {of} {unit}", Escaped(path)));
                }
            }
        }
        self.done.files = self.done.files.saturating_add(1);
        Ok(hash.finalize().into())
    }

    fn manifest(&mut self, path: &[u8]) -> Outcome<W> {
        let first = self.root.symlink_metadata(path).map_err(|error| at(path, error))?;
        self.each_below(first, path, |runner, inode, path| {
            let digest = match inode.kind {
                FileKind::Regular => Some(runner.digest(inode, path)?),
                _ => None,
            };
            let (memory, out) = (&mut runner.scratch.row, &mut runner.out);
            row::manifest(runner.root, memory, out, (inode, path), digest)
        })
    }

    fn cache(&mut self) -> Outcome<W> {
        let out = &mut self.out;
        let shown = self.root.with_layer(|layer, storage| match layer {
            Some(cache) => crate::region::show(cache, storage, out),
            None => out.write_all(b"no region\n"),
        });
        shown.map_err(CommandError::Output)
    }
}

/// What a row becomes that is the only one.
fn only<E>(path: &[u8], row: Result<(), RowFault<E>>) -> Result<(), CommandError<E>> {
    row.map_err(|fault| match fault {
        RowFault::Absent(error) => at(path, error),
        RowFault::Output(error) => CommandError::Output(error),
    })
}

/// Returns how far a file is read and how long it is, and in which unit.
fn how_far(at: u64, of: u64) -> (u64, u64, &'static str) {
    match of >> 20 {
        0 => (at >> 10, of >> 10, "KiB"),
        mib => (at >> 20, mib, "MiB"),
    }
}

/// Prints what `stat` says of an inode but its xattrs.
fn print_stat<W: Write>(
    out: &mut W,
    inode: &Inode,
    path: &[u8],
    target: Option<&[u8]>,
) -> Result<(), embedded_io::WriteFmtError<W::Error>> {
    let form = if inode.extended { "extended" } else { "compact" };
    writeln!(out, "path   {}\ntype   {}", Escaped(path), inode.kind)?;
    writeln!(out, "nid    {} ({form})", inode.nid)?;
    writeln!(out, "mode   {:04o} {}", inode.permissions, Mode(inode))?;
    writeln!(out, "owner  {}:{}\nlinks  {}", inode.uid, inode.gid, inode.nlink)?;
    match inode.rdev {
        Some(rdev) => writeln!(out, "rdev   {}, {}", rdev.major, rdev.minor)?,
        None => writeln!(out, "size   {}", inode.size)?,
    }
    writeln!(out, "mtime  {}.{:09}", inode.mtime.seconds, inode.mtime.nanoseconds)?;
    writeln!(out, "layout {}", Shape(inode))?;
    match target {
        Some(target) => writeln!(out, "target {}", Escaped(target)),
        None => Ok(()),
    }
}

/// Gives the region time to write what it holds, if more than half of its buffers are full. A
/// command that reads in bulk has that time; no read ever waits for the region.
pub fn catch_up<S: Storage>(root: &GuestRoot<S>) {
    root.catch_up(CATCH_UP_TIME);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_less_than_a_mib_is_told_in_kib() {
        assert_eq!(how_far(65_536, 70_000), (64, 68, "KiB"));
        assert_eq!(how_far(65_536, (1 << 20) - 1), (64, 1023, "KiB"));
        assert_eq!(how_far(65_536, 1 << 20), (0, 1, "MiB"));
    }
}
