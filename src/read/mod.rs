//! Reading: a mounted root, its paths, files and directories.
//!
//! Always: a read returns exactly the file's bytes or an error (L1), and no read fails for a
//! fault of the region while the source answers (L2). All methods take `&self`; the lock of a mount is
//! free while a device works for a reader ([`Root`]).
//!
//! # What a call costs, whatever the image says
//! The table gives upper bounds, for devices with sectors of 512 bytes and no region; a region
//! rounds reads to 4 KiB instead. Tests hold every golden image to these bounds, and hostile
//! images too.
//!
//! A *page* is 4 KiB of metadata. A page of the image costs one read. A page of the metabox costs
//! a read of 4 KiB of that file, and the one or two pages of the file's inode. Pages stay in
//! memory as [`Budget::metadata_bytes`] allows; a page in memory costs no read. `B` is the block
//! size in bytes.
//!
//! | call | cost |
//! |-|-|
//! | mount | the first 4 KiB, a longer block as a whole, 3 reads of 4 KiB for the device table, the root's inode |
//! | an inode | 2 pages |
//! | a block of a directory | 1 page, or `B` / 4096 in longer blocks |
//! | a name in a directory of `n` blocks | ⌈log2(`n` + 1)⌉ blocks, 13 comparisons in the last block; an inode |
//! | a path of `d` names | the cost of a name, `d` times: 3 pages each where directories have one block of at most 4 KiB. Warm: no read. Each symlink adds its target of at most 4 KiB, read as a file is, and the names in the target; at most [`SYMLINK_HOPS_MAX`] symlinks |
//! | opening a file | nothing if the file has no xattrs, or if a filter of names excludes the wanted names; else the headers and names of its xattrs, in pages: mostly the page of its inode, and the pages of shared xattrs |
//! | a path of `d` names in a stack of `n` images | a name costs one lookup in an image if the topmost image has the name, else at most `n`; whether a directory is opaque costs its xattrs, before the image below is searched. A directory at the end is looked for in all images, once ([`Stats::lookups`] counts) |
//! | a list of a merged directory | that of each of its parts; for each name an inode, and one more for each part of a directory |
//! | a list of a directory of `n` blocks | each block twice, a step for each entry |
//! | `len` bytes, not compressed, in `x` extents | `len` bytes and 1 KiB an extent, in `len` / 1 MiB reads and 3 an extent; 8 bytes of map for each chunk, in pages |
//! | `len` bytes, compressed, in `x` extents | for each extent its encoded bytes, at most 1 MiB, and decoding up to the last wanted byte, at most 12 MiB; a fragment costs the same in the packed inode. `x` is at most `len` / `B` + 2, or `len` with records of extents |
//! | the index of an extent | 64 hops back and one for each 1,024 lclusters of the file, steps ahead over 12 MiB, and an entry for each lcluster that is read; with records 52 steps, or, where each has 4 bytes, all records before the extent once |
//! | all xattrs of an inode | 256 KiB of them and 255 shared entries of at most 64 KiB, in pages |
//! | a walk | at most [`Root::directory_bytes_max`] / 13 entries; for each a block of a directory, an inode and a page that is read ahead |
//!
//! So the cost of a mount, a lookup or a read does not grow with the length of the image, except
//! for the hops and records of a compressed file's index, which lies in the image. The cost of a
//! walk does grow with the image. A command that reads files reads each file once for each of its
//! names. A hole costs no read but takes time by its length: a reader of 2^62 zeros gets them all.

#[cfg(feature = "alloc")]
mod blocks;
mod budget;
#[cfg(feature = "alloc")]
mod decoded;
mod dir;
#[cfg(feature = "alloc")]
mod durable;
mod elsewhere;
mod failed;
mod file;
mod guard;
mod inner;
mod io;
mod memory;
mod metadata;
mod mount;
mod objects;
mod plan;
#[cfg(feature = "alloc")]
mod room;
mod shelf;
mod source;
mod stats;
mod stop;
#[cfg(feature = "alloc")]
mod stream;
#[cfg(feature = "alloc")]
mod task;
#[cfg(feature = "alloc")]
mod tree;
#[cfg(feature = "alloc")]
mod union;
mod walk;
mod xattrs;

