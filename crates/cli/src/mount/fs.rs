//! The requests of the kernel, each answered from the image.
//!
//! Always: an image never changes, so the kernel may keep every answer.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use fuser::{
    Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use rootlet::read::NAME_BYTES_MAX;

use super::Event;
use super::attr::NOTHING;
use super::served::{Served, Sought};

/// How long the kernel may keep names and attributes: a year. They never change.
const KEPT: Duration = Duration::from_secs(365 * 24 * 3600);
/// An inode number always means the same file.
const GENERATION: Generation = Generation(0);
/// Open files have no handles: their inode numbers are enough.
const NO_HANDLE: FileHandle = FileHandle(0);
/// Requests that nobody waits for, such as those that read ahead, at a time.
const BACKGROUND_MAX: u16 = 64;

/// What the kernel is asked to do by itself. A kernel that cannot do so sends more requests.
const WANTED: [InitFlags; 7] = [
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_NO_OPENDIR_SUPPORT,
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_EXPORT_SUPPORT,
];

thread_local! {
    /// Bytes of a file on their way to the kernel.
    static DATA: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The file system that answers the kernel.
pub struct Tree {
    served: Arc<Served>,
    /// Receives that the kernel has ended the session.
    ended: Sender<Event>,
    /// Whether the kernel opens directories by itself.
    opens_directories: bool,
}

impl Tree {
    /// Returns a file system that answers from `served`.
    pub fn new(served: Arc<Served>, ended: Sender<Event>) -> Self {
        Self { served, ended, opens_directories: false }
    }
}

impl Filesystem for Tree {
    fn init(&mut self, _: &Request, kernel: &mut KernelConfig) -> io::Result<()> {
        for wanted in WANTED {
            let _ = kernel.add_capabilities(wanted);
        }
        let _ = kernel.set_max_background(BACKGROUND_MAX);
        self.opens_directories = kernel.capabilities().contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        Ok(())
    }

    fn destroy(&mut self) {
        // Nobody listens where the mount has ended otherwise.
        let _ = self.ended.send(Event::Ended);
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.served.find(parent, name.as_bytes()) {
            Ok(found) => reply.entry(&KEPT, &found.unwrap_or(NOTHING), GENERATION),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.served.attr(ino) {
            Ok(attr) => reply.attr(&KEPT, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.served.target(ino) {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let kept = FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH;
        match self.served.open(ino) {
            Ok(()) => reply.opened(NO_HANDLE, kept),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        DATA.with_borrow_mut(|data| {
            // At most the longest request that the kernel was allowed, 16 MiB.
            let len = size as usize;
            if data.len() < len {
                data.resize(len, 0);
            }
            match self.served.read(ino, offset, &mut data[..len]) {
                Ok(len) => reply.data(&data[..len]),
                Err(errno) => reply.error(errno),
            }
        });
        self.served.catch_up();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.opens_directories {
            // From now on the kernel opens directories by itself, and keeps their lists.
            return reply.error(Errno::ENOSYS);
        }
        reply.opened(NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        place: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.served.list(ino, place, false, &mut |entry| {
            reply.add(entry.ino, entry.next, entry.kind, OsStr::from_bytes(entry.name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        place: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.served.list(ino, place, true, &mut |entry| {
            let name = OsStr::from_bytes(entry.name);
            match &entry.attr {
                Some(attr) => reply.add(entry.ino, entry.next, name, &KEPT, attr, GENERATION),
                // A node of 0 is a name whose attributes are not said; number and type are.
                None => {
                    let attr = FileAttr { ino: entry.ino, kind: entry.kind, ..NOTHING };
                    let none = Duration::ZERO;
                    reply.add(INodeNo(0), entry.next, name, &none, &attr, GENERATION)
                }
            }
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let room = self.served.room();
        let (bytes, names) = (room.block_bytes, NAME_BYTES_MAX as u32);
        reply.statfs(room.blocks, 0, 0, room.inodes, 0, bytes, names, bytes);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = self.served.xattr(ino, name.as_bytes());
        sized(value.and_then(|value| value.ok_or(Errno::NO_XATTR)), size, reply);
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        sized(self.served.xattr_names(ino, request.uid() == 0), size, reply);
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let sought = match whence {
            SEEK_DATA => Sought::Data,
            SEEK_HOLE => Sought::Hole,
            // The kernel does the others.
            _ => return reply.error(Errno::EINVAL),
        };
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        match self.served.seek(ino, offset, sought) {
            // Files are shorter than 2^63.
            Ok(Some(at)) => reply.offset(at as i64),
            Ok(None) => reply.error(Errno::ENXIO),
            Err(errno) => reply.error(errno),
        }
    }
}

/// `whence` of lseek(2), as Linux numbers them.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// Answers with the bytes, or with their number where the kernel has no room for any.
fn sized(bytes: Result<Vec<u8>, Errno>, room: u32, reply: ReplyXattr) {
    match bytes {
        // Names and values are less than 2^32 bytes: an inode has at most 17 MiB of them.
        Ok(bytes) if room == 0 => reply.size(bytes.len() as u32),
        Ok(bytes) if bytes.len() > room as usize => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(&bytes),
        Err(errno) => reply.error(errno),
    }
}
