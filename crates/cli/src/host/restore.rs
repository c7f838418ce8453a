//! Making files of the host: relative to a directory that is held open.
//!
//! Always: a name is one component, and no symlink is followed: nothing is made outside the
//! directory, whatever the names and targets are.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rootlet::erofs::{FileKind, Inode, Mtime};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, RenameFlags, Timespec, Timestamps,
    UTIME_OMIT, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr, futimens, linkat, lsetxattr,
    makedev, mkdirat, mknodat, openat, renameat, renameat_with, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

const NS_PER_SECOND: u32 = 1_000_000_000;
const NEVER_OUT: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// An open directory, and a name in it that was checked.
#[derive(Clone, Copy, Debug)]
pub struct Place<'d> {
    dir: BorrowedFd<'d>,
    name: &'d OsStr,
}

impl<'d> Place<'d> {
    /// Returns `None` for a name that is empty, `.`, `..`, or has a slash or NUL.
    pub fn new(dir: BorrowedFd<'d>, name: &'d [u8]) -> Option<Self> {
        let stays = !name.is_empty() && name != b"." && name != b"..";
        let one = !name.iter().any(|byte| matches!(byte, b'/' | 0));
        (stays && one).then_some(Self { dir, name: OsStr::from_bytes(name) })
    }

    /// Makes a directory that only its owner can enter, or takes the one that is there, and
    /// opens it. An empty one that is not ours is found only if `reuse`.
    pub fn make_dir(self, reuse: bool) -> io::Result<OwnedFd> {
        match mkdirat(self.dir, self.name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) if reuse => {}
            Err(error) => return Err(error.into()),
        }
        self.open_dir()
    }

    /// Opens a directory that is there.
    pub fn open_dir(self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | NEVER_OUT;
        Ok(openat(self.dir, self.name, flags, Mode::empty())?)
    }

    /// Makes an empty file without a name, or with the name `.rootlet-PID-N` where the file system has
    /// no files without names.
    pub fn draft(self) -> io::Result<Draft<'d>> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(self.dir, ".", flags, mode) {
            Ok(file) => return Ok(Draft { file: file.into(), place: self, name: None }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | NEVER_OUT;
        let mut number = 0_u32;
        loop {
            let name = format!(".rootlet-{}-{number}", std::process::id());
            match openat(self.dir, name.as_str(), flags, mode) {
                Ok(file) => {
                    return Ok(Draft { file: file.into(), place: self, name: Some(name) });
                }
                Err(Errno::EXIST) if number < DRAFTS_MAX => number += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes a symlink; its target is text, and nobody looks where it leads.
    pub fn make_symlink(self, target: &[u8]) -> io::Result<()> {
        Ok(symlinkat(OsStr::from_bytes(target), self.dir, self.name)?)
    }

    /// Makes a second name of `existing`.
    pub fn make_link(self, existing: Place<'_>) -> io::Result<()> {
        Ok(linkat(existing.dir, existing.name, self.dir, self.name, AtFlags::empty())?)
    }

    /// Makes a device, fifo or socket with its permissions (the caller has no umask).
    pub fn make_node(self, inode: &Inode) -> io::Result<()> {
        let kind = match inode.kind() {
            FileKind::CharDevice => FileType::CharacterDevice,
            FileKind::BlockDevice => FileType::BlockDevice,
            FileKind::Fifo => FileType::Fifo,
            _ => FileType::Socket,
        };
        let device = inode.rdev().map_or(0, |rdev| makedev(rdev.major, rdev.minor));
        let mode = Mode::from_raw_mode(RawMode::from(inode.permissions()));
        Ok(mknodat(self.dir, self.name, kind, mode, device)?)
    }

    /// Removes a name that is not a directory's. A name that does not exist is not an error.
    pub fn clear(self) -> io::Result<()> {
        match unlinkat(self.dir, self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The way to it for calls that take no directory. The kernel follows only the handle.
    fn through_proc(self) -> Vec<u8> {
        let dir = format!("/proc/self/fd/{}/", self.dir.as_raw_fd());
        [dir.as_bytes(), self.name.as_bytes()].concat()
    }
}

/// How many names of drafts are tried.
const DRAFTS_MAX: u32 = 1000;

/// A file that does not have its name yet, and is removed unless it is published.
#[derive(Debug)]
pub struct Draft<'d> {
    file: File,
    place: Place<'d>,
    /// Its present name, where the file system has no files without names.
    name: Option<String>,
}

impl Draft<'_> {
    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name. With `force` it takes the place of what has the name.
    pub fn publish(mut self, force: bool) -> io::Result<()> {
        let Place { dir, name } = self.place;
        if let Some(draft) = &self.name {
            match force {
                true => renameat(dir, draft.as_str(), dir, name)?,
                false => renameat_with(dir, draft.as_str(), dir, name, RenameFlags::NOREPLACE)?,
            }
            self.name = None;
            return Ok(());
        }
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let link = || linkat(CWD, own.as_str(), dir, name, AtFlags::SYMLINK_FOLLOW);
        match link() {
            Err(Errno::EXIST) if force => {
                self.place.clear()?;
                Ok(link()?)
            }
            linked => Ok(linked?),
        }
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // An error reaches nobody here.
            let _ = unlinkat(self.place.dir, name.as_str(), AtFlags::empty());
        }
    }
}

/// What gets attributes: an open file or directory, or a name of something that is not opened.
#[derive(Clone, Copy, Debug)]
pub enum Target<'d> {
    /// Open.
    Open(BorrowedFd<'d>),
    /// A symlink, device, fifo or socket.
    Named(Place<'d>),
}

impl Target<'_> {
    /// Sets owner and group.
    pub fn set_owner(self, uid: u32, gid: u32) -> io::Result<()> {
        // All ones would mean to leave it.
        let (uid, gid) = (owner(uid).map(Uid::from_raw), owner(gid).map(Gid::from_raw));
        Ok(match self {
            Self::Open(fd) => fchown(fd, uid, gid),
            Self::Named(Place { dir, name }) => {
                chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }?)
    }

    /// Sets the permissions of an open file; a named one was made with them.
    pub fn set_permissions(self, permissions: u16) -> io::Result<()> {
        match self {
            Self::Open(fd) => Ok(fchmod(fd, Mode::from_raw_mode(RawMode::from(permissions)))?),
            Self::Named(_) => Ok(()),
        }
    }

    /// Sets an extended attribute.
    pub fn set_xattr(self, name: &OsStr, value: &[u8]) -> io::Result<()> {
        Ok(match self {
            Self::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Named(place) => lsetxattr(place.through_proc(), name, value, XattrFlags::empty()),
        }?)
    }

    /// Sets the time of modification.
    pub fn set_mtime(self, mtime: Mtime) -> io::Result<()> {
        // An image may hold a second and more of nanoseconds, the call takes less than one.
        let more = i64::from(mtime.nanoseconds / NS_PER_SECOND);
        let tv_sec = mtime.seconds.checked_add(more).ok_or(Errno::OVERFLOW)?;
        let tv_nsec = (mtime.nanoseconds % NS_PER_SECOND).into();
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec, tv_nsec },
        };
        Ok(match self {
            Self::Open(fd) => futimens(fd, &times),
            Self::Named(Place { dir, name }) => {
                utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }?)
    }
}

fn owner(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}