pub use budget::Budget;
pub use dir::{DirCursor, DirEntry, NAME_BYTES_MAX};
pub use failed::MountError;
pub use file::File;
pub use io::BATCH_MAX;
pub use memory::Memory;
pub use stats::Stats;
#[cfg(feature = "alloc")]
pub use stream::Stream;
#[cfg(feature = "alloc")]
pub use tree::{DirGuard, Tree};
pub use walk::{PATH_BYTES_MAX, SYMLINK_HOPS_MAX};
pub use xattrs::{XATTR_BYTES_MAX, XattrName};

use crate::blob::{Image, Sources};
use crate::cache::Layer;
use crate::erofs::{FileKind, Incompat, Inode, Nid, Origin, Superblock};
use crate::error::{Error, PathError};
use crate::num::clip64;
#[cfg(feature = "alloc")]
use crate::storage::Ended;
use crate::storage::events::Recorder;
use crate::storage::{DeviceId, Storage};
use crate::units::DeviceSlot;
use guard::{Guard, Shared};
use memory::Lent;
use mount::Mount;
use stop::Blocking;
use walk::Follow;

/// The most bytes of directories that one byte of a device may stand for, where data is packed.
/// Entries differ in their inode numbers and names, so no tool reaches this factor.
pub const PACKED_FACTOR: u64 = 1 << PACKED_BITS;
const PACKED_BITS: u32 = 8;

/// The owner of a mount's state: the heap where there is one, because a mount is moved and its
/// tables are long.
#[cfg(feature = "alloc")]
type Held<T> = alloc::boxed::Box<T>;
#[cfg(not(feature = "alloc"))]
type Held<T> = T;

/// A mounted image.
///
/// Several threads may read at once if the storage is [`Sync`]. A spin lock is held while a read is
/// planned and settled, and is free while devices work, bytes are checked and decoded: see "Many
/// readers" of `docs/embedding.md` for what each call may wait for. No method may be called from
/// within a call of the storage or of [`Root::with_layer`], nor from an interrupt handler that may
/// have interrupted another.
///
/// `S` is the storage that reads go to. `L` is the layer that keeps fetched blocks:
/// [`crate::cache::NoRegion`] or, with `alloc`, `Option<`[`crate::cache::Cache`]`>`.
///
/// ```
/// use rootlet::{cache::NoRegion, read::Root, storage::memory::MemoryStorage};
/// # let tiny = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny.erofs"));
/// let mut storage = MemoryStorage::new();
/// let device = storage.add_disk("root", tiny).ok_or("too many disks")?;
/// let root = Root::open_image(storage, NoRegion, device)?;
///
/// let mut cursor = root.read_dir(b"/")?;
/// while let Some(entry) = cursor.next(&root)? {
///     println!("{}", entry.name.escape_ascii());
/// }
/// let mut out = [0; 16];
/// let len = root.open(b"/link")?.read_at(0, &mut out)?;
/// assert_eq!(&out[..len], b"hello\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Root<S, L> {
    shared: Held<Shared<S, L>>,
    /// The origin of the inodes of this mount.
    origin: Origin,
}

/// Returns what a mount takes of the memory: nothing where there is a heap.
#[cfg(feature = "alloc")]
fn lent(_: &'static mut Memory) -> Lent {
    Lent
}
#[cfg(not(feature = "alloc"))]
fn lent(memory: &'static mut Memory) -> Lent {
    memory
}

impl<S: Storage, L: Layer<S>> Root<S, L> {
    /// Mounts the image on `device` alone: an image without blobs, or one that was flattened into
    /// one file.
    ///
    /// # Errors
    /// As [`Image::read`], [`Image::alone`] and [`Root::new`].
    #[cfg(feature = "alloc")]
    pub fn open_image(storage: S, layer: L, device: DeviceId) -> Result<Self, MountError<S, L>> {
        Self::mount_alone(storage, layer, device, Lent)
    }

