//! Devices as the read path sees them: submit a batch, take completions in any order.
//!
//! Always: a buffer that was lent to a device is back, unchanged in place, before its lender
//! sees it again; a completion carries the whole range or an error, never a part of it.
//!
//! There are two ways to lend. A **foreground** batch ([`Storage::run`]) borrows the buffers of
//! a waiting reader for the length of one call, so bytes land by DMA where the reader wants
//! them. A **background** job ([`Storage::start`]) owns its buffer, and moves on whenever
//! anybody runs a batch or polls; no reader ever waits for one.

use core::fmt;

#[cfg(feature = "alloc")]
mod buffer;
mod discover;
mod errno;
#[cfg(feature = "std")]
pub mod file;
pub mod memory;
#[cfg(feature = "alloc")]
mod retry;
pub(crate) mod share;
#[cfg(feature = "std")]
mod share_dir;
mod spin;
mod stamp;
#[cfg(feature = "alloc")]
mod tag;

#[cfg(feature = "alloc")]
pub use buffer::Buffer;
pub use discover::{Discover, DiscoverError, SERIAL_BYTES, ShareSearch, only, serial};
pub use errno::Errno;
#[cfg(feature = "alloc")]
pub use retry::Retry;
pub use share::{FileType, LinkFault, PathFault};
#[cfg(feature = "std")]
pub use share_dir::path_on_share;
#[cfg(feature = "alloc")]
pub(crate) use spin::Wait;
pub use spin::{Patience, Spin};
pub use stamp::{FileStamp, FileTime, Version};
#[cfg(feature = "alloc")]
pub use tag::Tag;
#[cfg(feature = "alloc")]
pub(crate) use tag::UnderWay;

/// A device of one [`Storage`]: a disk, or one open file of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// No device: stands for the source of a slot that is not there. No storage has it.
    pub const NONE: Self = Self(u16::MAX);

    /// Returns the device of this number; `None` for one that no storage can have.
    pub fn of(number: usize) -> Option<Self> {
        u16::try_from(number).ok().map(Self).filter(|device| *device != Self::NONE)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("a source that is not there");
        }
        write!(f, "device {}", self.0)
    }
}

/// What a device can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Length in bytes.
    pub bytes: u64,
    /// Offsets and lengths of transfers are multiples of this many bytes: of 1 for a file or
    /// memory, else of a power of two from 512 to 4096.
    pub sector_bytes: u32,
    /// The longest single transfer in bytes: a multiple of `sector_bytes`, not 0.
    pub transfer_bytes_max: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// What is known of the content behind the device: of a file its version, or what
    /// [`Discover::set_version`] said.
    pub version: Version,
}

/// The longest sector of a device: no read is cut finer than blocks of a region.
const SECTOR_BYTES_MAX: u32 = 4096;

impl DeviceInfo {
    /// Checks that reads can be cut into transfers of the device.
    ///
    /// # Errors
    /// What they cannot be cut by.
    pub fn check(&self) -> Result<(), Unfit> {
        let (sector, max) = (self.sector_bytes, self.transfer_bytes_max);
        let disk = sector.is_power_of_two() && (512..=SECTOR_BYTES_MAX).contains(&sector);
        if sector != 1 && !disk {
            return Err(Unfit::Sector(sector));
        }
        if max == 0 || !max.is_multiple_of(sector) {
            return Err(Unfit::Transfer { max, sector });
        }
        Ok(())
    }
}

/// Why nothing can be read from a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its sectors have this many bytes.
    Sector(u32),
    /// Its longest transfer is no number of sectors.
    Transfer {
        /// The longest transfer in bytes.
        max: u32,
        /// The sector in bytes.
        sector: u32,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sector(bytes) => write!(
                f,
                "its sectors have {bytes} bytes: a sector has 1 byte, or a power of two from 512 to {SECTOR_BYTES_MAX}"
            ),
            Self::Transfer { max, sector } => write!(
                f,
                "its longest transfer has {max} bytes: no whole sectors of {sector} bytes"
            ),
        }
    }
}

/// What went wrong with a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoErrorKind {
    /// The device reported a failure; the number is its own status or errno.
    Device(u32),
    /// The device did not answer before the deadline.
    Timeout,
    /// Fewer bytes arrived than were asked for; the number is how many did.
    Short(u32),
    /// The range lies beyond the end of the device.
    OutOfRange,
    /// A write to a read-only device.
    ReadOnly,
    /// The device is gone: unplugged, or it asked for a reset.
    Gone,
    /// The device broke its protocol.
    Protocol,
    /// The daemon of a share was started anew, and does not know of the request.
    Forgotten,
    /// The file of a share that was opened anew is not the one that was open, or has changed.
    Changed,
    /// Offset or length is not a multiple of the sector size, or the range is too long.
    Unaligned,
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
        }
    }
}

