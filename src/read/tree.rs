//! A walk through everything below a path, in order, without recursion and in bounded memory.
//!
//! Always: a directory comes before its entries, entries by the bytes of their names. An entry that
//! cannot be read or entered is an error with its path, and the walk continues after that entry:
//! one with a path of more than [`PATH_BYTES_MAX`] bytes, a directory that lies inside itself or
//! was entered before. All directories that a walk enters have together at most
//! [`Root::directory_bytes_max`] bytes, whatever leads to them: an entry takes at least 13 bytes of
//! its directory, so a walk has at most a thirteenth of that many entries.

use super::{DirCursor, DirEntry, NAME_BYTES_MAX, PATH_BYTES_MAX, Root};
use crate::cache::Layer;
use crate::erofs::{Corrupt, FileKind, Inode, Nid, Origin};
use crate::error::{Error, PathError};
use crate::num::{OrBug, clip64, index, low32, narrow};
use crate::storage::Storage;
use alloc::vec::Vec;

/// The most directories that can lie inside each other.
const DEPTH_MAX: usize = PATH_BYTES_MAX / 2;

/// The longest path of an entry, in a directory whose path is as long as any.
const ENTRY_BYTES_MAX: usize = PATH_BYTES_MAX + 1 + NAME_BYTES_MAX;

/// Places for the directories that a guard remembers. A prime, so that directories at equal
/// distances do not share places.
const SEEN_PLACES: u64 = 4093;

/// A limit on the directories that a walk enters.
///
/// Where each directory holds the next one twice, the directories are few, but the paths through
/// them number 2 to the power of their depth.
#[derive(Debug)]
pub struct DirGuard {
    /// For each remainder of the inode number, the directory with it that was entered last: its
    /// number plus 1, or 0. Directories that share a place displace each other; then the limit on
    /// bytes ends the walk.
    seen: Vec<u64>,
    bytes: u64,
    room: u64,
    /// The origin of the directories of the walk.
    origin: Origin,
}

impl DirGuard {
    /// Allocates the memory of a guard. No directory may be entered before [`DirGuard::begin`].
    pub fn new() -> Self {
        Self {
            seen: alloc::vec![0; index(low32(SEEN_PLACES))],
            bytes: 0,
            room: 0,
            origin: Origin::NONE,
        }
    }

    /// Forgets all directories, for a walk through `root`.
    pub fn begin<S: Storage, L: Layer<S>>(&mut self, root: &Root<S, L>) {
        self.seen.fill(0);
        (self.bytes, self.room) = (0, root.directory_bytes_max());
        self.origin = root.origin;
    }

