//! Path lookup: directory by directory, through symlinks, by binary search.
//!
//! Always: a walk follows at most [`SYMLINK_HOPS_MAX`] symlinks, and its path has at most
//! [`PATH_BYTES_MAX`] bytes at any moment.

use super::guard::Guard;
use super::stop::Stop;
use crate::cache::Layer;
use crate::erofs::{DirBlock, FileKind, Inode, Nid};
use crate::error::PathError;
use crate::num::OrBug;
use crate::storage::Storage;

/// The most symlinks that one walk follows, as on Linux.
pub const SYMLINK_HOPS_MAX: usize = 40;
/// The longest path in bytes, with symlinks replaced by their targets; `PATH_MAX` on Linux. Without
/// `alloc` 1,024: a path lies on a short stack.
pub const PATH_BYTES_MAX: usize = if cfg!(feature = "alloc") { 4096 } else { 1024 };
const NAME_BYTES_MAX: usize = 255;

pub type Path = heapless::Vec<u8, PATH_BYTES_MAX>;

/// The symlinks that a walk follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// All symlinks.
    All,
    /// All symlinks, except that the last name of the path may be a symlink itself.
    AllButLast,
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Returns the inode that `path` names, by the rules of Linux (path_resolution(7)).
    ///
    /// A walk begins at the root, with or without a slash in front; a symlink's target begins at the
    /// root or at the symlink's directory. Repeated slashes count as one. A slash at the end asks for
    /// a directory, and for the target of a symlink. An empty path is the root; an empty target is
    /// not found.
    ///
    /// # Errors
    /// [`PathError::NotFound`], [`PathError::NotADirectory`], [`PathError::TooManySymlinks`],
    /// [`PathError::TooLong`]; those of reading inodes and directories.
    pub fn walk(&mut self, path: &[u8], follow: Follow) -> Result<Inode, Stop> {
        if path.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong.into());
        }
        #[cfg(feature = "alloc")]
        if self.is_stack() {
            return self.walk_stack(path, follow);
        }
        // In place: moving an inode out of a result copies it field by field.
        let mut found = self.root();
        let Ok(at) = &mut found else { return found };
        match self.descend(at, path, follow)? {
            Some((dir, rest)) => self.walk_on(at, dir, rest, follow),
            None => found,
        }
    }

    /// Walks on from the symlink `link` of the directory `dir`, after which `rest` is left.
    // Not inlined: most paths have no symlink, and need no kilobytes of stack.
    #[inline(never)]
    fn walk_on(
        &mut self,
        link: &Inode,
        dir: Nid,
        rest: &[u8],
        follow: Follow,
    ) -> Result<Inode, Stop> {
        // In place: a path that is returned is one more on the stack.
        let mut path = Path::new();
        path.extend_from_slice(rest).map_err(|_| PathError::TooLong)?;
        self.splice(link, &mut path, rest.len())?;
        let mut dir = dir;
        for _ in 0..SYMLINK_HOPS_MAX {
            let mut found = match path.first() {
                Some(b'/') => self.root(),
                _ => self.inode(dir),
            };
            let Ok(at) = &mut found else { return found };
            let Some((next, rest)) = self.descend(at, &path, follow)? else { return found };
            let after = rest.len();
            self.splice(at, &mut path, after)?;
            dir = next;
        }
        Err(PathError::TooManySymlinks.into())
    }

    /// Moves `at` along `path` up to its end, or to the first symlink to follow: then returns the
    /// directory of the symlink and the rest of the path after it.
    fn descend<'p>(
        &mut self,
        at: &mut Inode,
        path: &'p [u8],
        follow: Follow,
    ) -> Result<Option<(Nid, &'p [u8])>, Stop> {
        let mut rest = path;
        while let Some((name, after)) = split(rest) {
            if at.kind() != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            let last = after.iter().all(|byte| *byte == b'/');
            // The root is its own parent, whatever the image says.
            let is_root = at.nid() == self.mount().superblock().root();
            if name != b"." && !(name == b".." && is_root) {
                let dir = at.nid();
                let nid = self.lookup(at, name)?.ok_or(PathError::NotFound)?;
                // In place: moving an inode out of a result copies it field by field.
                let found = self.inode(nid);
                match &found {
                    Ok(inode) => *at = *inode,
                    Err(_) => return found.map(|_| None),
                }
                let is_left_out = follow == Follow::AllButLast && after.is_empty();
                if at.kind() == FileKind::Symlink && !is_left_out {
                    return Ok(Some((dir, after)));
                }
            }
            // A slash at the end asks for a directory.
            if last && !after.is_empty() && at.kind() != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            rest = after;
        }
        Ok(None)
    }

    /// Puts the target of the symlink `link` in the place of `path`, all of it but the last `after`
    /// bytes.
    pub fn splice(&mut self, link: &Inode, path: &mut Path, after: usize) -> Result<(), Stop> {
        let len = usize::try_from(link.size()).map_err(|_| PathError::TooLong)?;
        if len == 0 {
            return Err(PathError::NotFound.into());
        }
        let whole = len.checked_add(after).filter(|whole| *whole <= PATH_BYTES_MAX);
        let whole = whole.ok_or(PathError::TooLong)?;
        let end = path.len();
        path.resize(end.max(whole), 0).ok().or_bug()?;
        path.copy_within(end.checked_sub(after).or_bug()?..end, len);
        path.truncate(whole);
        self.data(link, 0, path.get_mut(..len).or_bug()?)
    }

    /// Returns the inode of the entry `name` of a directory; `None` if there is no such entry.
    pub fn find(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Inode>, Stop> {
        #[cfg(feature = "alloc")]
        if self.is_stack() {
            return self.find_in_stack(dir, name);
        }
        match self.lookup(dir, name)? {
            Some(nid) => self.inode(nid).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the inode number of the entry `name` of a directory of one image; `None` if there is
    /// no such entry.
    ///
    /// Entries are sorted by name across all blocks: a binary search by the blocks' first and last
    /// names finds the only block that can hold `name`, and another search finds the entry in it.
    pub fn lookup(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Nid>, Stop> {
        if name.len() > NAME_BYTES_MAX {
            return Err(PathError::TooLong.into());
        }
        self.turn_to(dir.nid());
        let (mut low, mut high) = (0, self.mount().superblock().block_size().blocks_of(dir.size()));
        // Each round halves the range of at most 2^54 blocks.
        while low < high {
            let middle = low.midpoint(high);
            let block = DirBlock::from_bytes(self.dir_block(dir, middle)?, dir.nid(), middle);
            let block = match &block {
                Ok(block) => block,
                Err(error) => return Err((*error).into()),
            };
            // The last block left is searched without a look at its ends.
            let is_only = high.checked_sub(low).or_bug()? == 1;
            if !is_only && name < block.first_name()? {
                high = middle;
            } else if !is_only && name > block.last_name()? {
                low = middle.checked_add(1).or_bug()?;
            } else {
                let found = block.find(name)?.map(|entry| entry.nid);
                return Ok(found.map(|nid| self.lifted(nid)).transpose()?);
            }
        }
        Ok(None)
    }
}

/// Returns the first component of `path` and the rest after it; `None` if there is no component.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|byte| *byte != b'/')?;
    let path = path.get(start..)?;
    match path.iter().position(|byte| *byte == b'/') {
        Some(end) => path.split_at_checked(end),
        None => Some((path, &[])),
    }
}
