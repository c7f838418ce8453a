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

/// Where a walk along a path ends.
enum Stop<'p> {
    /// At its end.
    At(Inode),
    /// At a symlink in `dir`, with the rest of the path behind it.
    Link { dir: Inode, link: Inode, rest: &'p [u8] },
}

impl<S: Storage, L: Layer<S>> Inner<S, L> {
    /// The inode that `path` names, from the root; a symlink at its end is followed if `follow`.
    pub fn walk(&mut self, path: &[u8], follow: bool) -> Result<Inode, Error> {
        if path.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong.into());
        }
        let root = self.root()?;
        let mut hops: usize = 0;
        let (mut at, mut link) = match self.descend(root, root, path, follow)? {
            Stop::At(inode) => return Ok(inode),
            Stop::Link { dir, link, rest } => (dir, self.spliced(&link, rest)?),
        };
        loop {
            hops = hops.saturating_add(1);
            if hops > SYMLINK_HOPS_MAX {
                return Err(PathError::TooManySymlinks.into());
            }
            let from = if link.first() == Some(&b'/') { root } else { at };
            match self.descend(root, from, &link, follow)? {
                Stop::At(inode) => return Ok(inode),
                Stop::Link { dir, link: next, rest } => {
                    let spliced = self.spliced(&next, rest)?;
                    (at, link) = (dir, spliced);
                }
            }
        }
    }

    /// The root directory, read once.
    fn root(&mut self) -> Result<Inode, Error> {
        if let Some(root) = self.root {
            return Ok(root);
        }
        let root = self.inode(self.superblock.root)?;
        if root.kind != FileKind::Directory {
            return Err(Corrupt::RootKind { nid: root.nid, mode: root.mode() }.into());
        }
        self.root = Some(root);
        Ok(root)
    }

    /// Goes along `path` from `from` up to its end, or to the first symlink to be followed.
    fn descend<'p>(
        &mut self,
        root: Inode,
        from: Inode,
        path: &'p [u8],
        follow: bool,
    ) -> Result<Stop<'p>, Error> {
        let (mut at, mut rest) = (from, path);
        loop {
            let Some((name, behind)) = split(rest) else { return Ok(Stop::At(at)) };
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
                return Ok(Stop::Link { dir: at, link: next, rest: behind });
            }
            // A slash at the end asks for a directory.
            if last && !behind.is_empty() && next.kind != FileKind::Directory {
                return Err(PathError::NotADirectory.into());
            }
            (at, rest) = (next, behind);
        }
    }

    /// A symlink's target with `behind` after it.
    fn spliced(&mut self, link: &Inode, behind: &[u8]) -> Result<Path, Error> {
        let len = usize::try_from(link.size).unwrap_or(usize::MAX);
        let mut path = Path::new();
        path.resize(len, 0).map_err(|_| PathError::TooLong)?;
        self.data(link, 0, &mut path)?;
        if path.is_empty() {
            return Err(PathError::NotFound.into());
        }
        path.extend_from_slice(behind).map_err(|_| PathError::TooLong)?;
        Ok(path)
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
