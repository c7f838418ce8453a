//! The image by inode numbers: the questions of the kernel, in the terms of the library.
//!
//! Always: an answer is the library's, or an error number. Questions read the image at once; the end
//! waits for those under way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;

use fuser::{Errno, FileAttr, FileType, INodeNo};
use rootlet::Error;
use rootlet::erofs::{BlockSize, FileKind, Inode, Layout, Nid};
use rootlet::read::{DirEntry, PATH_BYTES_MAX, XATTR_BYTES_MAX};
use rootlet_guest::{Counters, catch_up};

use super::attr::{attr, file_type};
use super::faults::Faults;
use super::ids::Ids;
use crate::host::data::run_at;
use crate::source::Opened;

/// How far a search for data or holes looks at once, in bytes.
const SEARCH_BYTES: u64 = 1 << 30;
/// Places in a directory: `.`, `..`, and then bytes of the directory from the third on.
const DOTS: u64 = 2;

/// An image that is served.
pub struct Served {
    /// `None` after the end: later questions get an error.
    opened: RwLock<Option<Opened>>,
    /// Whether a question ended in a panic: what is in memory may be wrong since.
    is_broken: AtomicBool,
    ids: Ids,
    block_size: BlockSize,
    room: Room,
    faults: Faults,
}

/// The answer to `statfs`.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Size of a block in bytes.
    pub block_bytes: u32,
    /// Blocks of the image and of its blobs.
    pub blocks: u64,
    /// Inodes of the image.
    pub inodes: u64,
}

/// An entry of a directory.
pub struct Listed<'n> {
    /// The place after this entry.
    pub next: u64,
    /// The number of its inode.
    pub ino: INodeNo,
    /// Its type.
    pub kind: FileType,
    /// Its name.
    pub name: &'n [u8],
    /// What `stat` says of it, if that was asked for and can be read.
    pub attr: Option<FileAttr>,
}

/// What a search in a file looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// Bytes that are stored.
    Data,
    /// A hole; the end of a file is one.
    Hole,
}

impl Served {
    /// Returns an image ready to be asked.
    pub fn new(opened: Opened) -> Self {
        let superblock = opened.root.superblock();
        let (mut blocks, mut inodes) = (0, 0);
        for (_, bound) in opened.mounted.numbered() {
            let (superblock, image) = (bound.image.superblock(), &bound.image);
            let own = match superblock.blocks() {
                0 => superblock.block_size().blocks_of(image.bytes()),
                blocks => blocks,
            };
            let slots = image.devices().iter().map(|(_, slot)| slot.blocks());
            // Fewer than 2^16 devices of fewer than 2^48 blocks each, in the blocks of the top.
            blocks += own + slots.sum::<u64>();
            inodes += superblock.inodes();
        }
        // At most 64 KiB.
        let block_bytes = superblock.block_size().bytes() as u32;
        let room = Room { block_bytes, blocks, inodes };
        Self {
            ids: Ids::new(superblock.root()),
            block_size: superblock.block_size(),
            room,
            opened: RwLock::new(Some(opened)),
            is_broken: AtomicBool::new(false),
            faults: Faults::default(),
        }
    }

    /// Ends: leaves the region in order, reads no more, and returns what was read. After a bug the
    /// region stays as it is, which it has to bear at any instant.
    pub fn end(&self) -> Option<Counters> {
        let opened = self.opened.write().unwrap_or_else(PoisonError::into_inner).take()?;
        if self.is_broken.load(Ordering::SeqCst) {
            return None;
        }
        opened.leave();
        Some(Counters::of(&opened.root))
    }

    /// Returns what `statfs` says.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Returns what `stat` says.
    pub fn attr(&self, ino: INodeNo) -> Result<FileAttr, Errno> {
        self.ask(ino, |_, inode| Ok(self.attr_of(inode)))
    }

    /// Returns what `stat` says of the entry `name` of a directory, if there is one.
    pub fn find(&self, dir: INodeNo, name: &[u8]) -> Result<Option<FileAttr>, Errno> {
        self.ask(dir, |opened, dir| {
            let found = match name {
                b"." => Some(*dir),
                b".." => Some(self.parent(opened, dir)?),
                _ => opened.root.find(dir, name)?,
            };
            Ok(found.map(|inode| self.attr_of(&inode)))
        })
    }

    /// Returns the target of a symlink.
    pub fn target(&self, ino: INodeNo) -> Result<Vec<u8>, Errno> {
        self.ask(ino, |opened, inode| {
            let mut target = vec![0; PATH_BYTES_MAX];
            let len = opened.root.read_link_inode(inode, &mut target)?.len();
            target.truncate(len);
            Ok(target)
        })
    }

