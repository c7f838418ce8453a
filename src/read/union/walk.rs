//! Names in a stack: paths, entries of a merged directory, and the directory of an inode.
//!
//! Always: the bounds of a path through one image hold here too.

use super::super::dir::DirCursor;
use super::super::guard::Guard;
use super::super::stop::Stop;
use super::super::walk::{Follow, PATH_BYTES_MAX, Path, SYMLINK_HOPS_MAX, split};
use super::levels::Levels;
use crate::cache::Layer;
use crate::erofs::{FileKind, Inode, Nid};
use crate::error::PathError;
use crate::num::OrBug;
use crate::read::dir::DirEntry;
use crate::storage::Storage;
use alloc::boxed::Box;
use alloc::vec::Vec;

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Walks as [`Guard::walk`] does, through a stack.
    // Not inlined: an image alone does not need this code.
    #[inline(never)]
    pub fn walk_stack(&mut self, path: &[u8], follow: Follow) -> Result<Inode, Stop> {
        let (mut levels, mut at) = (self.levels(), self.root()?);
        let Some(rest) = self.descend_stack(&mut levels, &mut at, path, follow)? else {
            return self.arrive(&mut levels, at);
        };
        // A path is long: it lies on the heap.
        let mut path = Box::new(Path::new());
        path.extend_from_slice(rest).map_err(|_| PathError::TooLong)?;
        self.splice(&at, &mut path, rest.len())?;
        for _ in 0..SYMLINK_HOPS_MAX {
            if path.first() == Some(&b'/') {
                levels.leave_all();
            }
            at = self.inode(levels.top()?)?;
            let Some(rest) = self.descend_stack(&mut levels, &mut at, &path, follow)? else {
                return self.arrive(&mut levels, at);
            };
            let after = rest.len();
            self.splice(&at, &mut path, after)?;
        }
        Err(PathError::TooManySymlinks.into())
    }

    /// Moves `at` along `path`, as far as [`Guard::descend`] does; `levels` ends with the directory
    /// `at`, or with the one that holds it. Returns the rest of `path` after a symlink to follow.
    fn descend_stack<'p>(
        &mut self,
        levels: &mut Levels,
        at: &mut Inode,
        path: &'p [u8],
        follow: Follow,
    ) -> Result<Option<&'p [u8]>, Stop> {
        let mut rest = path;
        while let Some((name, after)) = split(rest) {
            if at.kind() != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            let last = after.iter().all(|byte| *byte == b'/');
            match name {
                b"." => {}
                b".." => {
                    levels.leave();
                    *at = self.inode(levels.top()?)?;
                }
                _ => *at = self.enter(levels, name)?.ok_or(PathError::NotFound)?,
            }
            let is_left_out = follow == Follow::AllButLast && after.is_empty();
            if at.kind() == FileKind::Symlink && !is_left_out {
                return Ok(Some(after));
            }
            // A slash at the end asks for a directory.
            if last && !after.is_empty() && at.kind() != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            rest = after;
        }
        Ok(None)
    }

    /// Ends a walk at `at`: finds all parts of a directory.
    fn arrive(&mut self, levels: &mut Levels, at: Inode) -> Result<Inode, Stop> {
        if at.kind() == FileKind::Directory && self.dirs.get(at.nid()).is_none() {
            self.complete(levels)?;
        }
        Ok(at)
    }

    /// Returns the entry `name` of a merged directory, as [`Root::find`](super::super::Root::find)
    /// does.
    #[inline(never)]
    pub fn find_in_stack(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Inode>, Stop> {
        if name == b"." {
            return Ok(Some(*dir));
        }
        let parts = self.parts_of(dir.nid())?;
        if name == b".." {
            let above = self.dirs.get(dir.nid()).or_bug()?.above;
            return self.inode(above).map(Some);
        }
        let mut found = None;
        let mut own: Vec<Nid> = Vec::new();
        for part in parts {
            let Some(inode) = self.look(part, name)? else { continue };
            if inode.kind() == FileKind::Directory {
                found.get_or_insert(inode);
                own.push(inode.nid());
                if !self.is_opaque(&inode)? {
                    continue;
                }
            } else if own.is_empty() && !self.is_whiteout(&inode)? {
                found = Some(inode);
            }
            break;
        }
        self.dirs.note(dir.nid(), &own);
        Ok(found)
    }

    /// Returns the parts of a merged directory, the topmost first, from that.
    ///
    /// # Errors
    /// [`PathError::NotFound`] if the stack hides the inode.
    pub(super) fn parts_of(&mut self, top: Nid) -> Result<Box<[Nid]>, Stop> {
        if let Some(known) = self.dirs.get(top) {
            return Ok(known.parts.clone());
        }
        let names = self.names_of(top)?;
        let mut levels = self.levels();
        for name in names.iter().rev() {
            let found = self.enter(&mut levels, name)?;
            let is_dir = found.is_some_and(|inode| inode.kind() == FileKind::Directory);
            is_dir.then_some(()).ok_or(PathError::NotFound)?;
        }
        if levels.top()? != top {
            return Err(PathError::NotFound.into());
        }
        self.complete(&mut levels)?;
        Ok(self.dirs.get(top).or_bug()?.parts.clone())
    }

    /// Returns the names that lead to a directory in its image, the last one first.
    fn names_of(&mut self, dir: Nid) -> Result<Vec<heapless::Vec<u8, 255>>, Stop> {
        let (mut at, mut names, mut bytes) = (self.inode(dir)?, Vec::new(), 0_usize);
        let root = self.mount().superblock().root();
        while at.nid() != root {
            let above = self.lookup(&at, b"..")?.ok_or(PathError::NotFound)?;
            let above = self.inode(above)?;
            if above.kind() != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            let mut cursor = DirCursor::new(above, self.mount().superblock().block_size(), 0)?;
            let mut entry = DirEntry::default();
            // A directory ends.
            while cursor.advance(self, &mut entry, false)? && entry.nid != at.nid() {}
            if entry.name.is_empty() {
                return Err(PathError::NotFound.into());
            }
            bytes =
                bytes.checked_add(entry.name.len()).and_then(|sum| sum.checked_add(1)).or_bug()?;
            if bytes > PATH_BYTES_MAX {
                return Err(PathError::TooLong.into());
            }
            names.push(entry.name);
            at = above;
        }
        Ok(names)
    }
}
