//! `extract`: restores what lies below a path of an image into a directory of this machine.
//!
//! Always: nothing is written outside that directory; a restored file has all its bytes; an entry
//! that cannot be restored has a line on standard error, and the command continues.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use rootlet::erofs::{FileKind, Inode, Nid};
use rootlet::read::DirGuard;
use rootlet::read::{DirCursor, PATH_BYTES_MAX, XATTR_BYTES_MAX};
use rootlet::storage::Storage;
use rootlet_guest::{GuestRoot, catch_up};
use rustix::fs::Mode;

use super::args::{ExtractArgs, named};
use super::data::run_at;
use super::restore::{Place, Target};
use crate::exit::usage;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::shown::shown;
use crate::source::open;

/// Bytes read and written at once.
const PIECE_BYTES: usize = 1 << 20;
/// Directories held open at once; those above are opened again on the way back.
const OPEN_MAX: usize = 64;

/// What is asked for.
struct Request {
    /// Where to.
    dir: PathBuf,
    /// What of the image.
    path: String,
    /// Whether the directory may hold something, which is replaced where names are the same.
    force: bool,
    /// Whether an earlier path was restored there.
    again: bool,
}

impl Request {
    /// Makes the directory, or takes one that is empty.
    fn open_dir(&self) -> Result<OwnedFd> {
        let dir = &self.dir;
        let of_dir = || dir.display().to_string();
        fs::create_dir_all(dir).with_context(of_dir)?;
        if !self.force && !self.again && fs::read_dir(dir).with_context(of_dir)?.next().is_some() {
            bail!("{}: is not empty; --force replaces what has the same names", dir.display());
        }
        Ok(File::open(dir).with_context(of_dir)?.into())
    }
}

/// What was done, and what this user or file system did not permit.
#[derive(Debug, Default)]
struct Counts {
    files: u64,
    dirs: u64,
    links: u64,
    others: u64,
    bytes: u64,
    no_owner: u64,
    no_device: u64,
    no_xattr: u64,
    failed: u64,
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
    names: HashMap<Nid, Box<[u8]>>,
    dirs: HashSet<Nid>,
    data: Vec<u8>,
    xattrs: Vec<u8>,
    counts: Counts,
    interrupt: &'r Interrupt,
    progress: Progress,
}

/// The task.
pub fn task(args: &ExtractArgs, interrupt: &Interrupt) -> Result<()> {
    let image = named(args.image.as_ref())?;
    let dir = args.dir.as_ref().ok_or_else(|| usage("no DIR given (see --help)"))?;
    let opened = open(image, &args.read.source, args.read.verbose)?;
    let mut result = Ok(());
    for (number, path) in args.paths.iter().enumerate() {
        // The directory holds the files of the earlier paths.
        let force = args.force;
        let request = Request { dir: dir.into(), path: path.clone(), force, again: number > 0 };
        let restored = restore(&opened.root, &request, interrupt);
        result = result.and(restored);
        if interrupt.check().is_err() {
            break;
        }
    }
    opened.leave();
    result
}

/// Restores what lies below a path. Memory: a path for every inode that is restored.
fn restore<S: Storage>(
    root: &GuestRoot<S>,
    request: &Request,
    interrupt: &Interrupt,
) -> Result<()> {
    let top = root.metadata(request.path.as_bytes());
    let top = top.with_context(|| shown(request.path.as_bytes()))?;
    let mut extract = Extract {
        root,
        base: request.open_dir()?,
        force: request.force,
        is_root: rustix::process::geteuid().is_root(),
        names: HashMap::new(),
        dirs: HashSet::new(),
        data: vec![0; PIECE_BYTES],
        xattrs: vec![0; XATTR_BYTES_MAX],
        counts: Counts::default(),
        interrupt,
        progress: Progress::of_entries(root.superblock().inodes()),
    };
    let umask = rustix::process::umask(Mode::empty());
    let result = extract.run(&top, request);
    rustix::process::umask(umask);
    result?;
    extract.counts.tell(extract.is_root)
}