    /// Succeeds if the bytes of a file can be read.
    pub fn open(&self, ino: INodeNo) -> Result<(), Errno> {
        self.ask(ino, |opened, inode| opened.root.open_inode(*inode).map(drop))
    }

    /// Fills `out` with bytes of a file, and returns how many there were: fewer at the end only.
    pub fn read(&self, ino: INodeNo, offset: u64, out: &mut [u8]) -> Result<usize, Errno> {
        self.ask(ino, |opened, inode| opened.root.open_inode(*inode)?.read_at(offset, out))
    }

    /// Gives the region time to take in what was read, if more than half of its buffers are full.
    pub fn catch_up(&self) {
        let _watch = Watch(&self.is_broken);
        if let Some(opened) = &*self.opened() {
            catch_up(&opened.root);
        }
    }

    /// Calls `add` with the entries of a directory from `place` on, until `add` returns true. An
    /// entry whose inode cannot be read is one without attributes.
    ///
    /// # Errors
    /// Those of the first entry. An error of a later entry ends the list; the call for the rest
    /// returns the error.
    pub fn list(
        &self,
        dir: INodeNo,
        place: u64,
        with_attrs: bool,
        add: &mut dyn FnMut(&Listed<'_>) -> bool,
    ) -> Result<(), Errno> {
        self.ask(dir, |opened, dir| {
            let mut added = false;
            let result = self.entries(opened, dir, place, with_attrs, &mut |listed| {
                added = true;
                add(listed)
            });
            result.or_else(|error| if added { Ok(()) } else { Err(error) })
        })
    }

    fn entries(
        &self,
        opened: &Opened,
        dir: &Inode,
        place: u64,
        with_attrs: bool,
        add: &mut dyn FnMut(&Listed<'_>) -> bool,
    ) -> Result<(), Error> {
        let own = |next: u64, name: &'static [u8], inode: &Inode| {
            let attr = self.attr_of(inode);
            Listed { next, ino: attr.ino, kind: attr.kind, name, attr: Some(attr) }
        };
        if place == 0 && add(&own(1, b".", dir)) {
            return Ok(());
        }
        if place < DOTS {
            // A wrong one hides no other entry.
            let parent = self.parent(opened, dir).unwrap_or_else(|error| {
                self.faults.errno(dir.nid(), &error);
                *dir
            });
            if add(&own(DOTS, b"..", &parent)) {
                return Ok(());
            }
        }
        let mut cursor = opened.root.read_dir_at(*dir, place.max(DOTS) - DOTS)?;
        let mut entry = DirEntry::default();
        loop {
            let attr = if with_attrs {
                match cursor.next_inode(&opened.root, &mut entry) {
                    Ok(Some(inode)) => Some(self.attr_of(&inode)),
                    Ok(None) => return Ok(()),
                    Err(error) if entry.name.is_empty() => return Err(error),
                    Err(error) => {
                        self.faults.errno(entry.nid, &error);
                        None
                    }
                }
            } else {
                match cursor.next(&opened.root)? {
                    Some(next) => entry = next,
                    None => return Ok(()),
                }
                None
            };
            let kind = match (entry.kind, &attr) {
                (Some(kind), _) => file_type(kind),
                (None, _) => self.kind(opened, entry.nid),
            };
            // A directory has fewer than 2^63 bytes.
            let next = cursor.position()? + DOTS;
            let (ino, name) = (self.ids.ino(entry.nid), entry.name.as_slice());
            if add(&Listed { next, ino, kind, name, attr }) {
                return Ok(());
            }
        }
    }

    /// Returns the type of an inode that its entry does not say. One that cannot be read has to
    /// have one, too: `stat` says what is wrong.
    fn kind(&self, opened: &Opened, nid: Nid) -> FileType {
        match opened.root.inode(nid) {
            Ok(inode) => file_type(inode.kind()),
            Err(error) => {
                self.faults.errno(nid, &error);
                FileType::RegularFile
            }
        }
    }

    /// Returns the directory above, as `..` says; the root's is the root.
    fn parent(&self, opened: &Opened, dir: &Inode) -> Result<Inode, Error> {
        if self.ids.ino(dir.nid()) == INodeNo::ROOT || dir.kind() != FileKind::Directory {
            return Ok(*dir);
        }
        Ok(opened.root.find(dir, b"..")?.unwrap_or(*dir))
    }

    /// Returns the value of an xattr, if there is one of that name.
    pub fn xattr(&self, ino: INodeNo, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        self.ask(ino, |opened, inode| {
            if inode.xattrs().is_none() {
                return Ok(None);
            }
            let mut value = vec![0; usize::from(u16::MAX)];
            let len = opened.root.xattr(inode, name, &mut value)?.map(|value| value.len());
            Ok(len.map(|len| {
                value.truncate(len);
                value
            }))
        })
    }

    /// Returns the names of all xattrs, each with a NUL after it; without `trusted` those that only
    /// root may see are left out, as Linux does.
    pub fn xattr_names(&self, ino: INodeNo, trusted: bool) -> Result<Vec<u8>, Errno> {
        self.ask(ino, |opened, inode| {
            let mut names = Vec::new();
            if inode.xattrs().is_none() {
                return Ok(names);
            }
            let mut buffer = vec![0; XATTR_BYTES_MAX];
            opened.root.xattrs(inode, &mut buffer, |name, _| {
                if trusted || name.prefix != "trusted." {
                    names.extend_from_slice(&name.parts().concat());
                    names.push(0);
                }
                Ok(())
            })?;
            Ok(names)
        })
    }

    /// Returns the first byte of what is sought, from `offset` on; `None` where none follows.
    pub fn seek(&self, ino: INodeNo, offset: u64, sought: Sought) -> Result<Option<u64>, Errno> {
        let inode = self.ask(ino, |_, inode| Ok(*inode))?;
        let mut at = match inode.layout() {
            Layout::Chunked(map) => offset >> map.chunk_bits() << map.chunk_bits(),
            _ => offset,
        };
        if offset >= inode.size() {
            return Ok(None);
        }
        // The mount may end between two pieces.
        while at < inode.size() {
            let run = self.ask(ino, |opened, inode| {
                let file = opened.root.open_inode(*inode)?;
                run_at(&opened.root, file.inode(), at, SEARCH_BYTES)
            })?;
            if run.hole == (sought == Sought::Hole) {
                return Ok(Some(at.max(offset)));
            }
            at = run.end;
        }
        Ok((sought == Sought::Hole).then_some(inode.size()))
    }

    fn attr_of(&self, inode: &Inode) -> FileAttr {
        attr(self.ids.ino(inode.nid()), inode, self.block_size)
    }

    /// Asks about an inode.
    fn ask<T>(
        &self,
        ino: INodeNo,
        question: impl FnOnce(&Opened, &Inode) -> Result<T, Error>,
    ) -> Result<T, Errno> {
        let nid = self.ids.nid(ino);
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(Errno::EIO);
        }
        let _watch = Watch(&self.is_broken);
        let opened = self.opened();
        let opened = opened.as_ref().ok_or(Errno::ENOTCONN)?;
        let inode = opened.root.inode(nid);
        let answer = inode.and_then(|inode| question(opened, &inode));
        answer.map_err(|error| self.faults.errno(nid, &error))
    }