/// A failed transfer: which range of which device, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoError {
    /// The device.
    pub device: DeviceId,
    /// Byte offset of the transfer.
    pub at: u64,
    /// Length of the transfer in bytes.
    pub len: usize,
    /// The cause.
    pub kind: IoErrorKind,
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes at byte {:#x}: {}", self.device, self.len, self.at, self.kind)
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
pub struct Transfer<'b> {
    /// The device.
    pub device: DeviceId,
    /// Byte offset; 0 for a flush.
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

    /// Returns whether no bytes are moved.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the outcome; a transfer that was never run counts as gone.
    pub fn outcome(&self) -> Result<(), IoError> {
        let kind = match self.result {
            Some(Ok(())) => return Ok(()),
            Some(Err(kind)) => kind,
            None => IoErrorKind::Gone,
        };
        Err(IoError { device: self.device, at: self.at, len: self.len(), kind })
    }
}

/// Devices that run batches, and with `alloc` take background jobs.
///
/// Each job that was started comes back once, with its tag, and with its buffer unless the device
/// does not give that back. It ends before [`Storage::patience_ns`] have passed: with
/// [`IoErrorKind::Timeout`] where its device does not answer. The library waits no longer for a job.
/// It drops, counts and logs what comes back twice, too late, or to a mount that did not start it.
///
/// A mount takes all ended jobs of its storage. An embedder that starts jobs of its own over the
/// storage of a mount names them by numbers ([`Tag::from`]), and asks
/// [`Root::poll_job`](crate::read::Root::poll_job) for them, not the storage.
///
/// Storage that takes no jobs serves all reads: a stream then reads nothing ahead, and a region
/// keeps nothing.
pub trait Storage {
    /// Returns what `device` can do; `None` if there is no such device.
    fn info(&self, device: DeviceId) -> Option<DeviceInfo>;

    /// Submits the whole batch to all its devices at once, and returns when every transfer has
    /// a result. `done` is called once for each as it completes, in any order, while the others
    /// are still in flight. A transfer that meets its deadline fails with
    /// [`IoErrorKind::Timeout`], and its device does not write to its buffer any more. Where that
    /// cannot be had of a device, this does not return.
    ///
    /// Durability of writes: a completed write is volatile. Until a flush that was submitted
    /// after its completion has itself completed, each of its sectors may after a power cut be
    /// old, new or torn, independently of all others.
    fn run<'b>(
        &mut self,
        batch: &mut [Transfer<'b>],
        done: &mut dyn FnMut(usize, &mut Transfer<'b>),
    );

    /// Returns bytes of a device that lies in memory, where they are; `None` for every other device, and
    /// for a range that the device does not have. What can be viewed is read without a transfer
    /// and without a region.
    fn view(&self, device: DeviceId, at: u64, len: usize) -> Option<&[u8]> {
        let _ = (device, at, len);
        None
    }

    /// Has nothing that is submitted from now on take longer than until `until_ns` of
    /// [`Storage::now_ns`], where its device may take longer; `None` leaves it to the device again. A
    /// storage whose devices always answer has nothing to do.
    fn set_deadline(&mut self, until_ns: Option<u64>) {
        let _ = until_ns;
    }

    /// Returns the nanoseconds since some fixed moment. For deadlines, group ticks and figures only: no
    /// decision about data depends on it.
    fn now_ns(&self) -> u64;

    /// Submits a job, or gives it back at once when the device has no room for it.
    #[cfg(feature = "alloc")]
    fn start(&mut self, job: Job) -> Result<(), Job> {
        Err(job)
    }

    /// Takes one ended job, in any order; `None` when none has ended. Never waits.
    #[cfg(feature = "alloc")]
    fn poll(&mut self) -> Option<Ended> {
        None
    }

    /// Returns the most nanoseconds that a job takes from its start to its end, all tries included.
    /// Only time in which the device could have answered counts: a pause of the machine is none.
    #[cfg(feature = "alloc")]
    fn patience_ns(&self) -> u64 {
        60_000_000_000
    }

    /// Lets `ns` nanoseconds pass or less, where [`Storage::poll`] has had nothing for long
    /// ([`Spin::round`]): whoever shares the processor with a device leaves it to the device.
    /// Returns at once where nobody does.
    #[cfg(feature = "alloc")]
    fn rest(&mut self, ns: u32) {
        let _ = ns;
    }

    /// Returns a number that another machine, resumed from the same snapshot of memory, does not
    /// get, as far as this storage can tell: random bits, and what the monitor changes at a resume.
    /// Asked once for each group of the region, so it is to be cheap; 0 where there is nothing.
    #[cfg(feature = "alloc")]
    fn unique(&self) -> u64 {
        0
    }
}

/// What a background job does.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Fill the buffer from the device; the job must hold its only handle.
    Read,
    /// Write the buffer to the device.
    Write,
    /// As [`Lent::Flush`].
    Flush,
}

/// A background request with the buffer that it owns.
#[cfg(feature = "alloc")]
#[derive(Debug)]
pub struct Job {
    /// The name of the job, given back unchanged.
    pub tag: Tag,
    /// The device.
    pub device: DeviceId,
    /// Byte offset; 0 for a flush.
    pub at: u64,
    /// What to do.
    pub kind: JobKind,
    /// The bytes; `None` for a flush, and for a job that failed while its device keeps them for
    /// good.
    pub buffer: Option<Buffer>,
}

/// A background job that ended, and how.
#[cfg(feature = "alloc")]
pub type Ended = (Job, Result<(), IoErrorKind>);
