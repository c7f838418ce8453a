//! The walk of `extract`: makes directories and links, and hands files out.
//!
//! Always: the result is that of one job, in its order. The first name of a hard link is there before
//! the second is made, and all below one path before the next is begun: a directory has each name
//! once. A directory gets its attributes after all that lies in it, because they may forbid to write,
//! and writing changes its time.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use rootlet::erofs::{FileKind, Inode, Nid};
use rootlet::read::{DirCursor, DirGuard};
use rootlet::storage::Storage;

use super::counts::Counts;
use super::entry::{Restorer, Setup};
use crate::host::ordered::{Emit, Ordered};
use crate::host::restore::{Place, Target};
use crate::note;
use crate::shown::shown;

/// Directories held open at once; those above are opened again on the way back.
const OPEN_MAX: usize = 64;

/// A file that is to be restored.
pub struct Item {
    dir: Arc<OwnedFd>,
    path: Vec<u8>,
    /// Where the last name of the path begins.
    start: usize,
    inode: Inode,
}

/// What has ended, in the order of the walk.
pub enum Ended {
    /// A file.
    File { path: Vec<u8>, inode: Inode, counts: Counts, result: Result<()> },
    /// Another entry failed, or a list of entries.
    Fault(Vec<u8>, anyhow::Error),
    /// All that lies in a directory.
    Directory { dir: Arc<OwnedFd>, path: Vec<u8>, inode: Inode },
}

/// Files under way.
pub type Work<'w> = Ordered<'w, Item, Ended>;

/// Returns what restores files on a thread of its own.
pub fn restorer<'r, S: Storage>(
    setup: &'r Setup<'r, S>,
) -> impl FnMut(Item, Emit<'_, Ended>) + use<'r, S> {
    let mut restorer = Restorer::new(setup);
    move |Item { dir, path, start, inode }, emit| {
        let place = Place::new(dir.as_fd(), &path[start..]).ok_or_else(not_a_name);
        let result = place.and_then(|place| restorer.file(place, &inode));
        let counts = restorer.take_counts();
        // Where it is unwanted, the run has ended.
        let _ = emit(Ended::File { path, inode, counts, result });
    }
}

/// The name under which an inode was restored first.
struct First {
    path: Box<[u8]>,
    /// Whether the inode has more than one name.
    has_more: bool,
}

/// A directory under way.
struct Level {
    /// `None` while too many others are open.
    dir: Option<Arc<OwnedFd>>,
    cursor: DirCursor,
    /// The length of the path.
    len: usize,
}

/// What an entry of a directory needs next.
enum Next {
    /// Nothing.
    Done,
    /// Its data.
    File(Inode),
    /// Its entries.
    Directory(OwnedFd, Inode),
}

/// A walk over what is restored.
pub struct Walk<'r, S> {
    setup: &'r Setup<'r, S>,
    base: OwnedFd,
    /// Restores all but files.
    own: Restorer<'r, S>,
    /// The first name of every inode that was restored.
    names: HashMap<Nid, First>,
    /// Files that were handed out and have not ended.
    under_way: HashSet<Nid>,
    dirs: HashSet<Nid>,
    counts: &'r mut Counts,
}

impl<'r, S: Storage> Walk<'r, S> {
    /// A walk that restores into `base`.
    pub fn new(setup: &'r Setup<'r, S>, base: OwnedFd, counts: &'r mut Counts) -> Self {
        Self {
            setup,
            base,
            own: Restorer::new(setup),
            names: HashMap::new(),
            under_way: HashSet::new(),
            dirs: HashSet::new(),
            counts,
        }
    }

    /// Restores what lies below each of `tops`. The directory itself gets the attributes of the first
    /// directory among them, at the end: they may forbid to write in it.
    pub fn run(&mut self, tops: &[(&str, Inode)], work: &mut Work<'_>) -> Result<()> {
        for (path, top) in tops {
            // Of what was restored below an earlier path, only hard links are the same file.
            self.names.retain(|_, first| first.has_more);
            self.dirs.clear();
            let walked = match top.kind() {
                FileKind::Directory => self.tree(*top, work),
                _ => self.single(path, *top, work),
            };
            // Below the next path may be the same names.
            self.finish(work)?;
            walked?;
        }
        if let Some((_, top)) = tops.iter().find(|(_, top)| top.kind() == FileKind::Directory) {
            let base = self.base.try_clone()?;
            self.dress(base.as_fd(), b"/", top)?;
        }
        self.counts.add(self.own.take_counts());
        Ok(())
    }

