//! Mounting a stack of images as one root.
//!
//! Always: every image keeps its own device slots; of two images with the same head only one has
//! blobs in the region, because the region could not tell their blobs apart, but for those that a
//! digest names.

use super::super::budget::Budget;
use super::super::failed::MountError;
use super::super::inner::Images;
use super::super::memory::Lent;
use super::super::stop::Blocking;
use super::super::{Held, Root, inner};
use crate::blob::{Image, Sources};
use crate::cache::Layer;
use crate::erofs::{Corrupt, FileKind};
use crate::error::Error;
use crate::storage::Storage;

/// The most images of a stack.
pub const LAYERS_MAX: usize = 128;

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Mounts a stack of at most 128 images, the bottom first, each with the sources of its
    /// slots, as one tree: by the rules of Linux's overlayfs, read-only.
    ///
    /// Whiteouts are character devices 0:0, and empty files with the xattr
    /// `trusted.overlay.whiteout`. A directory merges with those of its name below, unless its
    /// xattr `trusted.overlay.opaque` is `y`. Attributes come from the topmost inode. Xattrs
    /// `trusted.overlay.*` are hidden; one that was escaped, `trusted.overlay.overlay.*`, is shown.
    /// Inode numbers have the number of their image, from 1 for the bottom. One image is mounted as
    /// it is, as [`Root::with_budget`] does, and nothing in it is hidden; but over a storage with
    /// [objects](Storage::objects) it is a stack of one, as composefs means it.
    ///
    /// # Errors
    /// As [`Root::with_budget`], of each image; unsupported for too many images or sources; corrupt if
    /// the root of an image is not a directory. [`PathError::NotFound`](crate::PathError::NotFound) for
    /// no image at all.
    pub fn stack(
        storage: S,
        layer: L,
        images: &[(&Image, &Sources)],
        budget: &Budget,
    ) -> Result<Self, MountError<S, L>> {
        if let [(image, sources)] = images
            && storage.objects().is_none()
        {
            return Self::with_budget(storage, layer, image, sources, budget);
        }
        Self::overlay(storage, layer, &Images { images, is_overlay: true, objects: None }, budget)
    }

    /// Mounts as [`Root::stack`] does, over a storage with [objects](Storage::objects), which are the
    /// files of the image `objects` as `xx/rest`, by the hex digits of their digests. Nothing else
    /// of that image is seen.
    ///
    /// # Errors
    /// As [`Root::stack`].
    pub fn stack_over_objects(
        storage: S,
        layer: L,
        images: &[(&Image, &Sources)],
        objects: (&Image, &Sources),
        budget: &Budget,
    ) -> Result<Self, MountError<S, L>> {
        let images = Images { images, is_overlay: true, objects: Some(objects) };
        Self::overlay(storage, layer, &images, budget)
    }

    /// Mounts an image as it is, as [`Root::with_budget`] does, over the files of the image `objects`,
    /// as [`Root::stack_over_objects`] does.
    ///
    /// # Errors
    /// As [`Root::stack`].
    pub fn over_objects(
        storage: S,
        layer: L,
        image: (&Image, &Sources),
        objects: (&Image, &Sources),
        budget: &Budget,
    ) -> Result<Self, MountError<S, L>> {
        let images = Images { images: &[image], is_overlay: false, objects: Some(objects) };
        Self::overlay(storage, layer, &images, budget)
    }

    fn overlay(
        storage: S,
        layer: L,
        images: &Images<'_>,
        budget: &Budget,
    ) -> Result<Self, MountError<S, L>> {
        let shared = inner::mount(storage, layer, images, &budget.bounded(), Lent)?;
        let origin = shared.mount.superblock().origin();
        let root = Self { shared: Held::new(shared), origin };
        match root.check_roots() {
            Ok(()) => Ok(root),
            Err(error) => {
                let (storage, layer) = root.into_parts();
                Err(MountError { error, storage, layer })
            }
        }
    }

    /// Reads the root of each image, which must be a directory.
    fn check_roots(&self) -> Result<(), Error> {
        for mount in &self.shared.stack {
            let root = self.lock().inode(mount.superblock().root()).blocking()?;
            if root.kind() != FileKind::Directory {
                return Err(Corrupt::RootKind { nid: root.nid(), mode: root.mode() }.into());
            }
        }
        Ok(())
    }
}
