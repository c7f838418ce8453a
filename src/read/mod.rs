//! Reading: a mounted root, its paths, files and directories.
//!
//! Always: a read returns exactly the file's bytes or an error (L1), and no read fails for a
//! fault of the region while the source answers (L2). All methods take `&self`; one lock stands
//! before the devices.
//!
//! # What a call costs, whatever the image says
//! At most the following, from devices with sectors of 512 bytes and without a region; a region
//! rounds to 4 KiB instead. Tests hold every golden image to it, and hostile ones.
//!
//! A *page* is 4 KiB of metadata. One of the image is one read; one of the metabox costs what
//! reading 4 KiB of that file does, and the page or two of the file's inode. Pages stay in memory
//! as [`Budget::metadata_bytes`] allows: one that is there costs no read. `B` is the block size in
//! bytes.
//!
//! | call | cost |
//! |-|-|
//! | mount | the first 4 KiB, a longer block as a whole, 3 reads of 4 KiB for the device table, the root's inode |
//! | an inode | 2 pages |
//! | a block of a directory | 1 page, or `B` / 4096 in longer blocks |
//! | a name in a directory of `n` blocks | ⌈log2(`n` + 1)⌉ blocks, in the last of them 13 comparisons; an inode |
//! | a path of `d` names | that for each name: 3 pages where directories have a block of at most 4 KiB. Warm: no read. Each symlink adds its target of at most 4 KiB, read as a file is, and the names in that; at most [`SYMLINK_HOPS_MAX`] of them |
//! | opening a file | nothing where it has no xattrs, or a filter of names knows that none is wanted; else the headers and names of its xattrs, in pages: mostly that of its inode, and those of shared ones |
//! | a list of a directory of `n` blocks | each block twice, a step for each entry |
//! | `len` bytes, not compressed, in `x` extents | `len` and 1 KiB an extent, in `len` / 1 MiB and 3 reads an extent; 8 bytes of map for each chunk, in pages |
//! | `len` bytes, compressed, in `x` extents | for each extent its encoded bytes, at most 1 MiB, and decoding up to the last byte that is wanted, at most 12 MiB; a fragment costs that in the packed inode. `x` is at most `len` / `B` + 2, with records of extents `len` |
//! | the index of an extent | 64 hops back and one for 1,024 lclusters of the file, steps ahead over 12 MiB, and an entry for each lcluster that is read; of records 52 steps, or, of 4 bytes each, the records before it once |
//! | all xattrs of an inode | 256 KiB of them and 255 shared entries of at most 64 KiB, in pages |
//! | a walk | as many entries as a thirteenth of [`Root::directory_bytes_max`], for each a block of a directory, an inode and a page that is read ahead |
//!
//! So bytes and steps of a mount, a lookup or a read do not depend on the length of the image, but
//! for the hops and the records of a compressed file's index, which lies in the image; those of a
//! walk grow with the image's length. A command that reads files reads each as often as it has
//! names. A hole costs no read, but time by its length: whoever reads a file of 2^62 zeros gets
//! them.

#[cfg(feature = "alloc")]
mod blocks;
mod budget;
#[cfg(feature = "alloc")]
mod decoded;
mod dir;
mod elsewhere;
mod file;
mod inner;
mod io;
mod metadata;
mod mount;
mod plan;
#[cfg(feature = "alloc")]
mod room;
mod stats;
#[cfg(feature = "alloc")]
mod stream;
mod walk;
mod xattrs;

pub use budget::Budget;
pub use dir::{DirCursor, DirEntry, NAME_BYTES_MAX};
pub use file::File;
pub use io::BATCH_MAX;
pub use stats::Stats;
#[cfg(feature = "alloc")]
pub use stream::Stream;
pub use walk::{PATH_BYTES_MAX, SYMLINK_HOPS_MAX};
pub use xattrs::{XATTR_BYTES_MAX, XattrName};

use crate::blob::{Image, SourcePart};
use crate::cache::Layer;
use crate::erofs::{FileKind, Incompat, Inode, Nid, Superblock};
use crate::error::{Error, PathError};
use crate::num::clip64;
#[cfg(feature = "alloc")]
use crate::storage::Ended;
use crate::storage::{DeviceId, Storage};
use inner::Inner;