    /// Waits for all files that were handed out.
    fn finish(&mut self, work: &mut Work<'_>) -> Result<()> {
        work.finish(&mut |ended| self.settle(ended))
    }

    /// Restores what the command line names, if it is not a directory.
    fn single(&mut self, path: &str, top: Inode, work: &mut Work<'_>) -> Result<()> {
        let name = Path::new(path).file_name().ok_or_else(not_a_name)?;
        let path = [b"/", name.as_bytes()].concat();
        let dir = Arc::new(self.base.try_clone()?);
        let next = self.other(&dir, &path, 1, top);
        self.go_on(dir, &path, 1, next, work).map(drop)
    }

    /// Everything below a directory. Every directory is entered once, so this ends.
    fn tree(&mut self, top: Inode, work: &mut Work<'_>) -> Result<()> {
        let (root, mut path) = (self.setup.root, Vec::new());
        self.dirs.insert(top.nid());
        let mut guard = DirGuard::new();
        guard.begin(root);
        let base = Arc::new(self.base.try_clone()?);
        let mut open = vec![Level::new(base, guard.open(root, top)?, 0)];
        while let Some(level) = open.last_mut() {
            self.setup.interrupt.check()?;
            path.truncate(level.len);
            let dir = match level.dir.take() {
                Some(dir) => dir,
                None => Arc::new(self.reopen(&path)?),
            };
            let entry = match level.cursor.next(root) {
                Ok(Some(entry)) => entry,
                ended => {
                    if let Err(error) = ended {
                        self.add(Ended::Fault(path.clone(), error.into()), work)?;
                    }
                    let inode = *level.cursor.dir();
                    self.add(Ended::Directory { dir, path: path.clone(), inode }, work)?;
                    open.pop();
                    continue;
                }
            };
            if self.under_way.contains(&entry.nid) {
                self.finish(work)?;
            }
            let start = path.len() + 1;
            path.push(b'/');
            path.extend_from_slice(&entry.name);
            self.setup.progress.entry(|| shown(&path));
            let next = self.entry(&dir, &path, start, entry.nid);
            level.dir = Some(Arc::clone(&dir));
            if let Some((dir, inode)) = self.go_on(dir, &path, start, next, work)? {
                // Each is entered once, but many may share their bytes.
                let cursor = guard.open(root, inode)?;
                open.push(Level::new(Arc::new(dir), cursor, path.len()));
                if let Some(far) = open.len().checked_sub(OPEN_MAX) {
                    open[far].dir = None;
                }
            }
        }
        Ok(())
    }

    /// Does what comes after [`Walk::entry`]. Returns a directory that is to be entered.
    fn go_on(
        &mut self,
        dir: Arc<OwnedFd>,
        path: &[u8],
        start: usize,
        next: Result<Next>,
        work: &mut Work<'_>,
    ) -> Result<Option<(OwnedFd, Inode)>> {
        match next {
            Ok(Next::Directory(dir, inode)) => return Ok(Some((dir, inode))),
            Ok(Next::File(inode)) => {
                self.under_way.insert(inode.nid());
                let item = Item { dir, path: path.to_vec(), start, inode };
                work.hand_out(item, inode.size(), &mut |ended| self.settle(ended))?;
            }
            Ok(Next::Done) => {}
            Err(error) => self.add(Ended::Fault(path.to_vec(), error), work)?,
        }
        Ok(None)
    }

    fn add(&mut self, ended: Ended, work: &mut Work<'_>) -> Result<()> {
        work.add(ended, &mut |ended| self.settle(ended))
    }

