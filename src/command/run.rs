//! Running a command over a mounted root.
//!
//! Always: the memory of a command is in its [`Scratch`], made before the first read; what goes
//! to `out` is the command's own output and nothing else.

#![expect(
    clippy::result_large_err,
    reason = "an error ends its command, and carries the path because nothing may be allocated"
)]

use super::json;
use super::parse::Command;
use super::tree::Tree;
use crate::Error;
use crate::cache::Cache;
use crate::erofs::{FileKind, Inode, Layout};
use crate::read::{PATH_BYTES_MAX, Root, XATTR_BYTES_MAX};
use crate::storage::Background;
use alloc::boxed::Box;
use alloc::vec;
use core::fmt;
use embedded_io::Write;
use sha2::{Digest, Sha256};

/// What a guest mounts: any storage, with or without a region.
pub type GuestRoot<S> = Root<S, Option<Cache>>;

/// How long a command that reads a lot lets the region catch up at a time.
const CATCH_UP_NS_MAX: u64 = 2_000_000_000;
/// How long a watched command is silent.
const WATCH_NS: u64 = 1_000_000_000;

/// The memory of a command.
pub struct Scratch {
    xattrs: Box<[u8]>,
    target: Box<[u8]>,
    tree: Tree,
}

impl Scratch {
    /// Allocates what `command` needs.
    pub fn new(command: &Command) -> Self {
        let (lists, walks) = match command {
            Command::Sum(_) => (false, true),
            Command::Manifest(_) => (true, true),
            Command::Stat(_) => (true, false),
            Command::Cat(_) | Command::Ls(_) | Command::Cache => (false, false),
            Command::Bench(_) | Command::Race(_) => (false, false),
        };
        let memory = |wanted, bytes| vec![0; if wanted { bytes } else { 0 }].into_boxed_slice();
        Self {
            xattrs: memory(lists, XATTR_BYTES_MAX),
            target: memory(true, PATH_BYTES_MAX),
            tree: if walks { Tree::new() } else { Tree::default() },
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub enum CommandError<E> {
    /// A read failed, of this path (cut to what fits).
    Read(heapless::Vec<u8, 96>, Error),
    /// The output failed.
    Output(E),
}

impl<E: fmt::Debug> fmt::Display for CommandError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "{}: {error}", path.escape_ascii()),
            Self::Output(error) => write!(f, "output: {error:?}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for CommandError<E> {}

fn at<E>(path: &[u8], error: Error) -> CommandError<E> {
    let shown = path.get(..96).unwrap_or(path);
    CommandError::Read(heapless::Vec::from_slice(shown).unwrap_or_default(), error)
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

/// A command under way.
pub struct Runner<'r, S, W> {
    root: &'r GuestRoot<S>,
    out: W,
    scratch: &'r mut Scratch,
    watcher: Option<Watcher<'r>>,
    /// What it did.
    pub done: Done,
}

type Outcome<W> = Result<(), CommandError<<W as embedded_io::ErrorType>::Error>>;

impl<'r, S: Background, W: Write> Runner<'r, S, W> {
    /// A runner whose output goes to `out`.
    pub fn new(root: &'r GuestRoot<S>, out: W, scratch: &'r mut Scratch) -> Self {
        Self { root, out, scratch, watcher: None, done: Done::default() }
    }

    /// Calls `tell` once a second from now on, as long as the command gets on with its work.
    #[must_use]
    pub fn watched(mut self, tell: &'r mut dyn FnMut(Done)) -> Self {
        self.watcher = Some(Watcher { tell, told_ns: self.root.now_ns() });
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
    pub fn run(&mut self, command: &Command) -> Outcome<W> {
        match command {
            Command::Ls(path) => self.ls(path.as_bytes())?,
            Command::Stat(path) => self.stat(path.as_bytes())?,
            Command::Cat(path) => self.cat(path.as_bytes())?,
            Command::Sum(path) => self.sum(path.as_bytes())?,
            Command::Manifest(path) => self.manifest(path.as_bytes())?,
            Command::Cache => self.cache()?,
            Command::Bench(_) | Command::Race(_) => {}
        }
        self.out.flush().map_err(CommandError::Output)
    }

    fn print(&mut self, text: fmt::Arguments<'_>) -> Outcome<W> {
        // The only errors are those of the output.
        self.out.write_fmt(text).map_err(|error| match error {
            embedded_io::WriteFmtError::Other(error) => CommandError::Output(error),
            embedded_io::WriteFmtError::FmtError => at(b"", crate::PathError::TooLong.into()),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<W> {
        self.out.write_all(bytes).map_err(CommandError::Output)
    }

    fn ls(&mut self, path: &[u8]) -> Outcome<W> {
        let inode = self.root.metadata(path).map_err(|error| at(path, error))?;
        if inode.kind != FileKind::Directory {
            return self.ls_line(&inode, path);
        }
        let mut cursor = self.root.read_dir_inode(inode).map_err(|error| at(path, error))?;
        while let Some(entry) = cursor.next(self.root).map_err(|error| at(path, error))? {
            let inode = self.root.inode(entry.nid).map_err(|error| at(&entry.name, error))?;
            self.ls_line(&inode, &entry.name)?;
        }
        Ok(())
    }

    fn ls_line(&mut self, inode: &Inode, name: &[u8]) -> Outcome<W> {
        let mode = Mode(inode);
        let Inode { nlink, uid, gid, size, .. } = inode;
        match inode.rdev {
            Some(rdev) => self.print(format_args!(
                "{mode} {nlink:3} {uid:5} {gid:5} {:4}, {:4} ",
                rdev.major, rdev.minor
            ))?,
            None => self.print(format_args!("{mode} {nlink:3} {uid:5} {gid:5} {size:10} "))?,
        }
        self.print(format_args!("{:>10} {}", inode.mtime.seconds, Escaped(name)))?;
        if inode.kind == FileKind::Symlink {
            let target = self
                .root
                .read_link_inode(inode, &mut self.scratch.target)
                .map_err(|error| at(name, error))?;
            let len = target.len();
            self.write(b" -> ")?;
            let target = self.scratch.target.get(..len).unwrap_or_default();
            write!(self.out, "{}", Escaped(target))
                .map_err(|_| at(name, crate::PathError::TooLong.into()))?;
        }
        self.write(b"\n")
    }

    fn stat(&mut self, path: &[u8]) -> Outcome<W> {
        let inode = self.root.symlink_metadata(path).map_err(|error| at(path, error))?;
        self.print(format_args!("path   {}\ntype   {}\n", Escaped(path), inode.kind))?;
        self.print(format_args!(
            "nid    {}{}\n",
            inode.nid,
            if inode.extended { " (extended)" } else { " (compact)" }
        ))?;
        self.print(format_args!("mode   {:04o} {}\n", inode.permissions, Mode(&inode)))?;
        self.print(format_args!("owner  {}:{}\nlinks  {}\n", inode.uid, inode.gid, inode.nlink))?;
        match inode.rdev {
            Some(rdev) => self.print(format_args!("rdev   {}, {}\n", rdev.major, rdev.minor))?,
            None => self.print(format_args!("size   {}\n", inode.size))?,
        }
        self.print(format_args!(
            "mtime  {}.{:09}\n",
            inode.mtime.seconds, inode.mtime.nanoseconds
        ))?;
        self.print(format_args!("layout {}\n", Shape(&inode)))?;
        if inode.kind == FileKind::Symlink {
            let link = self
                .root
                .read_link_inode(&inode, &mut self.scratch.target)
                .map_err(|error| at(path, error))?;
            writeln!(self.out, "target {}", Escaped(link))
                .map_err(|_| at(path, crate::PathError::TooLong.into()))?;
        }
        let out = &mut self.out;
        let mut failed = None;
        let listed = self.root.xattrs(&inode, &mut self.scratch.xattrs, |name, value| {
            let [prefix, infix, rest] = name.parts().map(Escaped);
            let line = writeln!(out, "xattr  {prefix}{infix}{rest} ({} bytes)", value.len());
            if line.is_err() {
                failed.get_or_insert(at(path, crate::PathError::TooLong.into()));
            }
            Ok(())
        });
        listed.map_err(|error| at(path, error))?;
        failed.map_or(Ok(()), Err)
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
            return self.sum_line(&whole, path);
        }
        // From what a symlink leads to, as the sum of a file is that of its target.
        self.each_below(whole, path, |runner, inode, path| match inode.kind {
            FileKind::Regular => runner.sum_line(inode, path),
            _ => Ok(()),
        })
    }

    /// Calls `row` for everything below `first` at `path`, itself included.
    fn each_below(
        &mut self,
        first: Inode,
        path: &[u8],
        row: impl Fn(&mut Self, &Inode, &[u8]) -> Outcome<W>,
    ) -> Outcome<W> {
        let mut tree = core::mem::take(&mut self.scratch.tree);
        let result = self.each_of(&mut tree, first, path, row);
        self.scratch.tree = tree;
        result
    }

    fn each_of(
        &mut self,
        tree: &mut Tree,
        first: Inode,
        path: &[u8],
        row: impl Fn(&mut Self, &Inode, &[u8]) -> Outcome<W>,
    ) -> Outcome<W> {
        tree.begin_with(self.root, first, path).map_err(|error| at(path, error))?;
        while let Some(inode) = tree.next(self.root).map_err(|error| at(tree.path(), error))? {
            row(self, &inode, tree.path())?;
            self.step(0);
        }
        Ok(())
    }

    fn sum_line(&mut self, inode: &Inode, path: &[u8]) -> Outcome<W> {
        let digest = self.digest(inode, path)?;
        json::write_hex(&mut self.out, &digest).map_err(CommandError::Output)?;
        self.print(format_args!("  {}\n", Escaped(path)))
    }

    fn digest(&mut self, inode: &Inode, path: &[u8]) -> Result<[u8; 32], CommandError<W::Error>> {
        let mut file = self.root.stream_inode(*inode).map_err(|error| at(path, error))?;
        let mut hash = Sha256::new();
        loop {
            let bytes = file.lend().map_err(|error| at(path, error))?;
            if bytes.is_empty() {
                break;
            }
            let len = bytes.len();
            hash.update(bytes);
            file.advance(len);
            self.step(len);
        }
        self.done.files = self.done.files.saturating_add(1);
        Ok(hash.finalize().into())
    }

    fn manifest(&mut self, path: &[u8]) -> Outcome<W> {
        let first = self.root.symlink_metadata(path).map_err(|error| at(path, error))?;
        self.each_below(first, path, Self::manifest_row)
    }

    fn manifest_row(&mut self, inode: &Inode, path: &[u8]) -> Outcome<W> {
        self.write(b"{\"path\": ")?;
        json::write_string(&mut self.out, path).map_err(CommandError::Output)?;
        let Inode { uid, gid, size, nlink, .. } = inode;
        let mtime = i128::from(inode.mtime.seconds)
            .saturating_mul(1_000_000_000)
            .saturating_add(i128::from(inode.mtime.nanoseconds));
        let mode = inode.mode();
        self.print(format_args!(
            ", \"mode\": {mode}, \"uid\": {uid}, \"gid\": {gid}, \"mtime_ns\": {mtime}"
        ))?;
        match inode.kind {
            FileKind::Regular => {
                self.print(format_args!(", \"size\": {size}, \"nlink\": {nlink}, \"sha256\": \""))?;
                let digest = self.digest(inode, path)?;
                json::write_hex(&mut self.out, &digest).map_err(CommandError::Output)?;
                self.write(b"\"")?;
            }
            FileKind::Symlink => {
                self.write(b", \"target\": ")?;
                let target = self.root.read_link_inode(inode, &mut self.scratch.target);
                let target = target.map_err(|error| at(path, error))?;
                json::write_string(&mut self.out, target).map_err(CommandError::Output)?;
            }
            _ => {}
        }
        if let Some(rdev) = inode.rdev {
            self.print(format_args!(", \"rdev\": [{}, {}]", rdev.major, rdev.minor))?;
        }
        self.manifest_xattrs(inode, path)?;
        self.write(b"}\n")
    }

    fn manifest_xattrs(&mut self, inode: &Inode, path: &[u8]) -> Outcome<W> {
        let out = &mut self.out;
        let mut failed = None;
        let mut first = true;
        let listed = self.root.xattrs(inode, &mut self.scratch.xattrs, |name, value| {
            let mut pair = || {
                out.write_all(if first { b", \"xattr\": {\"" } else { b", \"" })?;
                for part in name.parts() {
                    json::write_inside(out, part)?;
                }
                out.write_all(b"\": \"")?;
                json::write_hex(out, value)?;
                out.write_all(b"\"")
            };
            if let Err(error) = pair() {
                failed.get_or_insert(CommandError::Output(error));
            }
            first = false;
            Ok(())
        });
        listed.map_err(|error| at(path, error))?;
        if !first {
            out.write_all(b"}").map_err(CommandError::Output)?;
        }
        failed.map_or(Ok(()), Err)
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

/// Gives the region time to write what it holds, if more than half of its buffers are full. A
/// command that reads in bulk has that time; no read ever waits for the region.
pub fn catch_up<S: Background>(root: &GuestRoot<S>) {
    root.with_layer(|layer, storage| {
        let Some(cache) = layer else { return };
        let end = storage.now_ns().saturating_add(CATCH_UP_NS_MAX);
        cache.catch_up(storage, end);
    });
}

/// A mode as `ls -l` shows it.
struct Mode<'i>(&'i Inode);

impl fmt::Display for Mode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.kind {
            FileKind::Regular => "-",
            FileKind::Directory => "d",
            FileKind::CharDevice => "c",
            FileKind::BlockDevice => "b",
            FileKind::Fifo => "p",
            FileKind::Socket => "s",
            FileKind::Symlink => "l",
        })?;
        let bits = self.0.permissions;
        for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
            let three = bits >> shift;
            f.write_str(if three & 4 != 0 { "r" } else { "-" })?;
            f.write_str(if three & 2 != 0 { "w" } else { "-" })?;
            let x = match (bits & special != 0, three & 1 != 0) {
                (true, true) => letter,
                (true, false) => letter.to_ascii_uppercase(),
                (false, true) => 'x',
                (false, false) => '-',
            };
            write!(f, "{x}")?;
        }
        Ok(())
    }
}

/// A name on a terminal: control characters and bytes that are not UTF-8 are escaped.
struct Escaped<'n>(&'n [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?
                } else {
                    write!(f, "{c}")?
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

/// The layout of a file's data in words.
struct Shape<'i>(&'i Inode);

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.layout {
            Layout::None => f.write_str("no data"),
            Layout::Plain { start: Some(start) } => write!(f, "flat from block {start}"),
            Layout::Plain { start: None } => f.write_str("one hole"),
            Layout::Inline { tail, .. } => write!(f, "flat, {} bytes inline", tail.len),
            Layout::Chunked(map) => {
                write!(f, "{} chunks of 2^{} bytes", map.count(), map.chunk_bits)
            }
            Layout::Compressed(compressed) => {
                write!(f, "compressed (layout {})", compressed.form.number())
            }
        }
    }
}
