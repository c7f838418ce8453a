//! A user of rootlet without a heap: disks that wait, a storage of its own, blobs by name, futures.
//!
//! Always: it is compiled alone and beside a crate that turns `alloc` on, and is the same source.
#![no_std]
#![forbid(unsafe_code)]

use core::cell::{Cell, RefCell};
use core::fmt;

use rootlet::blob::{BindError, Image, Sources};
use rootlet::cache::NoRegion;
use rootlet::erofs::Inode;
use rootlet::read::{DirCursor, File, Memory, MountError, Root, Stats};
use rootlet::storage::{
    BlockQueue, BlockRead, DeviceId, DeviceInfo, Discover, DiscoverError, Disk, IoErrorKind, Lent,
    ReadSlots, Simple, SlotMemory, Storage, Transfer, serial,
};
use rootlet::{Error, PathError};

/// An image in flash, read by a driver that copies sectors.
#[derive(Debug)]
pub struct Flash(pub &'static [u8]);

impl Disk for Flash {
    fn info(&self) -> DeviceInfo {
        DeviceInfo::new(self.0.len() as u64, 512).with_read_only(true)
    }

    fn serial(&self) -> &str {
        "flash"
    }

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
        out.copy_from_slice(part(self.0, at, out.len())?);
        Ok(out.len())
    }
}

/// One disk that waits, as a storage.
pub type Disks = Simple<Flash, 1>;

/// A root that this crate keeps in a `static`.
pub type Mounted<S> = Root<S, NoRegion>;

/// Mounts the image of the only disk.
pub fn mount(
    flash: &'static [u8],
    memory: &'static mut Memory,
) -> Result<Mounted<Disks>, MountError<Disks, NoRegion>> {
    let mut storage = Disks::with_room(|| 0);
    let device = storage.add(Flash(flash)).expect("there is room for one");
    Root::open_image_in(storage, NoRegion, device, memory)
}

/// Devices with a queue: this crate moves the bytes of a batch itself.
#[derive(Debug)]
pub struct Queue(pub &'static [(&'static str, &'static [u8])]);

impl Storage for Queue {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        let (_, bytes) = self.0.get(usize::from(device.0))?;
        Some(DeviceInfo::new(bytes.len() as u64, 1))
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        for (index, transfer) in batch.iter_mut().enumerate().rev() {
            let device = self.0.get(usize::from(transfer.device.0));
            let (device, at) = (device.ok_or(IoErrorKind::Gone), transfer.at);
            transfer.result = Some(device.and_then(|(_, bytes)| match &mut transfer.lent {
                Lent::Read(out) => {
                    out.copy_from_slice(part(bytes, at, out.len())?);
                    Ok(())
                }
                Lent::Flush => Ok(()),
                _ => Err(IoErrorKind::ReadOnly),
            }));
            done(index, transfer);
        }
    }

    fn now_ns(&self) -> u64 {
        0
    }
}

impl Discover for Queue {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        let at = self.0.iter().position(|(own, _)| serial(own) == serial(name));
        at.and_then(DeviceId::of).ok_or(DiscoverError::NotFound)
    }
}

/// Mounts the image `name`, whose blobs are found by the tags of their slots.
pub fn mount_bound(
    mut storage: Queue,
    name: &str,
    memory: &'static mut Memory,
) -> Result<Mounted<Queue>, Error> {
    let device = storage.disk(name).map_err(|_| PathError::NotFound)?;
    let image: Image = Image::read(&storage, device)?;
    let sources: Sources = image.bind(&mut storage, &[]).map_err(|error| match error {
        missing @ BindError::Missing { .. } => Error::Bind(missing),
        other => other.into(),
    })?;
    Ok(Root::new_in(storage, NoRegion, &image, &sources, memory)?)
}

