//! Devices as the read path sees them: it submits batches, and completions come in any order.
//!
//! Always: a device is done with a lent buffer before the lender uses it again; a completion
//! carries the whole range or an error, never a part of the range.
//!
//! There are two ways to lend. A **foreground** batch ([`Storage::run`]) borrows the buffers of
//! a waiting reader for the length of one call, so bytes land by DMA where the reader wants
//! them. A **background** job ([`Storage::start`]) owns its buffer, and advances whenever a batch
//! is run or jobs are polled.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

use core::fmt;

use rootlet_base::cause::write_cause;
use rootlet_base::num::{index, wide};

#[cfg(feature = "alloc")]
mod atomic;
#[cfg(feature = "alloc")]
mod buffer;
mod device;
mod discover;
mod errno;
pub mod events;
#[cfg(all(feature = "std", unix))]
pub mod file;
mod forward;
mod lent;
pub mod memory;
mod object;
#[cfg(feature = "alloc")]
mod parts;
#[cfg(feature = "alloc")]
mod retry;
pub mod share;
#[cfg(all(feature = "std", unix))]
mod share_dir;
mod simple;
mod slots;
mod spin;
mod stamp;
#[cfg(feature = "alloc")]
mod tag;

#[cfg(feature = "alloc")]
pub use buffer::Buffer;
pub use device::{DeviceId, DeviceInfo, Unfit};
pub use discover::{Discover, DiscoverError, SERIAL_BYTES, ShareSearch, named, only, serial};
pub use errno::Errno;
pub use object::{ObjectFault, ObjectPiece, ObjectPlace};
#[cfg(feature = "alloc")]
pub use parts::{Cipher, Parts};
#[cfg(feature = "alloc")]
pub use retry::Retry;
pub use share::{FileType, LinkFault, PathFault};
#[cfg(all(feature = "std", unix))]
pub use share_dir::path_on_share;
pub use simple::{Disk, SIMPLE_DISKS, Simple};
pub use slots::{BlockQueue, BlockRead, ReadSlots, SlotMemory};
#[cfg(feature = "alloc")]
pub use spin::Wait;
pub use spin::{Patience, Spin};
pub use stamp::{FileStamp, FileTime, Version};
#[cfg(feature = "alloc")]
pub use tag::Tag;
#[cfg(feature = "alloc")]
pub use tag::UnderWay;

/// The cause of a failed transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoErrorKind {
    /// The device reported a failure; the number is its own status or errno.
    Device(u32),
    /// The device did not answer before the deadline.
    Timeout,
    /// Fewer bytes arrived than were asked for; the number counts them.
    Short(u32),
    /// The range ends after the device.
    OutOfRange,
    /// A write to a read-only device.
    ReadOnly,
    /// The device is gone: unplugged, or it asked for a reset.
    Gone,
    /// The device broke its protocol.
    Protocol,
    /// The daemon of a share was restarted, and does not know the request.
    Forgotten,
    /// The file of a share was reopened, and is another file or has changed.
    Changed,
    /// Offset or length is not a multiple of the sector size, or the range is too long.
    Unaligned,
    /// The bytes have another digest than the one that pins them; the buffer holds zeros.
    Untrue,
}

impl fmt::Display for IoErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(status) => write!(f, "the device reported error {status}"),
            Self::Timeout => f.write_str("no answer before the deadline"),
            Self::Short(got) => write!(f, "only {got} bytes arrived"),
            Self::OutOfRange => f.write_str("range beyond the end of the device"),
            Self::ReadOnly => f.write_str("the device is read-only"),
            Self::Gone => f.write_str("the device is gone"),
            Self::Protocol => f.write_str("the device broke its protocol"),
            Self::Forgotten => f.write_str("the share's daemon was started anew"),
            Self::Changed => f.write_str("the file changed under the mount"),
            Self::Unaligned => f.write_str("range not aligned to the device's sectors"),
            Self::Untrue => f.write_str("the bytes have another digest than the pinned one"),
        }
    }
}

impl core::error::Error for IoErrorKind {}