    /// Mounts as [`Root::open_image`] does, in `memory`: for a machine without a heap.
    ///
    /// # Errors
    /// As [`Image::read`], [`Image::alone`] and [`Root::new_in`].
    pub fn open_image_in(
        storage: S,
        layer: L,
        device: DeviceId,
        memory: &'static mut Memory,
    ) -> Result<Self, MountError<S, L>> {
        Self::mount_alone(storage, layer, device, lent(memory))
    }

    // Not inlined: the head of the image leaves the stack with it.
    #[inline(never)]
    fn mount_alone(
        storage: S,
        layer: L,
        device: DeviceId,
        lent: Lent,
    ) -> Result<Self, MountError<S, L>> {
        let image = match Image::read(&storage, device) {
            Ok(image) => image,
            Err(error) => return Err(MountError { error, storage, layer }),
        };
        match image.alone(&storage) {
            Ok(sources) => Self::mount(storage, layer, &image, &sources, &Budget::default(), lent),
            Err(error) => Err(MountError { error: error.into(), storage, layer }),
        }
    }

    /// Mounts `image`, whose device slots have the sources `parts`, over `layer`. Reads only the
    /// inode of the root, which must be a directory.
    ///
    /// # Errors
    /// As [`Root::with_budget`].
    #[cfg(feature = "alloc")]
    pub fn new(
        storage: S,
        layer: L,
        image: &Image,
        parts: &Sources,
    ) -> Result<Self, MountError<S, L>> {
        Self::with_budget(storage, layer, image, parts, &Budget::default())
    }

    /// Mounts as [`Root::new`] does, in `memory`: for a machine without a heap. With `alloc` the
    /// mount takes the heap's.
    ///
    /// # Errors
    /// [`BindError::Unfit`](crate::blob::BindError::Unfit); any failure to read the inode of the
    /// root. The error holds storage and layer; the memory stays lent.
    pub fn new_in(
        storage: S,
        layer: L,
        image: &Image,
        parts: &Sources,
        memory: &'static mut Memory,
    ) -> Result<Self, MountError<S, L>> {
        Self::mount(storage, layer, image, parts, &Budget::default(), lent(memory))
    }

    /// Mounts as [`Root::new`] does, with the limits of memory in `budget`.
    ///
    /// # Errors
    /// [`BindError::Unfit`](crate::blob::BindError::Unfit); unsupported when decoding the image's
    /// algorithms needs more memory than `budget` has; any failure to read the inode of the root.
    /// The error holds storage and layer.
    #[cfg(feature = "alloc")]
    pub fn with_budget(
        storage: S,
        layer: L,
        image: &Image,
        parts: &Sources,
        budget: &Budget,
    ) -> Result<Self, MountError<S, L>> {
        Self::mount(storage, layer, image, parts, budget, Lent)
    }

    fn mount(
        storage: S,
        layer: L,
        image: &Image,
        parts: &Sources,
        budget: &Budget,
        lent: Lent,
    ) -> Result<Self, MountError<S, L>> {
        let images = [(image, parts)];
        let images = inner::Images::alone(&images);
        let shared = inner::mount(storage, layer, &images, &budget.bounded(), lent)?;
        let origin = shared.mount.superblock().origin();
        #[cfg(feature = "alloc")]
        let shared = Held::new(shared);
        let root = Self { shared, origin };
        let found = root.lock().root().blocking();
        match found {
            Ok(_) => Ok(root),
            Err(error) => {
                let (storage, layer) = root.into_parts();
                Err(MountError { error, storage, layer })
            }
        }
    }

    /// Returns the most bytes that reads may allocate after the mount, for metadata, decoders and
    /// decoded bytes; none without `alloc`.
    pub fn reserve_bytes(&self) -> usize {
        self.lock().reserve_bytes()
    }