impl<S: Storage> Extract<'_, S> {
    fn run(&mut self, top: &Inode, request: &Request) -> Result<()> {
        if top.kind() == FileKind::Directory {
            return self.tree(*top);
        }
        let name = Path::new(&request.path).file_name().unwrap_or_default();
        let dir = self.base.try_clone()?;
        let path = [b"/", name.as_bytes()].concat();
        let done = self.other(dir.as_fd(), &path, 1, top);
        self.interrupt.check()?;
        self.judge(&path, done);
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
                let dressed = self.dress(Target::Open(dir.as_fd()), &inode);
                self.judge(&path, dressed);
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

    /// Restores the last name of `path`, which begins at `start`; a directory comes back open and
    /// empty.
    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        start: usize,
        nid: Nid,
    ) -> Result<Option<(OwnedFd, Inode)>> {
        let inode = self.root.inode(nid)?;
        if inode.kind() != FileKind::Directory {
            return self.other(dir, path, start, &inode).map(|()| None);
        }
        if !self.dirs.insert(nid) {
            bail!("directory nid {nid} has another name already, and is restored there");
        }
        let place = Place::new(dir, &path[start..]).ok_or_else(not_a_name)?;
        Ok(Some((place.make_dir(self.force)?, inode)))
    }

    /// Restores an entry that is not a directory.
    fn other(
        &mut self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        start: usize,
        inode: &Inode,
    ) -> Result<()> {
        let place = Place::new(dir, &path[start..]).ok_or_else(not_a_name)?;
        // A regular file replaces the old entry once it is whole.
        if self.force
            && (inode.kind() != FileKind::Regular || self.names.contains_key(&inode.nid()))
        {
            place.clear()?;
        }
        if let Some(first) = self.names.get(&inode.nid()) {
            let split = first.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let dir = self.reopen(&first[..split])?;
            let first = Place::new(dir.as_fd(), &first[split + 1..]).ok_or_else(not_a_name)?;
            place.make_link(first)?;
            self.counts.links += 1;
            return Ok(());
        }
        match inode.kind() {
            FileKind::Regular => self.file(place, inode)?,
            FileKind::Symlink => {
                let mut target = vec![0; PATH_BYTES_MAX];
                place.make_symlink(self.root.read_link_inode(inode, &mut target)?)?;
                self.dress(Target::Named(place), inode)?;
                self.counts.others += 1;
            }
            _ => match place.make_node(inode) {
                Err(error) if denied(&error) => {
                    self.counts.no_device += 1;
                    return Ok(());
                }
                made => {
                    made?;
                    self.dress(Target::Named(place), inode)?;
                    self.counts.others += 1;
                }
            },
        }
        self.names.insert(inode.nid(), path.into());
        Ok(())
    }

    /// Restores a file, which gets its name once all bytes are written: half a file would pass for a
    /// whole one.
    fn file(&mut self, place: Place<'_>, inode: &Inode) -> Result<()> {
        let draft = place.draft()?;
        self.fill(draft.file(), inode)?;
        self.dress(Target::Open(draft.file().as_fd()), inode)?;
        draft.publish(self.force)?;
        self.counts.files += 1;
        Ok(())
    }

    /// Writes the data; holes stay holes.
    fn fill(&mut self, file: &File, inode: &Inode) -> Result<()> {
        let from = self.root.open_inode(*inode)?;
        file.set_len(inode.size())?;
        let mut offset = 0;
        while offset < inode.size() {
            let run = run_at(self.root, inode, offset, PIECE_BYTES as u64)?;
            while !run.hole && offset < run.end {
                let len = self.data.len().min((run.end - offset) as usize);
                let got = from.read_at(offset, &mut self.data[..len])?;
                if got != len {
                    bail!("only {got} of {len} bytes at byte {offset}");
                }
                file.write_all_at(&self.data[..len], offset)?;
                catch_up(self.root);
                self.interrupt.check()?;
                self.progress.touch();
                offset += len as u64;
                self.counts.bytes += len as u64;
            }
            offset = run.end;
        }
        Ok(())
    }

    /// Owner first, because that takes set-id bits and capabilities away; the time last.
    fn dress(&mut self, target: Target<'_>, inode: &Inode) -> Result<()> {
        let owned = target.set_owner(inode.uid(), inode.gid()).is_ok();
        self.counts.no_owner += u64::from(!owned);
        let denials = &mut self.counts.no_xattr;
        let mut failed = Ok(());
        self.root.xattrs(inode, &mut self.xattrs, |name, value| {
            let name = name.parts().concat();
            match target.set_xattr(OsStr::from_bytes(&name), value) {
                Err(error) if denied(&error) => *denials += 1,
                Err(error) => {
                    failed = Err(error).with_context(|| format!("xattr {}", shown(&name)));
                }
                Ok(()) => {}
            }
            Ok(())
        })?;
        failed?;
        let set_id = if owned { 0 } else { 0o6000 };
        target.set_permissions(inode.permissions() & !set_id).context("mode")?;
        target.set_mtime(inode.mtime()).context("mtime")
    }

    fn judge(&mut self, path: &[u8], result: Result<()>) {
        if let Err(error) = result {
            self.counts.failed += 1;
            self.progress.suspend(|| eprintln!("{}: {error:#}", shown(path)));
        }
    }
}

impl Counts {
    fn tell(&self, is_root: bool) -> Result<()> {
        let Self { files, dirs, links, others, .. } = self;
        let bytes = crate::size::human(self.bytes);
        eprintln!(
            "extract {files} files with {bytes}, {dirs} directories, {links} hard links, {others} others"
        );
        let why = if is_root { "not permitted" } else { "only root may" };
        for (count, what) in [
            (self.no_owner, "owners, and set-id bits with them"),
            (self.no_device, "devices or other special files"),
            (self.no_xattr, "xattrs"),
        ] {
            if count > 0 {
                eprintln!("        without {count} {what} ({why})");
            }
        }
        match self.failed {
            0 => Ok(()),
            1 => Err(anyhow!("1 entry could not be restored")),
            failed => Err(anyhow!("{failed} entries could not be restored")),
        }
    }
}

fn not_a_name() -> anyhow::Error {
    anyhow!("this is no name for a file")
}

/// Whether the user or the file system does not allow it, whatever the image says.
fn denied(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error();
    [Errno::PERM, Errno::ACCESS, Errno::OPNOTSUPP].iter().any(|e| errno == Some(e.raw_os_error()))
}
