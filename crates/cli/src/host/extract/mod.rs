//! `extract`: restores what lies below a path of an image into a directory of this machine.
//!
//! Always: nothing is written outside that directory; a restored file has all its bytes; an entry
//! that cannot be restored has a line on standard error, and the command continues.

mod counts;
mod entry;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rootlet::erofs::{FileKind, Inode, Nid};
use rootlet::read::{DirCursor, DirGuard, XATTR_BYTES_MAX};
use rootlet::storage::Storage;
use rootlet_guest::{AtPath, GuestRoot};
use rustix::fs::Mode;

use super::args::{ExtractArgs, named, paths};
use super::restore::{Place, Target};
use crate::exit::{FAILED, stop, usage};
use crate::interrupt::Interrupt;
use crate::note;
use crate::progress::Progress;
use crate::shown::shown;
use crate::source::open;
use counts::Counts;
use entry::not_a_name;

/// Bytes read and written at once.
const PIECE_BYTES: usize = 1 << 20;
/// Directories held open at once; those above are opened again on the way back.
const OPEN_MAX: usize = 64;

/// The name under which an inode was restored first.
struct First {
    path: Box<[u8]>,
    /// Whether the inode has more than one name.
    has_more: bool,
}

/// A directory under way.
struct Level {
    /// `None` while too many others are open.
    dir: Option<OwnedFd>,
    cursor: DirCursor,
    /// The length of the path.
    len: usize,
}

struct Extract<'r, S> {
    root: &'r GuestRoot<S>,
    base: OwnedFd,
    force: bool,
    is_root: bool,
    /// The first name of every inode that was restored.
    names: HashMap<Nid, First>,
    dirs: HashSet<Nid>,
    data: Vec<u8>,
    xattrs: Vec<u8>,
    counts: &'r mut Counts,
    interrupt: &'r Interrupt,
    progress: Progress,
}

/// The task.
pub fn task(args: &ExtractArgs, interrupt: &Interrupt) -> Result<()> {
    let image = named(args.image.as_ref())?;
    let dir = args.dir.as_ref().ok_or_else(|| usage("no DIR given (see --help)"))?;
    let opened = open(image, &args.read.source, args.read.verbose)?;
    let mut counts = Counts::default();
    let result = restore(&opened.root, args, Path::new(dir), interrupt, &mut counts);
    opened.end(counts.files, &result);
    result
}

/// Restores what lies below each path into `dir`. Memory: a path for every inode that is restored.
fn restore<S: Storage>(
    root: &GuestRoot<S>,
    args: &ExtractArgs,
    dir: &Path,
    interrupt: &Interrupt,
    counts: &mut Counts,
) -> Result<()> {
    let mut tops = Vec::new();
    for path in paths(&args.paths) {
        match root.metadata(path.as_bytes()) {
            Ok(top) => tops.push((path, top)),
            Err(error) => {
                counts.failed += 1;
                note!("rootlet: {}", AtPath(path.as_bytes(), &error));
            }
        }
    }
    if tops.is_empty() {
        return Err(stop(FAILED, ""));
    }
    let mut extract = Extract {
        root,
        base: open_dir(dir, args.force)?,
        force: args.force,
        is_root: rustix::process::geteuid().is_root(),
        names: HashMap::new(),
        dirs: HashSet::new(),
        data: vec![0; PIECE_BYTES],
        xattrs: vec![0; XATTR_BYTES_MAX],
        counts,
        interrupt,
        progress: Progress::of_entries(root.superblock().inodes()),
    };
    let umask = rustix::process::umask(Mode::empty());
    let result = extract.run(&tops);
    rustix::process::umask(umask);
    let is_root = extract.is_root;
    drop(extract);
    result.and_then(|()| counts.tell(is_root))
}

/// Makes the directory, or takes one that is empty.
fn open_dir(dir: &Path, force: bool) -> Result<OwnedFd> {
    let of_dir = || dir.display().to_string();
    fs::create_dir_all(dir).with_context(of_dir)?;
    if !force && fs::read_dir(dir).with_context(of_dir)?.next().is_some() {
        bail!("{}: is not empty; --force replaces what has the same names", dir.display());
    }
    Ok(File::open(dir).with_context(of_dir)?.into())
}