/// For how many bytes of directories a byte of a device may stand, where data is packed.
/// Entries differ in their inodes' numbers and in their names: no tool comes near.
pub const PACKED_FACTOR: u64 = 1 << PACKED_BITS;
const PACKED_BITS: u32 = 8;

/// On the heap where there is one, because a mount is moved about and its tables are long.
#[cfg(feature = "alloc")]
type Held<T> = alloc::boxed::Box<T>;
#[cfg(not(feature = "alloc"))]
type Held<T> = T;

/// A mounted image.
///
/// `S` is the storage it reads from, `L` what stands below the blobs: [`crate::cache::NoRegion`]
/// or, with `alloc`, `Option<`[`crate::cache::Cache`]`>`.
#[derive(Debug)]
pub struct Root<S, L> {
    inner: spin::Mutex<Held<Inner<S, L>>>,
}

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Mounts `image`, whose slots have the sources `parts`, over `layer`. Does no I/O but for
    /// the root's inode, which must be a directory.
    pub fn new(storage: S, layer: L, image: &Image, parts: &[SourcePart]) -> Result<Self, Error> {
        Self::with_budget(storage, layer, image, parts, &Budget::default())
    }

    /// As [`Root::new`], with other limits of memory.
    ///
    /// # Errors
    /// [`BindError::Unfit`](crate::blob::BindError::Unfit); unsupported when decoding the image's
    /// algorithms needs more memory.
    pub fn with_budget(
        storage: S,
        layer: L,
        image: &Image,
        parts: &[SourcePart],
        budget: &Budget,
    ) -> Result<Self, Error> {
        let inner = Inner::new(storage, layer, image, parts, &budget.bounded())?;
        #[cfg(feature = "alloc")]
        let inner = Held::new(inner);
        let mut inner = inner;
        inner.root()?;
        Ok(Self { inner: spin::Mutex::new(inner) })
    }

    /// Returns the most bytes that reads may allocate after the mount, for metadata, decoders and
    /// decoded bytes; none without `alloc`.
    pub fn reserve_bytes(&self) -> usize {
        self.lock().reserve_bytes()
    }

    /// Returns the most bytes that the directories of an image have together: as many as its
    /// devices, or [`PACKED_FACTOR`] times as many where the image has features that pack data.
    pub fn directory_bytes_max(&self) -> u64 {
        let inner = self.lock();
        let devices: u128 = inner.io.sources().iter().map(|source| u128::from(source.bytes)).sum();
        let packed = inner.mount.superblock().incompat.without(Incompat::UNPACKED);
        clip64(if packed.is_empty() { devices } else { devices << PACKED_BITS })
    }

    fn lock(&self) -> spin::MutexGuard<'_, Held<Inner<S, L>>> {
        self.inner.lock()
    }

    /// Opens the regular file at `path`, through symlinks.
    pub fn open(&self, path: &[u8]) -> Result<File<'_, S, L>, Error> {
        self.open_inode(self.metadata(path)?)
    }

    /// Opens a regular file by its inode.
    ///
    /// # Errors
    /// Unsupported when the image does not hold the bytes of the file, as overlayfs's marks say.
    pub fn open_inode(&self, inode: Inode) -> Result<File<'_, S, L>, Error> {
        match inode.kind {
            FileKind::Regular => {
                self.lock().has_own_bytes(&inode)?;
                Ok(File::new(self, inode))
            }
            FileKind::Directory => Err(PathError::IsADirectory.into()),
            _ => Err(PathError::NotAFile.into()),
        }
    }

    /// Opens the regular file at `path`, through symlinks, to read it from front to back.
    #[cfg(feature = "alloc")]
    pub fn stream(&self, path: &[u8]) -> Result<Stream<'_, S, L>, Error> {
        self.stream_inode(self.metadata(path)?)
    }

    /// As [`Root::stream`], by its inode.
    #[cfg(feature = "alloc")]
    pub fn stream_inode(&self, inode: Inode) -> Result<Stream<'_, S, L>, Error> {
        Ok(Stream::new(self, *self.open_inode(inode)?.inode()))
    }

    /// Returns what `path` leads to, through symlinks.
    pub fn metadata(&self, path: &[u8]) -> Result<Inode, Error> {
        self.lock().walk(path, true)
    }

    /// Returns what `path` names, a symlink itself if it is one.
    pub fn symlink_metadata(&self, path: &[u8]) -> Result<Inode, Error> {
        self.lock().walk(path, false)
    }

    /// Returns the inode with this number.
    pub fn inode(&self, nid: Nid) -> Result<Inode, Error> {
        self.lock().inode(nid)
    }

    /// Returns a cursor at the start of the directory at `path`.
    pub fn read_dir(&self, path: &[u8]) -> Result<DirCursor, Error> {
        DirCursor::new(self.metadata(path)?)
    }

    /// Returns a cursor at the start of a directory.
    pub fn read_dir_inode(&self, dir: Inode) -> Result<DirCursor, Error> {
        DirCursor::new(dir)
    }

    /// Returns the target of the symlink at `path`, in `out`; at most [`PATH_BYTES_MAX`] bytes.
    pub fn read_link<'o>(&self, path: &[u8], out: &'o mut [u8]) -> Result<&'o [u8], Error> {
        let inode = self.symlink_metadata(path)?;
        self.read_link_inode(&inode, out)
    }

    /// Returns the target of a symlink, in `out`.
    pub fn read_link_inode<'o>(&self, inode: &Inode, out: &'o mut [u8]) -> Result<&'o [u8], Error> {
        if inode.kind != FileKind::Symlink {
            return Err(PathError::NotASymlink.into());
        }
        let len = usize::try_from(inode.size).ok();
        let target = len.and_then(|len| out.get_mut(..len));
        let target = target.ok_or(PathError::BufferTooSmall(inode.size))?;
        self.lock().data(inode, 0, target)?;
        Ok(target)
    }

    /// Returns device and byte offset of the source of byte `offset` of a file; `None` for a hole or
    /// beyond the end.
    pub fn source_of(&self, inode: &Inode, offset: u64) -> Result<Option<(DeviceId, u64)>, Error> {
        self.lock().source_of(inode, offset)
    }

    /// Returns the storage's clock in nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.lock().io.storage.now_ns()
    }

    /// Unmounts: gives storage and layer back.
    pub fn into_parts(self) -> (S, L) {
        let inner = self.inner.into_inner();
        (inner.io.storage, inner.io.layer)
    }

    /// Returns the counters since the mount.
    pub fn stats(&self) -> Stats {
        self.lock().io.stats
    }

    /// Returns what the image says about itself.
    pub fn superblock(&self) -> Superblock {
        *self.lock().mount.superblock()
    }

    /// Moves background work on without waiting.
    pub fn progress(&self) {
        let inner = &mut *self.lock();
        inner.io.layer.progress(&mut inner.io.storage);
        #[cfg(feature = "alloc")]
        inner.go_on_prefetching();
    }

    /// Moves background work on without waiting, and takes one ended job that its embedder started
    /// over the storage and named by a number; `None` when none has ended. At most 64 wait for the
    /// embedder: of more, those that ended last are dropped and counted as [`Stats::stray_jobs`].
    #[cfg(feature = "alloc")]
    pub fn poll_job(&self) -> Option<Ended> {
        self.lock().poll_foreign()
    }

    /// Begins to bring near what the start of the last boot over this region read: what the region
    /// lacks into it, and what it has into the blocks in memory, as far as half of them hold it.
    /// More follows after each read, and with [`Root::progress`]; at most two requests of
    /// it are under way, so that no read waits for more than these.
    #[cfg(feature = "alloc")]
    pub fn prefetch(&self) {
        self.lock().begin_prefetch();
    }

    /// Calls `with` with the layer and the storage, for figures and for making it durable.
    pub fn with_layer<T>(&self, with: impl FnOnce(&mut L, &mut S) -> T) -> T {
        let inner = &mut *self.lock();
        with(&mut inner.io.layer, &mut inner.io.storage)
    }
}
