//! Walking everything below a path, in order, without recursion and with bounded memory.
//!
//! Always: a directory comes before its entries, entries by the bytes of their names. What cannot
//! be read or entered is an error with its path, and the walk goes on with what comes after it: an
//! entry with a path of more than [`PATH_BYTES_MAX`] bytes, a directory that lies inside itself or
//! was entered before. All directories that a walk enters have together at most
//! [`Root::directory_bytes_max`] bytes, whatever leads to them: an entry takes at least 13 of
//! these, so a walk has at most a thirteenth of that many entries.

use crate::Error;
use crate::cache::Layer;
use crate::erofs::{Corrupt, FileKind, Inode, Nid};
use crate::read::{DirCursor, DirEntry, NAME_BYTES_MAX, PATH_BYTES_MAX, Root};
use crate::storage::Storage;
use alloc::vec::Vec;

/// The most directories that can lie inside each other.
const DEPTH_MAX: usize = PATH_BYTES_MAX / 2;

/// The longest path of an entry of a directory whose path is as long as any.
pub(super) const ENTRY_BYTES_MAX: usize = PATH_BYTES_MAX + 1 + NAME_BYTES_MAX;

/// Directories that are remembered, to tell of one that has a second name. A prime, so that
/// directories at equal distances do not share places.
const SEEN_PLACES: u64 = 4093;

/// How far directories may be entered.
///
/// Directories of which each holds the next one twice are few, and as many paths lead through
/// them as 2 to the power of their number.
#[derive(Debug, Default)]
pub struct DirGuard {
    /// The directory that was entered last of those with this remainder of their numbers: its
    /// number and 1, or 0. Two may share a place; then the bytes are what ends the walk.
    seen: Vec<u64>,
    bytes: u64,
    room: u64,
}

impl DirGuard {
    /// Allocates its memory.
    pub fn new() -> Self {
        Self { seen: alloc::vec![0; usize::try_from(SEEN_PLACES).unwrap_or(0)], bytes: 0, room: 0 }
    }

    /// Begins anew, for a walk through `root`.
    pub fn begin<S: Storage, L: Layer<S>>(&mut self, root: &Root<S, L>) {
        self.seen.fill(0);
        (self.bytes, self.room) = (0, root.directory_bytes_max());
    }

    /// A directory is about to be entered.
    ///
    /// # Errors
    /// Corrupt when it was entered before, or when all that were have more bytes than there is
    /// room for in the image.
    pub fn enter(&mut self, dir: &Inode) -> Result<(), Corrupt> {
        let nid @ Nid(number) = dir.nid;
        let place = usize::try_from(number % SEEN_PLACES).unwrap_or(0);
        if let Some(seen) = self.seen.get_mut(place) {
            let mark = number.wrapping_add(1);
            if core::mem::replace(seen, mark) == mark {
                return Err(Corrupt::DirectoryTwice { nid });
            }
        }
        let (bytes, room) = (self.bytes.saturating_add(dir.size), self.room);
        if bytes > room {
            return Err(Corrupt::DirectoriesTooLong { nid, bytes, room });
        }
        self.bytes = bytes;
        Ok(())
    }
}

/// A walk under way, or the memory for one.
#[derive(Debug, Default)]
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

    /// Begins a walk at `path`, which is taken as it is written, from the root; a symlink there is
    /// not followed. Allocates nothing.
    pub fn begin<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
        path: &[u8],
    ) -> Result<(), Error> {
        self.begin_with(root, root.symlink_metadata(path)?, path)
    }

    /// Begins a walk at `first`, whose path is told as `path`.
    pub fn begin_with<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
        first: Inode,
        path: &[u8],
    ) -> Result<(), Error> {
        self.path.clear();
        self.open.clear();
        self.guard.begin(root);
        self.first = Some(first);
        for name in
            path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
        {
            if self.path.len().saturating_add(name.len()) >= PATH_BYTES_MAX {
                return Err(crate::PathError::TooLong.into());
            }
            self.path.push(b'/');
            self.path.extend_from_slice(name);
        }
        Ok(())
    }

    /// The path of what [`Tree::next`] returned last, an inode or an error; `/` for the root.
    pub fn path(&self) -> &[u8] {
        if self.path.is_empty() { b"/" } else { &self.path }
    }

    /// The next inode; `None` at the end.
    ///
    /// # Errors
    /// Those of the entry at [`Tree::path`], or of the directory there, of which the entries that
    /// were not returned yet are left out. The next call goes on after it.
    pub fn next<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
    ) -> Result<Option<Inode>, Error> {
        if let Some(first) = self.first.take() {
            self.enter(root, first)?;
            return Ok(Some(first));
        }
        while let Some((cursor, len)) = self.open.last_mut() {
            self.path.truncate(*len);
            let found = cursor.next_inode(root, &mut self.entry);
            let name = &self.entry.name;
            if name.is_empty() {
                // The end of the directory, or its own fault.
                self.open.pop();
                found?;
                continue;
            }
            self.path.push(b'/');
            self.path.extend_from_slice(name);
            if self.path.len() > PATH_BYTES_MAX {
                return Err(crate::PathError::TooLong.into());
            }
            if let Some(inode) = found? {
                self.enter(root, inode)?;
                return Ok(Some(inode));
            }
        }
        Ok(None)
    }

    fn enter<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
        inode: Inode,
    ) -> Result<(), Error> {
        if inode.kind == FileKind::Directory {
            if self.open.len() >= DEPTH_MAX {
                return Err(crate::PathError::TooLong.into());
            }
            if self.open.iter().any(|(cursor, _)| cursor.dir().nid == inode.nid) {
                return Err(Error::Corrupt(Corrupt::DirectoryInItself { nid: inode.nid }));
            }
            self.guard.enter(&inode)?;
            self.open.push((root.read_dir_inode(inode)?, self.path.len()));
        }
        Ok(())
    }
}