impl<S: Storage> Extract<'_, S> {
    /// Restores what lies below each of `tops`. The directory itself gets the attributes of the first
    /// directory among them, at the end: they may forbid to write in it.
    fn run(&mut self, tops: &[(&str, Inode)]) -> Result<()> {
        for (path, top) in tops {
            // Of what was restored below an earlier path, only hard links are the same file.
            self.names.retain(|_, first| first.has_more);
            self.dirs.clear();
            if top.kind() == FileKind::Directory {
                self.tree(*top)?;
                continue;
            }
            let name = Path::new(path).file_name().ok_or_else(not_a_name)?;
            let dir = self.base.try_clone()?;
            let path = [b"/", name.as_bytes()].concat();
            let done = self.other(dir.as_fd(), &path, 1, top);
            self.interrupt.check()?;
            self.judge(&path, done);
        }
        if let Some((_, top)) = tops.iter().find(|(_, top)| top.kind() == FileKind::Directory) {
            let base = self.base.try_clone()?;
            let dressed = self.dress(Target::Open(base.as_fd()), top);
            self.judge(b"/", dressed);
        }
        Ok(())
    }

    /// Everything below a directory. Every directory is entered once, so this ends.
    fn tree(&mut self, top: Inode) -> Result<()> {
        let mut path = Vec::new();
        self.dirs.insert(top.nid());
        let mut guard = DirGuard::new();
        guard.begin(self.root);
        guard.enter(&top)?;
        let cursor = self.root.read_dir_inode(top)?;
        let mut open = vec![Level { dir: Some(self.base.try_clone()?), cursor, len: 0 }];
        while let Some(level) = open.last_mut() {
            self.interrupt.check()?;
            path.truncate(level.len);
            let dir = match level.dir.take() {
                Some(dir) => dir,
                None => self.reopen(&path)?,
            };
            let next = level.cursor.next(self.root);
            let Ok(Some(entry)) = next else {
                let result = next.map(|_| ()).map_err(Into::into);
                self.judge(&path, result);
                let inode = *level.cursor.dir();
                // The directory that everything lies in is shared by all paths.
                if !path.is_empty() {
                    let dressed = self.dress(Target::Open(dir.as_fd()), &inode);
                    self.judge(&path, dressed);
                }
                self.counts.dirs += 1;
                open.pop();
                continue;
            };
            let start = path.len() + 1;
            path.push(b'/');
            path.extend_from_slice(&entry.name);
            self.progress.entry(|| shown(&path));
            let made = self.entry(dir.as_fd(), &path, start, entry.nid);
            level.dir = Some(dir);
            match made {
                Ok(Some((dir, inode))) => {
                    // Each is entered once, but many may share their bytes.
                    guard.enter(&inode)?;
                    let cursor = self.root.read_dir_inode(inode)?;
                    open.push(Level { dir: Some(dir), cursor, len: path.len() });
                    if let Some(far) = open.len().checked_sub(OPEN_MAX) {
                        open[far].dir = None;
                    }
                }
                made => {
                    // After an interrupt no fault is reported.
                    self.interrupt.check()?;
                    self.judge(&path, made.map(|_| ()));
                }
            }
        }
        Ok(())
    }

    /// Opens a directory that was made before, by its path.
    fn reopen(&self, path: &[u8]) -> Result<OwnedFd> {
        let mut dir = self.base.try_clone()?;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let place = Place::new(dir.as_fd(), name).ok_or_else(not_a_name)?;
            dir = place.open_dir().with_context(|| shown(path))?;
        }
        Ok(dir)
    }

    fn judge(&mut self, path: &[u8], result: Result<()>) {
        if let Err(error) = result {
            self.counts.failed += 1;
            self.progress.suspend(|| note!("{}: {error:#}", shown(path)));
        }
    }
}
