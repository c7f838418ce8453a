//! Paths and inodes as futures.
//!
//! Always: the result is that of the method of the same name that blocks.

use crate::cache::Layer;
use crate::erofs::{FileKind, Inode};
use crate::error::{Error, PathError};
use crate::read::dir::{DirCursor, DirEntry};
use crate::read::walk::Follow;
use crate::read::{File, Root};
use crate::storage::Storage;

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Opens the regular file at `path` as [`Root::open`] does, and does not wait.
    pub async fn open_async(&self, path: &[u8]) -> Result<File<'_, S, L>, Error> {
        let inode = self.metadata_async(path).await?;
        self.open_inode_async(inode).await
    }

    /// Opens the regular file with this inode as [`Root::open_inode`] does, and does not wait.
    pub async fn open_inode_async(&self, inode: Inode) -> Result<File<'_, S, L>, Error> {
        Ok(File::new(self, self.readable(&inode).await?))
    }

    /// Returns the inode that `path` leads to as [`Root::metadata`] does, and does not wait.
    pub async fn metadata_async(&self, path: &[u8]) -> Result<Inode, Error> {
        self.task(|guard| guard.walk(path, Follow::All).map(Some)).await
    }

    /// Returns the inode that `path` names as [`Root::symlink_metadata`] does, and does not wait.
    pub async fn symlink_metadata_async(&self, path: &[u8]) -> Result<Inode, Error> {
        self.task(|guard| guard.walk(path, Follow::AllButLast).map(Some)).await
    }

    /// Returns the inode of an entry as [`Root::find`] does, and does not wait.
    pub async fn find_async(&self, dir: &Inode, name: &[u8]) -> Result<Option<Inode>, Error> {
        self.own(dir)?;
        if dir.kind() != FileKind::Directory {
            return Err(PathError::NotADirectory.into());
        }
        self.task(|guard| guard.find(dir, name).map(Some)).await
    }

    /// Reads the target of a symlink as [`Root::read_link_inode`] does, and does not wait.
    pub async fn read_link_async<'o>(
        &self,
        inode: &Inode,
        out: &'o mut [u8],
    ) -> Result<&'o [u8], Error> {
        self.own(inode)?;
        if inode.kind() != FileKind::Symlink {
            return Err(PathError::NotASymlink.into());
        }
        let len = usize::try_from(inode.size()).ok();
        let target = len.and_then(|len| out.get_mut(..len));
        let target = target.ok_or(PathError::BufferTooSmall(inode.size()))?;
        self.task(|guard| guard.data(inode, 0, target).map(Some)).await?;
        Ok(target)
    }
}

impl DirCursor {
    /// Returns the next entry as [`DirCursor::next`] does, and does not wait.
    pub async fn next_async<S: Storage, L: Layer<S>>(
        &mut self,
        root: &Root<S, L>,
    ) -> Result<Option<DirEntry>, Error> {
        root.own(self.dir())?;
        // A step that is taken again begins where this one began.
        let (mut cursor, mut entry) = (self.clone(), DirEntry::default());
        let found = root.task(|guard| {
            cursor.clone_from(self);
            cursor.step(guard, &mut entry).map(Some)
        });
        let found = found.await?;
        *self = cursor;
        Ok(found.then_some(entry))
    }
}
