//! Walking everything below a path, in order, without recursion and with bounded memory.
//!
//! Always: a directory comes before its entries, entries by the bytes of their names; a path of
//! more than [`PATH_BYTES_MAX`] bytes ends the walk with an error, and so does a directory that
//! lies inside itself.

use crate::Error;
use crate::cache::Layer;
use crate::erofs::{Corrupt, FileKind, Inode};
use crate::read::{DirCursor, PATH_BYTES_MAX, Root};
use crate::storage::Storage;
use alloc::vec::Vec;

/// The most directories that can lie inside each other.
const DEPTH_MAX: usize = PATH_BYTES_MAX / 2;

/// A walk under way, or the memory for one.
#[derive(Debug, Default)]
pub struct Tree {
    path: Vec<u8>,
    /// Open directories, and the length of the path of each.
    open: Vec<(DirCursor, usize)>,
    first: Option<Inode>,
}

impl Tree {
    /// Allocates the memory of a walk.
    pub fn new() -> Self {
        Self {
            path: Vec::with_capacity(PATH_BYTES_MAX),
            open: Vec::with_capacity(DEPTH_MAX),
            first: None,
        }
    }

    /// Begins a walk at `path`, which is taken as it is written, from the root; a symlink there is
    /// not followed. Allocates nothing.
    pub fn begin<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
        path: &[u8],
    ) -> Result<(), Error> {
        self.begin_with(root.symlink_metadata(path)?, path)
    }

    /// Begins a walk at `first`, whose path is told as `path`.
    pub fn begin_with(&mut self, first: Inode, path: &[u8]) -> Result<(), Error> {
        self.path.clear();
        self.open.clear();
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

    /// The path of the entry that [`Tree::next`] returned last; `/` for the root.
    pub fn path(&self) -> &[u8] {
        if self.path.is_empty() { b"/" } else { &self.path }
    }

    /// The next inode; `None` at the end.
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
            let Some(entry) = cursor.next(root)? else {
                self.open.pop();
                continue;
            };
            if self.path.len().saturating_add(entry.name.len()) >= PATH_BYTES_MAX {
                return Err(crate::PathError::TooLong.into());
            }
            self.path.push(b'/');
            self.path.extend_from_slice(&entry.name);
            let inode = root.inode(entry.nid)?;
            self.enter(root, inode)?;
            return Ok(Some(inode));
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
            // The walk would end by the length of the path, with everything read a thousand times.
            if self.open.iter().any(|(cursor, _)| cursor.dir().nid == inode.nid) {
                return Err(Error::Corrupt(Corrupt::DirectoryInItself { nid: inode.nid }));
            }
            self.open.push((root.read_dir_inode(inode)?, self.path.len()));
        }
        Ok(())
    }
}