/// A failed transfer: its device, its range and the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoError {
    /// The device.
    pub device: DeviceId,
    /// The byte offset of the transfer.
    pub at: u64,
    /// The length of the transfer in bytes.
    pub len: usize,
    /// The cause.
    pub kind: IoErrorKind,
}

impl IoError {
    /// Returns the error of a transfer of `len` bytes at byte `at` of `device`.
    pub const fn new(device: DeviceId, at: u64, len: usize, kind: IoErrorKind) -> Self {
        Self { device, at, len, kind }
    }
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes at byte {:#x}", self.device, self.len, self.at)?;
        write_cause(f, &self.kind)
    }
}

impl core::error::Error for IoError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.kind)
    }
}

/// The bytes of a foreground transfer.
#[derive(Debug)]
pub enum Lent<'b> {
    /// Fill this buffer from the device.
    Read(&'b mut [u8]),
    /// Write this buffer to the device.
    Write(&'b [u8]),
    /// Make every write that completed before this was submitted durable.
    Flush,
}

/// One request of a foreground batch.
#[derive(Debug)]
#[non_exhaustive]
pub struct Transfer<'b> {
    /// The device.
    pub device: DeviceId,
    /// The byte offset; 0 for a flush.
    pub at: u64,
    /// The buffer.
    pub lent: Lent<'b>,
    /// `None` until the transfer has ended.
    pub result: Option<Result<(), IoErrorKind>>,
}

impl<'b> Transfer<'b> {
    /// Returns a read of `out.len()` bytes at byte `at`.
    pub fn read(device: DeviceId, at: u64, out: &'b mut [u8]) -> Self {
        Self { device, at, lent: Lent::Read(out), result: None }
    }

    /// Returns a write of `data` at byte `at`.
    pub fn write(device: DeviceId, at: u64, data: &'b [u8]) -> Self {
        Self { device, at, lent: Lent::Write(data), result: None }
    }

    /// Returns a flush of `device`.
    pub fn flush(device: DeviceId) -> Self {
        Self { device, at: 0, lent: Lent::Flush, result: None }
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        match &self.lent {
            Lent::Read(out) => out.len(),
            Lent::Write(data) => data.len(),
            Lent::Flush => 0,
        }
    }

    /// Returns whether the transfer moves no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the result; for a transfer that was never run, [`IoErrorKind::Gone`].
    pub fn outcome(&self) -> Result<(), IoError> {
        let kind = match self.result {
            Some(Ok(())) => return Ok(()),
            Some(Err(kind)) => kind,
            None => IoErrorKind::Gone,
        };
        Err(IoError { device: self.device, at: self.at, len: self.len(), kind })
    }
}

/// Fills `out` with the bytes of `device` from byte `at` on, in transfers that the device takes. It is
/// for texts and tables that are read once: a batch keeps a device busier.
///
/// # Errors
/// That of the first transfer that failed.
pub fn read_exact<S: Storage + ?Sized>(
    storage: &S,
    device: DeviceId,
    at: u64,
    out: &mut [u8],
) -> Result<(), IoError> {
    let refused = |kind| IoError::new(device, at, out.len(), kind);
    let info = storage.info(device).ok_or(refused(IoErrorKind::Gone))?;
    let end = at.checked_add(wide(out.len()));
    let places = at..end.ok_or(refused(IoErrorKind::OutOfRange))?;
    let most = index(info.transfer_bytes_max).max(1);
    for (part, at) in out.chunks_mut(most).zip(places.step_by(most)) {
        let mut batch = [Transfer::read(device, at, part)];
        storage.run(&mut batch, &mut |_, _| {});
        batch.iter().try_for_each(Transfer::outcome)?;
    }
    Ok(())
}