/// Returns the length and the FNV-1a of the file at `path`.
pub fn sum<S: Storage>(root: &Mounted<S>, path: &[u8]) -> Result<(u64, u32), Error> {
    let file: File<'_, S, NoRegion> = root.open(path)?;
    let (mut at, mut sum, mut out) = (0, 0x811c_9dc5_u32, [0; 256]);
    loop {
        let len = file.read_at(at, &mut out)?;
        if len == 0 {
            return Ok((at, sum));
        }
        for byte in &out[..len] {
            sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        at += len as u64;
    }
}

/// Flash whose driver has a queue; a read ends after several looks.
#[derive(Debug)]
pub struct SlowFlash {
    bytes: &'static [u8],
    queue: RefCell<[Option<BlockRead>; 4]>,
    looks: Cell<u32>,
}

impl SlowFlash {
    /// Returns how many reads are under way.
    pub fn under_way(&self) -> usize {
        self.queue.borrow().iter().flatten().count()
    }
}

impl BlockQueue for SlowFlash {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        (device == DeviceId(0)).then(|| DeviceInfo::new(self.bytes.len() as u64, 512))
    }

    fn start(&self, read: BlockRead) -> Result<(), BlockRead> {
        let mut queue = self.queue.borrow_mut();
        match queue.iter_mut().find(|place| place.is_none()) {
            Some(place) => {
                *place = Some(read);
                Ok(())
            }
            None => Err(read),
        }
    }

    fn poll(&self) -> Option<(BlockRead, Result<(), IoErrorKind>)> {
        self.looks.set(self.looks.get().wrapping_add(1));
        let is_slow = !self.looks.get().is_multiple_of(4);
        if is_slow {
            return None;
        }
        let mut read = self.queue.borrow_mut().iter_mut().find_map(Option::take)?;
        let at = read.at();
        let out = read.out();
        let result = part(self.bytes, at, out.len()).map(|bytes| out.copy_from_slice(bytes));
        Some((read, result))
    }

    fn now_ns(&self) -> u64 {
        0
    }
}

/// A storage whose mount two futures read at once.
pub type Slots = ReadSlots<SlowFlash, 2, 6>;
/// The memory for it.
pub type Blocks = SlotMemory<2, 6>;

/// Mounts the image of slow flash, for futures.
pub fn mount_slots(
    bytes: &'static [u8],
    blocks: &'static mut Blocks,
    memory: &'static mut Memory,
) -> Result<Mounted<Slots>, Error> {
    let flash = SlowFlash { bytes, queue: RefCell::default(), looks: Cell::new(0) };
    let storage = Slots::new(flash, blocks);
    Ok(Root::open_image_in(storage, NoRegion, DeviceId(0), memory)?)
}

/// Returns what [`sum`] returns, and does not wait.
pub async fn sum_async(root: &Mounted<Slots>, path: &[u8]) -> Result<(u64, u32), Error> {
    let slots = root.storage();
    let inode = slots.reading(|| root.metadata(path)).await?;
    let (mut at, mut sum, mut out) = (0, 0x811c_9dc5_u32, [0; 256]);
    loop {
        let len = slots.reading(|| root.open_inode(inode)?.read_at(at, &mut out)).await?;
        if len == 0 {
            return Ok((at, sum));
        }
        for byte in &out[..len] {
            sum = (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        at += len as u64;
    }
}

/// Returns the number of regular files in a directory, each looked up by its name too.
pub fn files<S: Storage>(root: &Mounted<S>, path: &[u8]) -> Result<usize, Error> {
    let dir: Inode = root.metadata(path)?;
    let mut cursor: DirCursor = root.read_dir(path)?;
    let mut files = 0;
    while let Some(entry) = cursor.next(root)? {
        let found = root.find(&dir, &entry.name)?;
        files += usize::from(found.is_some_and(|found| root.open_inode(found).is_ok()));
    }
    Ok(files)
}

/// Reads the target of a symlink into `out`.
pub fn target<'o, S: Storage>(
    root: &Mounted<S>,
    path: &[u8],
    out: &'o mut [u8],
) -> Result<&'o [u8], Error> {
    root.read_link(path, out)
}

/// Returns the bytes that were asked for, and the batches that they took.
pub fn figures<S: Storage>(root: &Mounted<S>) -> (u64, u64) {
    let stats: Stats = root.stats();
    (stats.asked_bytes, stats.batches)
}

/// Returns whose fault an error is, for the users of this crate.
pub fn fault(error: &Error) -> &'static str {
    match error {
        Error::Io(io) if matches!(io.kind, IoErrorKind::Device(_)) => "the driver",
        Error::Io(_) => "the device",
        Error::Corrupt(_) | Error::Unsupported(_) => "the image",
        Error::Bind(_) => "the configuration",
        Error::Path(_) => "the path",
        _ => "rootlet",
    }
}

/// Writes an error as this crate's users see it.
pub fn say(error: &Error, to: &mut dyn fmt::Write) -> fmt::Result {
    let cause: &dyn core::error::Error = error;
    write!(to, "{}: {cause}", fault(error))
}

/// A root goes into a `static`, and to another thread, whatever features are on.
pub const fn is_shared<T: Send + Sync>() {}
const _: () = is_shared::<Mounted<Disks>>();
const _: () = is_shared::<Mounted<Queue>>();

fn part(bytes: &[u8], at: u64, len: usize) -> Result<&[u8], IoErrorKind> {
    let start = usize::try_from(at).map_err(|_| IoErrorKind::OutOfRange)?;
    let rest = bytes.get(start..).and_then(|rest| rest.get(..len));
    rest.ok_or(IoErrorKind::OutOfRange)
}