    /// Records that the directory `dir` is about to be entered, with all that are merged in it, and
    /// returns a cursor at its start.
    ///
    /// # Errors
    /// As [`DirGuard::enter`], of each of these.
    pub fn open<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
        dir: Inode,
    ) -> Result<DirCursor, Error> {
        let cursor = root.read_dir_inode(dir)?;
        for part in cursor.parts() {
            self.enter(part)?;
        }
        Ok(cursor)
    }

    /// Records that `dir` is about to be entered.
    ///
    /// # Errors
    /// Corrupt if `dir` was entered before, or if all directories entered so far have more bytes
    /// than the image has room for; [`PathError::OtherRoot`] if `dir` is not of the root that the
    /// guard has begun with.
    pub fn enter(&mut self, dir: &Inode) -> Result<(), Error> {
        let nid @ Nid(number) = dir.nid();
        if dir.origin() != self.origin {
            return Err(PathError::OtherRoot(nid).into());
        }
        let place = narrow(number % SEEN_PLACES)?;
        let seen = self.seen.get_mut(place).or_bug()?;
        // No image is long enough for the inode number whose mark would be 0.
        let mark = number.wrapping_add(1);
        if core::mem::replace(seen, mark) == mark {
            return Err(Corrupt::DirectoryTwice { nid }.into());
        }
        let bytes = clip64([self.bytes, dir.size()].map(u128::from).iter().sum());
        if bytes > self.room {
            return Err(Corrupt::DirectoriesTooLong { nid, bytes, room: self.room }.into());
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Default for DirGuard {
    fn default() -> Self {
        Self::new()
    }
}

/// A walk under way, and its memory, which serves one walk after another.
#[derive(Debug)]
pub struct Tree {
    guard: DirGuard,
    path: Vec<u8>,
    /// Open directories, and the length of the path of each.
    open: Vec<(DirCursor, usize)>,
    first: Option<Inode>,
    /// The entry that was read last.
    entry: DirEntry,
}

impl Tree {
    /// Allocates the memory of a walk.
    pub fn new() -> Self {
        Self {
            guard: DirGuard::new(),
            path: Vec::with_capacity(ENTRY_BYTES_MAX),
            open: Vec::with_capacity(DEPTH_MAX),
            first: None,
            entry: DirEntry::default(),
        }
    }

    /// Begins a walk at `path`, from the root; a symlink there is not followed. Allocates nothing.
    ///
    /// # Errors
    /// Those of [`Root::symlink_metadata`].
    pub fn begin<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
        path: &[u8],
    ) -> Result<(), Error> {
        self.begin_with(root, root.symlink_metadata(path)?, path)
    }

    /// Begins a walk at the inode `first`, whose path [`Tree::path`] gives as `path`. Allocates
    /// nothing.
    ///
    /// # Errors
    /// [`PathError::TooLong`]; [`PathError::OtherRoot`].
    pub fn begin_with<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
        first: Inode,
        path: &[u8],
    ) -> Result<(), Error> {
        self.path.clear();
        self.open.clear();
        self.first = None;
        root.own(&first)?;
        self.guard.begin(root);
        self.first = Some(first);
        for name in
            path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
        {
            let room = PATH_BYTES_MAX.checked_sub(self.path.len());
            if room.is_none_or(|room| name.len() >= room) {
                return Err(PathError::TooLong.into());
            }
            self.path.push(b'/');
            self.path.extend_from_slice(name);
        }
        Ok(())
    }

    /// Returns the path of the inode or the error that [`Tree::next`] returned last; `/` for the
    /// root.
    pub fn path(&self) -> &[u8] {
        if self.path.is_empty() { b"/" } else { &self.path }
    }

    /// Returns the next inode, or `None` at the end.
    ///
    /// # Errors
    /// Those of the entry at [`Tree::path`], or of the directory there, whose remaining entries
    /// are then left out. The next call continues after it.
    pub fn next<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
    ) -> Result<Option<Inode>, Error> {
        if let Some(first) = self.first.take() {
            root.own(&first)?;
            self.enter(root, first)?;
            return Ok(Some(first));
        }
        while let Some((cursor, len)) = self.open.last_mut() {
            self.path.truncate(*len);
            let found = cursor.next_inode(root, &mut self.entry);
            let name = &self.entry.name;
            if name.is_empty() {
                // The end of the directory, or an error of the directory itself.
                self.open.pop();
                found?;
                continue;
            }
            self.path.push(b'/');
            self.path.extend_from_slice(name);
            if self.path.len() > PATH_BYTES_MAX {
                return Err(PathError::TooLong.into());
            }
            if let Some(inode) = found? {
                self.enter(root, inode)?;
                return Ok(Some(inode));
            }
        }
        Ok(None)
    }

    /// Opens `inode` if it is a directory, so that its entries come next.
    fn enter<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
        inode: Inode,
    ) -> Result<(), Error> {
        if inode.kind() == FileKind::Directory {
            if self.open.len() >= DEPTH_MAX {
                return Err(PathError::TooLong.into());
            }
            if self.open.iter().any(|(cursor, _)| cursor.dir().nid() == inode.nid()) {
                return Err(Corrupt::DirectoryInItself { nid: inode.nid() }.into());
            }
            self.open.push((self.guard.open(root, inode)?, self.path.len()));
        }
        Ok(())
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}