    /// Restores the last name of `path`, which begins at `start`, but for the data of a file; a
    /// directory comes back open and empty.
    fn entry(&mut self, dir: &OwnedFd, path: &[u8], start: usize, nid: Nid) -> Result<Next> {
        let inode = self.setup.root.inode(nid)?;
        if inode.kind() != FileKind::Directory {
            return self.other(dir, path, start, inode);
        }
        if !self.dirs.insert(nid) {
            bail!("directory nid {nid} has another name already, and is restored there");
        }
        let place = Place::new(dir.as_fd(), &path[start..]).ok_or_else(not_a_name)?;
        Ok(Next::Directory(place.make_dir(self.setup.force)?, inode))
    }

    /// Restores an entry that is not a directory, but for the data of a file.
    fn other(&mut self, dir: &OwnedFd, path: &[u8], start: usize, inode: Inode) -> Result<Next> {
        let place = Place::new(dir.as_fd(), &path[start..]).ok_or_else(not_a_name)?;
        let first = self.names.get(&inode.nid());
        // A regular file replaces the old entry once it is whole.
        if self.setup.force && (inode.kind() != FileKind::Regular || first.is_some()) {
            place.clear()?;
        }
        if let Some(First { path: first, .. }) = first {
            let split = first.iter().rposition(|byte| *byte == b'/').ok_or_else(not_a_name)?;
            let dir = self.reopen(&first[..split])?;
            let first = Place::new(dir.as_fd(), &first[split + 1..]).ok_or_else(not_a_name)?;
            self.own.link(place, first)?;
        } else if inode.kind() == FileKind::Regular {
            return Ok(Next::File(inode));
        } else if self.own.special(place, &inode)? {
            self.restored(path, &inode);
        }
        Ok(Next::Done)
    }

    /// Keeps the first name of an inode.
    fn restored(&mut self, path: &[u8], inode: &Inode) {
        let has_more = inode.nlink() > 1;
        self.names.insert(inode.nid(), First { path: path.into(), has_more });
    }

    /// Takes what has ended.
    ///
    /// # Errors
    /// Someone asked to end, or the disk is full: no fault is reported after that.
    fn settle(&mut self, ended: Ended) -> Result<()> {
        self.setup.interrupt.check()?;
        match ended {
            Ended::File { path, inode, counts, result } => {
                self.under_way.remove(&inode.nid());
                self.counts.add(counts);
                match result {
                    Ok(()) => self.restored(&path, &inode),
                    Err(error) => self.fault(&path, &error)?,
                }
            }
            Ended::Fault(path, error) => self.fault(&path, &error)?,
            Ended::Directory { dir, path, inode } => {
                // The directory that everything lies in is shared by all paths.
                if !path.is_empty() {
                    self.dress(dir.as_fd(), &path, &inode)?;
                }
                self.counts.dirs += 1;
            }
        }
        Ok(())
    }

    fn dress(&mut self, dir: BorrowedFd<'_>, path: &[u8], inode: &Inode) -> Result<()> {
        let dressed = self.own.dress(Target::Open(dir), inode);
        dressed.or_else(|error| self.fault(path, &error))
    }

    /// Reports the fault of one entry.
    ///
    /// # Errors
    /// The disk takes nothing more, so each further entry would fail as well.
    fn fault(&mut self, path: &[u8], error: &anyhow::Error) -> Result<()> {
        if is_full(error) {
            bail!("{}: {error:#}; nothing more is restored", shown(path));
        }
        self.counts.failed += 1;
        self.setup.progress.suspend(|| note!("{}: {error:#}", shown(path)));
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
}

impl Level {
    fn new(dir: Arc<OwnedFd>, cursor: DirCursor, len: usize) -> Self {
        Self { dir: Some(dir), cursor, len }
    }
}

/// Returns whether the file system has no room or cannot be written. An attribute alone may find no
/// room on a disk that is not full; its error has a context.
fn is_full(error: &anyhow::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let first = error.chain().next().and_then(|cause| cause.downcast_ref::<io::Error>());
    first.is_some_and(|error| {
        matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
    })
}

/// Returns the error for a name that would lead elsewhere.
fn not_a_name() -> anyhow::Error {
    anyhow!("this is no name for a file")
}