    fn opened(&self) -> RwLockReadGuard<'_, Option<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes a panic of the thread that drops it.
struct Watch<'s>(&'s AtomicBool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;
    use std::sync::atomic::AtomicUsize;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::source::{SourceArgs, open};

    fn served() -> Served {
        let image = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/tiny.erofs");
        Served::new(open(Some(&image), &SourceArgs::default(), false).unwrap())
    }

    #[test]
    fn a_question_under_way_holds_up_no_other() {
        let (served, inside) = (served(), AtomicUsize::new(0));
        let question = || {
            served.ask(INodeNo::ROOT, |_, _| {
                inside.fetch_add(1, Ordering::SeqCst);
                let end = Instant::now() + Duration::from_secs(20);
                while inside.load(Ordering::SeqCst) < 2 && Instant::now() < end {
                    thread::yield_now();
                }
                Ok(inside.load(Ordering::SeqCst))
            })
        };
        let seen = thread::scope(|scope| {
            let other = scope.spawn(question);
            [question(), other.join().unwrap()]
        });
        assert_eq!(seen.map(Result::ok), [Some(2); 2]);
    }

    #[test]
    fn nothing_is_answered_and_the_region_is_left_alone_after_a_panic() {
        let served = served();
        let broken = || served.ask::<()>(INodeNo::ROOT, |_, _| panic!("planted"));
        assert!(catch_unwind(AssertUnwindSafe(broken)).is_err());
        let error = served.attr(INodeNo::ROOT).unwrap_err();
        assert_eq!(error.code(), Errno::EIO.code());
        assert!(served.end().is_none());
    }
}