    /// Returns an upper bound for the bytes of all directories of the image together: the bytes of
    /// its devices, times [`PACKED_FACTOR`] if the image has features that pack data.
    pub fn directory_bytes_max(&self) -> u64 {
        let objects = self.shared.objects;
        let sources = (0..).zip(&self.shared.sources);
        let sources = sources.filter(|(slot, _)| objects != Some(DeviceSlot::new(*slot)));
        let devices: u128 = sources.map(|(_, source)| u128::from(source.bytes)).sum();
        let is_packed =
            |mount: &Mount| !mount.superblock().incompat().without(Incompat::UNPACKED).is_empty();
        #[cfg(feature = "alloc")]
        let below = self.shared.stack.iter().any(is_packed);
        #[cfg(not(feature = "alloc"))]
        let below = false;
        let packed = below || is_packed(&self.shared.mount);
        clip64(if packed { devices << PACKED_BITS } else { devices })
    }

    fn lock(&self) -> Guard<'_, S, L> {
        self.shared.lock()
    }

    /// Waits for the lock, and turns to the image of an inode.
    fn lock_at(&self, inode: &Inode) -> Guard<'_, S, L> {
        let mut guard = self.lock();
        guard.turn_to(inode.nid());
        guard
    }

    /// Checks that an inode is one of this mount.
    ///
    /// # Errors
    /// [`PathError::OtherRoot`].
    fn own(&self, inode: &Inode) -> Result<(), PathError> {
        if inode.origin() == self.origin { Ok(()) } else { Err(PathError::OtherRoot(inode.nid())) }
    }

    /// Opens the regular file at `path`, through symlinks.
    pub fn open(&self, path: &[u8]) -> Result<File<'_, S, L>, Error> {
        self.open_inode(self.metadata(path)?)
    }

    /// Opens the regular file with this inode.
    ///
    /// # Errors
    /// Unsupported when marks of overlayfs say that the file's bytes lie outside the image, and the
    /// storage has no objects; [`Error::Object`]; [`PathError::OtherRoot`].
    pub fn open_inode(&self, inode: Inode) -> Result<File<'_, S, L>, Error> {
        self.own(&inode)?;
        match inode.kind() {
            FileKind::Regular => {
                let inode = self.lock().placed(&inode).blocking()?;
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

    /// Opens the regular file with this inode, to read it from front to back.
    #[cfg(feature = "alloc")]
    pub fn stream_inode(&self, inode: Inode) -> Result<Stream<'_, S, L>, Error> {
        Ok(Stream::new(self, *self.open_inode(inode)?.inode()))
    }

    /// Returns the inode that `path` leads to, through symlinks.
    pub fn metadata(&self, path: &[u8]) -> Result<Inode, Error> {
        self.lock().walk(path, Follow::All).blocking()
    }

    /// Returns the inode that `path` names; a symlink at the end of `path` is not followed.
    pub fn symlink_metadata(&self, path: &[u8]) -> Result<Inode, Error> {
        self.lock().walk(path, Follow::AllButLast).blocking()
    }

    /// Returns the inode with number `nid`.
    pub fn inode(&self, nid: Nid) -> Result<Inode, Error> {
        self.lock().inode(nid).blocking()
    }

    /// Returns a cursor at the start of the directory at `path`.
    pub fn read_dir(&self, path: &[u8]) -> Result<DirCursor, Error> {
        self.read_dir_inode(self.metadata(path)?)
    }

    /// Returns a cursor at the start of the directory `dir`.
    pub fn read_dir_inode(&self, dir: Inode) -> Result<DirCursor, Error> {
        self.read_dir_at(dir, 0)
    }

    /// Returns a cursor at `position` of the directory `dir`, a value of [`DirCursor::position`].
    /// Any other number stands for the entry that holds this byte, else for the entry after it,
    /// else
    /// for the end.
    pub fn read_dir_at(&self, dir: Inode, position: u64) -> Result<DirCursor, Error> {
        self.own(&dir)?;
        DirCursor::open(&mut self.lock_at(&dir), dir, position).blocking()
    }

    /// Returns the inode of the entry `name` of a directory; a symlink is not followed. `None` if
    /// the
    /// directory has no entry of that name. `.` and `..` are entries like others, if the image has
    /// them.
    pub fn find(&self, dir: &Inode, name: &[u8]) -> Result<Option<Inode>, Error> {
        self.own(dir)?;
        if dir.kind() != FileKind::Directory {
            return Err(PathError::NotADirectory.into());
        }
        self.lock().find(dir, name).blocking()
    }

    /// Reads the target of the symlink at `path` into `out`, and returns it. Walks accept targets
    /// of at most [`PATH_BYTES_MAX`] bytes.
    pub fn read_link<'o>(&self, path: &[u8], out: &'o mut [u8]) -> Result<&'o [u8], Error> {
        let inode = self.symlink_metadata(path)?;
        self.read_link_inode(&inode, out)
    }

    /// Reads the target of the symlink with this inode into `out`, and returns it.
    pub fn read_link_inode<'o>(&self, inode: &Inode, out: &'o mut [u8]) -> Result<&'o [u8], Error> {
        self.own(inode)?;
        if inode.kind() != FileKind::Symlink {
            return Err(PathError::NotASymlink.into());
        }
        let len = usize::try_from(inode.size()).ok();
        let target = len.and_then(|len| out.get_mut(..len));
        let target = target.ok_or(PathError::BufferTooSmall(inode.size()))?;
        self.lock().data(inode, 0, target).blocking()?;
        Ok(target)
    }

    /// Returns the device and byte offset where byte `offset` of a file is stored; `None` for a
    /// hole or after the end.
    pub fn source_of(&self, inode: &Inode, offset: u64) -> Result<Option<(DeviceId, u64)>, Error> {
        self.own(inode)?;
        self.lock().source_of(inode, offset).blocking()
    }

    /// Returns the storage's clock in nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.shared.storage.now_ns()
    }

    /// Returns the storage.
    pub fn storage(&self) -> &S {
        &self.shared.storage
    }

    /// Returns the storage, to look for further devices.
    pub fn storage_mut(&mut self) -> &mut S {
        &mut self.shared.storage
    }

    /// Unmounts, and returns the storage and the layer.
    pub fn into_parts(self) -> (S, L) {
        let shared = self.shared;
        #[cfg(feature = "alloc")]
        let shared = *shared;
        shared.into_parts()
    }

    /// Returns the counters since the mount.
    pub fn stats(&self) -> Stats {
        self.lock().io.stats
    }

    /// Returns the ring of events since the mount, which records nothing unless
    /// [`Budget::events`] says so.
    pub fn recorder(&self) -> Recorder {
        self.lock().io.recorder.clone()
    }

    /// Returns the superblock of the image.
    pub fn superblock(&self) -> Superblock {
        *self.shared.mount.superblock()
    }

    /// Advances background work without waiting.
    pub fn progress(&self) {
        let inner = &mut self.lock();
        inner.io.layer.progress(&self.shared.storage);
        #[cfg(feature = "alloc")]
        inner.go_on_prefetching();
    }

    /// Advances background work without waiting, and returns one ended job that the embedder
    /// started over the storage with a numbered tag; `None` when none has ended. At most 64 ended
    /// jobs wait for the embedder: later ones are dropped and counted as [`Stats::stray_jobs`].
    #[cfg(feature = "alloc")]
    pub fn poll_job(&self) -> Option<Ended> {
        self.lock().poll_foreign()
    }

    /// Begins to prefetch the blocks that the start of the last boot over this region read. Blocks
    /// that the region lacks are fetched into the region; blocks that it has are read into the
    /// blocks in memory, up to half of those. Each read and each [`Root::progress`] continues the
    /// prefetch. At most two of its requests are under way, so no read waits for more than two.
    #[cfg(feature = "alloc")]
    pub fn prefetch(&self) {
        self.lock().begin_prefetch();
    }

    /// Calls `with` with the layer and the storage, and returns its result: for figures, and to
    /// make the layer durable. Holds the lock of the mount meanwhile: others wait.
    pub fn with_layer<T>(&self, with: impl FnOnce(&mut L, &S) -> T) -> T {
        let inner = &mut self.lock();
        with(&mut inner.io.layer, &self.shared.storage)
    }
}
