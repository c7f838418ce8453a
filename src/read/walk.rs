//! Walking a path: directory by directory, through symlinks, by binary search.
//!
//! Always: ends after at most [`SYMLINK_HOPS_MAX`] symlinks and [`PATH_BYTES_MAX`] bytes of
//! path at any moment.

use super::inner::Inner;
use crate::cache::Layer;
use crate::erofs::{Corrupt, DirBlock, FileKind, Inode, Nid};
use crate::error::{Error, PathError};
use crate::storage::Storage;
use core::cmp::Ordering;

/// Symlinks followed in one walk at most, as on Linux.
pub const SYMLINK_HOPS_MAX: usize = 40;
/// Longest path in bytes, symlinks put in; Linux PATH_MAX.
pub const PATH_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 255;

type Path = heapless::Vec<u8, PATH_BYTES_MAX>;

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// The inode that `path` names, from the root; a symlink at its end is followed if `follow`.
    pub fn walk(&mut self, path: &[u8], follow: bool) -> Result<Inode, Error> {
        let mut rest = Path::from_slice(path).map_err(|_| PathError::TooLong)?;
        let root = self.inode(self.superblock.root)?;
        if root.kind != FileKind::Directory {
            return Err(Error::Corrupt(Corrupt::RootKind { nid: root.nid, mode: root.mode() }));
        }
        let mut at = root;
        let mut hops: usize = 0;
        loop {
            let Some((name, behind)) = split(&rest) else { return Ok(at) };
            if at.kind != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            let next = match name {
                b"." => at,
                // The root is its own parent, whatever the image says.
                b".." if at.nid == root.nid => root,
                name => self.lookup(&at, name)?.ok_or(PathError::NotFound)?,
            };
            let last = behind.iter().all(|byte| *byte == b'/');
            if next.kind == FileKind::Symlink && (follow || !last || !behind.is_empty()) {
                hops = hops.saturating_add(1);
                if hops > SYMLINK_HOPS_MAX {
                    return Err(PathError::TooManySymlinks.into());
                }
                let (target, absolute) = self.spliced(&next, behind)?;
                rest = target;
                at = if absolute { root } else { at };
                continue;
            }
            // A slash at the end asks for a directory.
            if last && !behind.is_empty() && next.kind != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            rest = Path::from_slice(behind).map_err(|_| PathError::TooLong)?;
            at = next;
        }
    }

    /// A symlink's target with `behind` after it, and whether it begins at the root.
    fn spliced(&mut self, link: &Inode, behind: &[u8]) -> Result<(Path, bool), Error> {
        let len = usize::try_from(link.size).unwrap_or(usize::MAX);
        let mut path = Path::new();
        path.resize(len, 0).map_err(|_| PathError::TooLong)?;
        self.data(link, 0, &mut path)?;
        if path.is_empty() {
            return Err(PathError::NotFound.into());
        }
        let absolute = path.first() == Some(&b'/');
        path.extend_from_slice(behind).map_err(|_| PathError::TooLong)?;
        Ok((path, absolute))
    }

    /// The entry `name` of a directory.
    pub fn lookup(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Inode>, Error> {
        if name.len() > NAME_BYTES_MAX {
            return Err(PathError::TooLong.into());
        }
        if dir.kind != FileKind::Directory {
            return Err(PathError::NotADirectory.into());
        }
        let found = self.find(dir, name)?;
        found.map(|nid| self.inode(nid)).transpose()
    }

    /// Binary search over the blocks by their first names, then within one.
    fn find(&mut self, dir: &Inode, name: &[u8]) -> Result<Option<Nid>, Error> {
        let (mut low, mut high) = (0, self.superblock.block_size.blocks_of(dir.size));
        // Each round halves the range of at most 2^54 blocks.
        while low < high {
            let middle = low.midpoint(high);
            let block = DirBlock::from_bytes(self.dir_block(dir, middle)?, dir.nid, middle)?;
            if block.first_name()?.cmp(name) == Ordering::Greater {
                high = middle;
            } else if block.last_name()?.cmp(name) == Ordering::Less {
                low = middle.saturating_add(1);
            } else {
                return Ok(block.find(name)?.map(|entry| entry.nid));
            }
        }
        Ok(None)
    }
}

/// The first component and what is behind it; `None` if there is none.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|byte| *byte != b'/')?;
    let path = path.get(start..)?;
    let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
    path.split_at_checked(end)
}
