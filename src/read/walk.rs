//! Path lookup: directory by directory, through symlinks, by binary search.
//!
//! Always: a walk follows at most [`SYMLINK_HOPS_MAX`] symlinks, and its path has at most
//! [`PATH_BYTES_MAX`] bytes at any moment.

use super::inner::Inner;
use crate::cache::Layer;
use crate::erofs::{DirBlock, FileKind, Inode, Nid};
use crate::error::{Error, PathError};
use crate::num::OrBug;
use crate::storage::Storage;
use core::cmp::Ordering;

/// The most symlinks that one walk follows, as on Linux.
pub const SYMLINK_HOPS_MAX: usize = 40;
/// The longest path in bytes, with symlinks replaced by their targets; `PATH_MAX` on Linux.
pub const PATH_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 255;

type Path = heapless::Vec<u8, PATH_BYTES_MAX>;

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// Returns the inode that `path` names, from the root. Follows a symlink at the end of `path`
    /// if `follow`.
    pub fn walk(&mut self, path: &[u8], follow: bool) -> Result<Inode, Error> {
        if path.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong.into());
        }
        // In place: moving an inode out of a result copies it field by field.
        let mut found = self.root();
        let Ok(at) = &mut found else { return found };
        let Some((mut dir, rest)) = self.descend(at, path, follow)? else { return found };
        let mut path = self.spliced(at, rest)?;
        for _ in 0..SYMLINK_HOPS_MAX {
            found = match path.first() {
                Some(b'/') => self.root(),
                _ => self.inode(dir),
            };
            let Ok(at) = &mut found else { return found };
            let Some((next, rest)) = self.descend(at, &path, follow)? else { return found };
            (dir, path) = (next, self.spliced(at, rest)?);
        }
        Err(PathError::TooManySymlinks.into())
    }

    /// Moves `at` along `path` up to its end, or to the first symlink to follow: then returns the
    /// directory of the symlink and the rest of the path after it.
    fn descend<'p>(
        &mut self,
        at: &mut Inode,
        path: &'p [u8],
        follow: bool,
    ) -> Result<Option<(Nid, &'p [u8])>, Error> {
        let mut rest = path;
        while let Some((name, after)) = split(rest) {
            if at.kind != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            let last = after.iter().all(|byte| *byte == b'/');
            // The root is its own parent, whatever the image says.
            let stays = name == b"." || name == b".." && at.nid == self.mount.superblock().root;
            if !stays {
                let dir = at.nid;
                let nid = self.lookup(at, name)?.ok_or(PathError::NotFound)?;
                match &self.inode(nid) {
                    Ok(inode) => *at = *inode,
                    Err(error) => return Err(error.clone()),
                }
                if at.kind == FileKind::Symlink && (follow || !last || !after.is_empty()) {
                    return Ok(Some((dir, after)));
                }
            }
            // A slash at the end asks for a directory.
            if last && !after.is_empty() && at.kind != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            rest = after;
        }
        Ok(None)
    }

    /// Returns the target of the symlink `link` with `after` appended.
    fn spliced(&mut self, link: &Inode, after: &[u8]) -> Result<Path, Error> {
        let len = usize::try_from(link.size).map_err(|_| PathError::TooLong)?;
        let mut path = Path::new();
        path.resize(len, 0).map_err(|_| PathError::TooLong)?;
        self.data(link, 0, &mut path)?;
        if path.is_empty() {
            return Err(PathError::NotFound.into());
        }
        path.extend_from_slice(after).map_err(|_| PathError::TooLong)?;
        Ok(path)
    }

    /// Returns the inode number of the entry `name` of a directory: by binary search over the
    /// blocks' first and last names until one block is left, then within that block.
    fn lookup(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Nid>, Error> {
        if name.len() > NAME_BYTES_MAX {
            return Err(PathError::TooLong.into());
        }
        let (mut low, mut high) = (0, self.mount.superblock().block_size.blocks_of(dir.size));
        // Each round halves the range of at most 2^54 blocks.
        while low < high {
            let middle = low.midpoint(high);
            let block = DirBlock::from_bytes(self.dir_block(dir, middle)?, dir.nid, middle);
            let block = match &block {
                Ok(block) => block,
                Err(error) => return Err((*error).into()),
            };
            let others = high.checked_sub(low).or_bug()? > 1;
            if others && block.first_name()?.cmp(name) == Ordering::Greater {
                high = middle;
            } else if others && block.last_name()?.cmp(name) == Ordering::Less {
                low = middle.checked_add(1).or_bug()?;
            } else {
                return Ok(block.find(name)?.map(|entry| entry.nid));
            }
        }
        Ok(None)
    }
}

/// Returns the first component of `path` and the rest after it; `None` if there is no component.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|byte| *byte != b'/')?;
    let path = path.get(start..)?;
    match path.iter().position(|byte| *byte == b'/') {
        Some(end) => path.split_at_checked(end),
        None => Some((path, &[])),
    }
}