/// Devices that run batches, and with `alloc` take background jobs.
///
/// Each started job comes back once, with its tag, and with its buffer unless the device keeps that
/// for good. A job ends before [`Storage::patience_ns`] have passed: with [`IoErrorKind::Timeout`]
/// if its device does not answer. The library waits no longer for a job. It drops, counts and logs
/// a job that comes back twice, too late, or to a mount that did not start it.
///
/// A mount takes all ended jobs of its storage. An embedder may start jobs of its own over the
/// storage of a mount: it names them by numbers ([`Tag::from`]), and takes them from
/// `Root::poll_job` of the crate `rootlet`, not from the storage.
///
/// Every method takes a shared reference: a storage locks what its devices need locked. If a storage
/// is `Sync`, several threads may be in [`Storage::run`] at once, and each returns when its own
/// batch has ended. The library calls no method of the storage from `done`.
///
/// A storage that takes no jobs still serves all reads: streams then read nothing ahead, and a
/// region keeps nothing.
///
#[doc = include_str!("example.md")]
pub trait Storage {
    /// Returns the properties of `device`; `None` if there is no such device.
    fn info(&self, device: DeviceId) -> Option<DeviceInfo>;

    /// Submits the whole batch to all its devices at once, and returns when every transfer has a
    /// result. Calls `done` once for each transfer as it completes, in any order, while others are
    /// still under way. A transfer that reaches its deadline fails with [`IoErrorKind::Timeout`],
    /// and its device does not write to its buffer any more. If a device cannot be kept from
    /// writing, this function does not return.
    ///
    /// Durability of writes: a completed write is volatile. Until a flush that was submitted
    /// after its completion has itself completed, each of its sectors may after a power cut be
    /// old, new or torn, independently of all others.
    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>));

    /// Returns the `len` bytes at byte `at` of a device that lies in memory, in place. `None` for
    /// every other device, and for a range that the device does not have. Bytes that can be viewed
    /// are read without a transfer and without a region.
    fn view(&self, device: DeviceId, at: u64, len: usize) -> Option<&[u8]> {
        let _ = (device, at, len);
        None
    }

    /// Judges bytes that somebody holds as those at byte `at` of `device`: a region, above all. Asked
    /// of a device with [`DeviceInfo::pinned`], in whole sectors; may read the device's digests. A
    /// storage over another one hands the question on; by default nobody can say.
    fn vouch(&self, device: DeviceId, at: u64, data: &[u8]) -> Vouch {
        let _ = (device, at, data);
        Vouch::Unknown
    }

    /// Returns the device whose bytes are those of objects; `None` where there are none.
    fn objects(&self) -> Option<DeviceId> {
        None
    }

    /// Returns the byte of [`Storage::objects`] at which the object of `bytes` bytes with this
    /// fs-verity digest (of 32 or 64 bytes, blocks of 4 KiB, no salt) begins. Reads nothing. Nodes of
    /// its tree lie at other bytes of the same device; an object keeps its place in all mounts, but for
    /// a few.
    fn object(
        &self,
        digest: &[u8],
        bytes: u64,
        place: ObjectPlace<'_>,
    ) -> Result<u64, ObjectFault> {
        let _ = (digest, bytes, place);
        Err(ObjectFault::NoObjects)
    }

    /// Returns the byte of the next node that a check of byte `at` of [`Storage::objects`] needs and
    /// that is not known: from the top of the object's tree down. `None` if all are known. A node is
    /// known once bytes from elsewhere were found to be right ([`Storage::vouch`]).
    fn object_node(&self, at: u64) -> Option<u64> {
        let _ = at;
        None
    }

    /// Compares all bytes of the object that begins at byte `at` with its digest, unless nodes that
    /// came from elsewhere have proved it. What is read there later is compared again.
    fn prove_object(&self, at: u64) -> Result<(), ObjectFault> {
        let _ = at;
        Err(ObjectFault::NoObjects)
    }

    /// Opens a file of a share while others read. It is a device until [`Storage::close_file`].
    fn open_file(&self, mount_tag: &str, name: &str) -> Result<DeviceId, DiscoverError> {
        let _ = (mount_tag, name);
        Err(DiscoverError::NotFound)
    }

    /// Closes a file that [`Storage::open_file`] has opened, and that nobody reads. Its number may
    /// become that of another file.
    fn close_file(&self, file: DeviceId) {
        let _ = file;
    }

    /// Returns the device that `device` is a part of, and the byte at which it begins there; `None`
    /// for a whole device. A storage over another one hands the question on.
    fn whole(&self, device: DeviceId) -> Option<(DeviceId, u64)> {
        let _ = device;
        None
    }

    /// Sets a deadline, on the clock of [`Storage::now_ns`], for everything submitted from now on:
    /// a transfer ends by then, or by its device's own deadline if that is earlier. `None` removes
    /// it. A storage whose devices always answer does nothing.
    fn set_deadline(&self, until_ns: Option<u64>) {
        let _ = until_ns;
    }

    /// Returns the nanoseconds since some fixed moment: for deadlines, group ticks and figures
    /// only. No decision about data depends on them.
    fn now_ns(&self) -> u64;

    /// Returns [`Storage::now_ns`] as a function, to look at the clock while a batch runs; `None` if
    /// the clock needs the storage. For figures only.
    fn clock(&self) -> Option<fn() -> u64> {
        None
    }

    /// Called when the library has let go of its own lock, before it waits for a device: other
    /// threads read meanwhile. A storage of cooperative threads may run another one here. Does
    /// nothing by default.
    fn unlocked(&self) {}

    /// Called when the library has waited, before it takes its own lock again. A storage of
    /// cooperative threads may run another one here, and has to if that one has the lock. Does
    /// nothing by default.
    fn locking(&self) {}

    /// Submits a job, or returns it at once if the device has no room for it.
    #[cfg(feature = "alloc")]
    fn start(&self, job: Job) -> Result<(), Job> {
        Err(job)
    }

    /// Returns one ended job, in any order; `None` if none has ended. Never waits.
    #[cfg(feature = "alloc")]
    fn poll(&self) -> Option<Ended> {
        None
    }

    /// Returns whether jobs have ended whose bytes are not checked yet: [`Storage::poll`] returns each
    /// after [`Storage::work`] has checked it. Called with the library's own lock.
    #[cfg(feature = "alloc")]
    fn has_work(&self) -> bool {
        false
    }

    /// Checks the bytes of one job that has ended, if there is one. Called while the library's own
    /// lock is free, by several threads at once: each checks another job.
    #[cfg(feature = "alloc")]
    fn work(&self) {}

    /// Returns the most nanoseconds from the start of a job to its end, all tries included. Only
    /// time in which the device could answer counts, not a pause of the machine.
    #[cfg(feature = "alloc")]
    fn patience_ns(&self) -> u64 {
        60_000_000_000
    }

    /// Sleeps for at most `ns` nanoseconds. Called when [`Storage::poll`] has had nothing for long
    /// ([`Spin::round`]), so that a device that shares the processor gets it. Returns at once if no
    /// device does.
    #[cfg(feature = "alloc")]
    fn rest(&self, ns: u32) {
        let _ = ns;
    }

    /// Returns a number that differs between machines resumed from the same snapshot of memory, as
    /// far as this storage can tell: random bits, or a value that the monitor changes at a resume.
    /// 0 if there is neither. Must be cheap: it is called once for each group of the region.
    #[cfg(feature = "alloc")]
    fn unique(&self) -> u64 {
        0
    }
}

/// The judgement of a storage over bytes that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouch {
    /// They are the device's bytes.
    Right,
    /// They are not.
    Wrong,
    /// Nobody can say: the digests cannot be had.
    Unknown,
}

/// The action of a background job.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Fill the buffer from the device; the job must hold its only handle.
    Read,
    /// Write the buffer to the device.
    Write,
    /// Make every write that completed before this was submitted durable.
    Flush,
}

/// A background request with the buffer that it owns.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct Job {
    /// The name of the job, which comes back unchanged.
    pub tag: Tag,
    /// The device.
    pub device: DeviceId,
    /// Byte offset; 0 for a flush.
    pub at: u64,
    /// The action.
    pub kind: JobKind,
    /// The bytes; `None` for a flush, and for a failed job whose device keeps the buffer for good.
    pub buffer: Option<Buffer>,
}

/// A background job that has ended, and its result.
#[cfg(feature = "alloc")]
pub type Ended = (Job, Result<(), IoErrorKind>);
