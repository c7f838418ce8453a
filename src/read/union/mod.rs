//! A stack of images as one tree, read-only, by the rules of Linux's overlayfs.
//!
//! Each image is a mount of its own below one [`Root`](super::Root): a node of the tree is an inode
//! of one image, whose number has that of the image ([`Nid::layer`]). Here names are resolved; file
//! data and attributes come straight from the image of the inode.
//!
//! Always: in a merged directory the topmost entry of a name wins. A whiteout, or a file over a
//! directory, hides all that lies below; an opaque directory hides the directories below. A hostile
//! image misleads only about names that it takes part in: its inode numbers name its own inodes.

mod cursor;
mod dirs;
mod levels;
mod mount;
mod walk;

pub use cursor::Merged;
pub use dirs::Dirs;
pub use mount::LAYERS_MAX;

use super::guard::{Guard, Shared};
use super::mount::Mount;
use super::stop::Stop;
use super::xattrs::Wanted;
use crate::cache::Layer;
use crate::erofs::overlay::Marks;
use crate::erofs::{DeviceNumber, FileKind, Inode};
use crate::storage::Storage;

impl<S, L> Shared<S, L> {
    /// Returns the images whose names are merged, the bottom first: all but that of objects.
    pub fn merged(&self) -> &[Mount] {
        match (self.objects_root, self.stack.split_last()) {
            (Some(_), Some((_, merged))) => merged,
            _ => &self.stack,
        }
    }
}

impl<S, L> Guard<'_, S, L> {
    /// Returns whether the mount is a stack of images.
    pub fn is_stack(&self) -> bool {
        !self.shared.merged().is_empty()
    }
}

impl<S: Storage, L: Layer<S>> Guard<'_, S, L> {
    /// Returns whether an inode hides what has its name below: a character device 0:0, or an empty
    /// file that is marked.
    fn is_whiteout(&mut self, inode: &Inode) -> Result<bool, Stop> {
        match inode.kind() {
            FileKind::CharDevice => Ok(inode.rdev() == Some(DeviceNumber { major: 0, minor: 0 })),
            FileKind::Regular if inode.size() == 0 => {
                let wanted = [Wanted { index: Marks::Trusted.index(), rest: Marks::WHITEOUT }];
                Ok(self.find_xattr(inode, &wanted)?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// Returns whether a directory hides the directories of its name below.
    fn is_opaque(&mut self, dir: &Inode) -> Result<bool, Stop> {
        let wanted = [Wanted { index: Marks::Trusted.index(), rest: Marks::OPAQUE }];
        let Some(found) = self.find_xattr(dir, &wanted)? else { return Ok(false) };
        let mut value = [0];
        if found.value.len != 1 {
            return Ok(false);
        }
        self.meta(found.space, found.value.at, &mut value)?;
        Ok(value == *Marks::OPAQUE_VALUE)
    }
}
