//! `extract`: restores what lies below a path of an image into a directory of this machine.
//!
//! Always: nothing is written outside that directory; a file that is there afterwards has all its
//! bytes; what could not be restored is told by its path, and the rest goes on.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rootlet::erofs::{FileKind, Inode, Nid};
use rootlet::read::DirGuard;
use rootlet::read::{DirCursor, PATH_BYTES_MAX, XATTR_BYTES_MAX};
use rootlet::storage::Storage;
use rootlet_guest::{GuestRoot, catch_up};
use rustix::fs::Mode;

use crate::data::run_at;
use crate::exit::usage;
use crate::interrupt::Interrupt;
use crate::restore::{Place, Target};
use crate::shown::shown;

/// Bytes read and written at once.
const PIECE_BYTES: usize = 1 << 20;
/// Directories held open at once; those above are opened again on the way back.
const OPEN_MAX: usize = 64;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    dir: PathBuf,
    /// What of the image.
    path: String,
    /// Whether the directory may hold something, which is replaced where names are the same.
    force: bool,
}

impl Request {
    /// From the words behind `extract`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let force = words.iter().any(|word| word == "--force");
        let names: Vec<&String> = words.iter().filter(|word| *word != "--force").collect();
        let path = match names.as_slice() {
            [_] => "/",
            [_, path] => path.as_str(),
            _ => return Err(usage("extract takes DIR [PATH] [--force]")),
        };
        Ok(Self { dir: names[0].into(), path: path.into(), force })
    }

    /// Makes the directory, or takes one that is empty.
    fn open_dir(&self) -> Result<OwnedFd> {
        let dir = &self.dir;
        let of_dir = || dir.display().to_string();
        fs::create_dir_all(dir).with_context(of_dir)?;
        if !self.force && fs::read_dir(dir).with_context(of_dir)?.next().is_some() {
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
    /// Length of its path.
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
    bar: ProgressBar,
}

/// The task. Memory: a path for every inode that is restored.
pub fn task<S: Storage>(
    root: &GuestRoot<S>,
    request: &Request,
    interrupt: &Interrupt,
) -> Result<()> {
    let top = root.metadata(request.path.as_bytes());
    let top = top.with_context(|| shown(request.path.as_bytes()))?;
    let bar = ProgressBar::new(root.superblock().inodes);
    let style = "{spinner} {pos} of {len} inodes  {wide_msg}";
    bar.set_style(ProgressStyle::with_template(style)?);
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
        bar,
    };
    let umask = rustix::process::umask(Mode::empty());
    let result = extract.run(&top, request, interrupt);
    rustix::process::umask(umask);
    extract.bar.finish_and_clear();
    result?;
    extract.counts.tell(extract.is_root)
}

impl<S: Storage> Extract<'_, S> {
    fn run(&mut self, top: &Inode, request: &Request, interrupt: &Interrupt) -> Result<()> {
        if top.kind == FileKind::Directory {
            return self.tree(*top, interrupt);
        }
        let name = Path::new(&request.path).file_name().unwrap_or_default();
        let dir = self.base.try_clone()?;
        let path = [b"/", name.as_bytes()].concat();
        let done = self.other(dir.as_fd(), &path, 1, top);
        self.judge(&path, done);
        Ok(())
    }

    /// Everything below a directory. Every directory is entered once, so this ends.
    fn tree(&mut self, top: Inode, interrupt: &Interrupt) -> Result<()> {
        let mut path = Vec::new();
        self.dirs.insert(top.nid);
        let mut guard = DirGuard::new();
        guard.begin(self.root);
        guard.enter(&top)?;
        let cursor = self.root.read_dir_inode(top)?;
        let mut open = vec![Level { dir: Some(self.base.try_clone()?), cursor, len: 0 }];
        while let Some(level) = open.last_mut() {
            interrupt.check()?;
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
            self.bar.inc(1);
            self.bar.set_message(shown(&path));
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
                made => self.judge(&path, made.map(|_| ())),
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
        if inode.kind != FileKind::Directory {
            return self.other(dir, path, start, &inode).map(|()| None);
        }
        if !self.dirs.insert(nid) {
            bail!("directory nid {nid} has another name already, and is restored there");
        }
        let place = Place::new(dir, &path[start..]).ok_or_else(not_a_name)?;
        Ok(Some((place.make_dir(self.force)?, inode)))
    }

    /// Restores what is no directory.
    fn other(
        &mut self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        start: usize,
        inode: &Inode,
    ) -> Result<()> {
        let place = Place::new(dir, &path[start..]).ok_or_else(not_a_name)?;
        if self.force {
            place.clear()?;
        }
        if let Some(first) = self.names.get(&inode.nid) {
            let split = first.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            let dir = self.reopen(&first[..split])?;
            let first = Place::new(dir.as_fd(), &first[split + 1..]).ok_or_else(not_a_name)?;
            place.make_link(first)?;
            self.counts.links += 1;
            return Ok(());
        }
        match inode.kind {
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
        self.names.insert(inode.nid, path.into());
        Ok(())
    }

    fn file(&mut self, place: Place<'_>, inode: &Inode) -> Result<()> {
        let file = place.make_file()?;
        let written = self.fill(&file, inode);
        let done = written.and_then(|()| self.dress(Target::Open(file.as_fd()), inode));
        if done.is_err() {
            // Half a file would pass for a whole one.
            place.clear()?;
            return done;
        }
        self.counts.files += 1;
        Ok(())
    }

    /// Writes the data; holes stay holes.
    fn fill(&mut self, file: &File, inode: &Inode) -> Result<()> {
        let from = self.root.open_inode(*inode)?;
        file.set_len(inode.size)?;
        let mut offset = 0;
        while offset < inode.size {
            let run = run_at(self.root, inode, offset, PIECE_BYTES as u64)?;
            while !run.hole && offset < run.end {
                let len = self.data.len().min((run.end - offset) as usize);
                let got = from.read_at(offset, &mut self.data[..len])?;
                if got != len {
                    bail!("only {got} of {len} bytes at byte {offset}");
                }
                file.write_all_at(&self.data[..len], offset)?;
                catch_up(self.root);
                offset += len as u64;
                self.counts.bytes += len as u64;
            }
            offset = run.end;
        }
        Ok(())
    }

    /// Owner first, because that takes set-id bits and capabilities away; the time last.
    fn dress(&mut self, target: Target<'_>, inode: &Inode) -> Result<()> {
        let owned = target.set_owner(inode.uid, inode.gid).is_ok();
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
        target.set_permissions(inode.permissions & !set_id).context("mode")?;
        target.set_mtime(inode.mtime).context("mtime")
    }

    fn judge(&mut self, path: &[u8], result: Result<()>) {
        if let Err(error) = result {
            self.counts.failed += 1;
            self.bar.suspend(|| eprintln!("{}: {error:#}", shown(path)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Request> {
        Request::parse(&words.iter().map(|word| (*word).to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn words_name_a_directory_a_path_and_force() {
        let want = |path: &str, force| Request { dir: "out".into(), path: path.into(), force };
        assert_eq!(parsed(&["out"]).unwrap(), want("/", false));
        assert_eq!(parsed(&["out", "/etc"]).unwrap(), want("/etc", false));
        assert_eq!(parsed(&["--force", "out"]).unwrap(), want("/", true));
        for words in [&[][..], &["--force"], &["a", "b", "c"]] {
            assert_eq!(crate::exit::status_of(&parsed(words).unwrap_err()), crate::exit::USAGE);
        }
    }
}
