//! Disks whose drivers wait for each request, as a storage: one trait of five methods to write.
//!
//! Always: a driver is asked for whole sectors inside its disk, at most
//! [`DeviceInfo::transfer_bytes_max`] bytes, in memory that is aligned as it wants; a transfer of
//! which it moved another number of bytes has failed.

#[cfg(feature = "alloc")]
use alloc::collections::VecDeque;

#[cfg(feature = "alloc")]
use super::{Buffer, Ended, Job, JobKind};
use super::{
    DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind, Lent, Storage, Transfer, Version,
    named,
};
use rootlet_base::num::index;

/// Disks of one storage at most, unless its type says otherwise.
pub const SIMPLE_DISKS: usize = 4;

/// Ended jobs that wait for [`Storage::poll`] at most.
#[cfg(feature = "alloc")]
const ENDED_MAX: usize = 64;
/// Bytes that are copied at a time for a driver that wants aligned memory.
#[cfg(feature = "alloc")]
const BOUNCE_BYTES: usize = 64 << 10;

/// A disk, by a driver that waits for each request. Reading is enough: what is never written has
/// no [`Disk::write`].
pub trait Disk {
    /// Returns what the disk can do. Asked once.
    fn info(&self) -> DeviceInfo;

    /// Returns the name that [`Discover::disk`] finds the disk by; empty for none.
    fn serial(&self) -> &str {
        ""
    }

    /// Fills `out` from byte `at` on, and returns how many bytes have arrived. Fewer than
    /// `out.len()` fail the read as [`IoErrorKind::Short`], more as [`IoErrorKind::Protocol`].
    ///
    /// # Errors
    /// As the driver fails; [`IoErrorKind::Device`] has room for the driver's own number.
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind>;

    /// Writes `data` from byte `at` on, and returns how many bytes were taken, all of them but for
    /// a failure. What is written is volatile until a flush ([`Storage::run`]).
    ///
    /// # Errors
    /// As the driver fails.
    fn write(&mut self, at: u64, data: &[u8]) -> Result<usize, IoErrorKind> {
        let _ = (at, data);
        Err(IoErrorKind::ReadOnly)
    }

    /// Makes all that was written durable. Does nothing, for a disk that is never written.
    ///
    /// # Errors
    /// As the driver fails.
    fn flush(&mut self) -> Result<(), IoErrorKind> {
        Ok(())
    }
}

/// Disks of one driver, `DISKS` of them at most, as a storage: one request at a time. Background
/// jobs are done when they are started.
#[derive(Debug)]
pub struct Simple<D, const DISKS: usize = SIMPLE_DISKS> {
    infos: heapless::Vec<DeviceInfo, DISKS>,
    now_ns: fn() -> u64,
    work: spin::Mutex<Work<D, DISKS>>,
}

/// The part of a storage that one request has for itself.
#[derive(Debug)]
struct Work<D, const DISKS: usize> {
    disks: heapless::Vec<D, DISKS>,
    #[cfg(feature = "alloc")]
    ended: VecDeque<Ended>,
    /// Aligned memory, if a driver wants some.
    #[cfg(feature = "alloc")]
    bounce: Option<Buffer>,
}

impl<D: Disk> Simple<D> {
    /// Returns a storage without disks, over the clock `now_ns` ([`Storage::now_ns`]). Without a
    /// clock `|| 0` serves: a wait for a deadline then counts its looks.
    pub const fn new(now_ns: fn() -> u64) -> Self {
        Self::with_room(now_ns)
    }
}

impl<D: Disk, const DISKS: usize> Simple<D, DISKS> {
    /// Returns a storage as [`Simple::new`] does, with room for as many disks as the type says.
    pub const fn with_room(now_ns: fn() -> u64) -> Self {
        let work = Work {
            disks: heapless::Vec::new(),
            #[cfg(feature = "alloc")]
            ended: VecDeque::new(),
            #[cfg(feature = "alloc")]
            bounce: None,
        };
        Self { infos: heapless::Vec::new(), now_ns, work: spin::Mutex::new(work) }
    }

    /// Adds a disk. Disks are numbered from 0, in the order in which they are added. Allocates what
    /// the disk's transfers and jobs will need.
    ///
    /// # Errors
    /// The disk itself if there is no room for one more.
    pub fn add(&mut self, disk: D) -> Result<DeviceId, D> {
        let number = self.infos.len();
        let Some(device) = DeviceId::of(number).filter(|_| number < DISKS) else {
            return Err(disk);
        };
        let (info, work) = (disk.info(), self.work.get_mut());
        #[cfg(feature = "alloc")]
        {
            work.ended.reserve(ENDED_MAX);
            if info.memory_align > 1 && work.bounce.is_none() {
                work.bounce = Some(Buffer::new(BOUNCE_BYTES));
            }
        }
        self.infos.extend([info]);
        work.disks.extend([disk]);
        Ok(device)
    }

    /// Calls `with` with the disk of this number, and returns the result; `None` if there is no such
    /// disk.
    pub fn with<T>(&self, device: DeviceId, with: impl FnOnce(&mut D) -> T) -> Option<T> {
        self.work.lock().disks.get_mut(usize::from(device.0)).map(with)
    }

    /// Returns the numbers of all disks, each with the properties of its disk.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceId, &DeviceInfo)> {
        (0..).map(DeviceId).zip(&self.infos)
    }

    /// Runs one transfer.
    fn transfer(&self, device: DeviceId, at: u64, lent: &mut Lent<'_>) -> Result<(), IoErrorKind> {
        let number = usize::from(device.0);
        let info = self.infos.get(number).ok_or(IoErrorKind::Gone)?;
        let work = &mut *self.work.lock();
        let disk = work.disks.get_mut(number).ok_or(IoErrorKind::Gone)?;
        let (bytes, len) = match lent {
            Lent::Read(out) => (out.as_ptr(), out.len()),
            Lent::Write(_) if info.read_only => return Err(IoErrorKind::ReadOnly),
            Lent::Write(data) => (data.as_ptr(), data.len()),
            Lent::Flush => return disk.flush(),
        };
        info.check_transfer(at, len)?;
        let is_aligned = bytes.addr().is_multiple_of(index(info.memory_align));
        match lent {
            _ if len == 0 => Ok(()),
            Lent::Read(out) if is_aligned => whole(disk.read(at, out)?, len),
            Lent::Write(data) if is_aligned => whole(disk.write(at, data)?, len),
            #[cfg(feature = "alloc")]
            _ => {
                // A multiple of the sector, as both are.
                let step = BOUNCE_BYTES.min(index(info.transfer_bytes_max));
                let bounce = work.bounce.as_mut().and_then(Buffer::get_mut);
                copied(disk, at, lent, bounce.ok_or(IoErrorKind::Protocol)?, step)
            }
            // Without memory to copy by, a driver has to take what is lent.
            #[cfg(not(feature = "alloc"))]
            _ => Err(IoErrorKind::Unaligned),
        }
    }
}

/// Runs one transfer by way of `bounce`, `step` bytes at a time.
#[cfg(feature = "alloc")]
fn copied<D: Disk>(
    disk: &mut D,
    at: u64,
    lent: &mut Lent<'_>,
    bounce: &mut [u8],
    step: usize,
) -> Result<(), IoErrorKind> {
    let starts = (at..).step_by(step);
    match lent {
        Lent::Read(out) => out.chunks_mut(step).zip(starts).try_for_each(|(part, at)| {
            let copy = bounce.get_mut(..part.len()).ok_or(IoErrorKind::Protocol)?;
            whole(disk.read(at, copy)?, part.len())?;
            part.copy_from_slice(copy);
            Ok(())
        }),
        Lent::Write(data) => data.chunks(step).zip(starts).try_for_each(|(part, at)| {
            let copy = bounce.get_mut(..part.len()).ok_or(IoErrorKind::Protocol)?;
            copy.copy_from_slice(part);
            whole(disk.write(at, copy)?, part.len())
        }),
        Lent::Flush => Ok(()),
    }
}

/// Checks that a driver moved as many bytes as were wanted.
fn whole(moved: usize, wanted: usize) -> Result<(), IoErrorKind> {
    match u32::try_from(moved) {
        Ok(_) if moved == wanted => Ok(()),
        Ok(short) if moved < wanted => Err(IoErrorKind::Short(short)),
        _ => Err(IoErrorKind::Protocol),
    }
}

impl<D: Disk, const DISKS: usize> Storage for Simple<D, DISKS> {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.infos.get(usize::from(device.0)).copied()
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        for (index, transfer) in batch.iter_mut().enumerate() {
            let result = self.transfer(transfer.device, transfer.at, &mut transfer.lent);
            transfer.result = Some(result);
            done(index, transfer);
        }
    }

    fn now_ns(&self) -> u64 {
        (self.now_ns)()
    }

    fn clock(&self) -> Option<fn() -> u64> {
        Some(self.now_ns)
    }

    #[cfg(feature = "alloc")]
    fn start(&self, mut job: Job) -> Result<(), Job> {
        if self.work.lock().ended.len() >= ENDED_MAX {
            return Err(job);
        }
        let lent = match (job.kind, &mut job.buffer) {
            (JobKind::Read, Some(buffer)) => buffer.get_mut().map(Lent::Read),
            (JobKind::Write, Some(buffer)) => Some(Lent::Write(buffer)),
            (JobKind::Flush, _) => Some(Lent::Flush),
            (_, None) => None,
        };
        let result = match lent {
            Some(mut lent) => self.transfer(job.device, job.at, &mut lent),
            // The job has no buffer, or somebody else reads it.
            None => Err(IoErrorKind::Protocol),
        };
        self.work.lock().ended.push_back((job, result));
        Ok(())
    }

    #[cfg(feature = "alloc")]
    fn poll(&self) -> Option<Ended> {
        self.work.lock().ended.pop_front()
    }
}

impl<D: Disk, const DISKS: usize> Discover for Simple<D, DISKS> {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        let disks = self.work.get_mut().disks.iter().zip(0..);
        named(disks.map(|(disk, number)| (disk.serial(), DeviceId(number))), name)
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        for (device, disk) in (0..).map(DeviceId).zip(&self.work.get_mut().disks) {
            each(disk.serial(), device);
        }
    }

    fn set_version(&mut self, device: DeviceId, version: Version) {
        if let Some(info) = self.infos.get_mut(usize::from(device.0)) {
            info.version = version;
        }
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    /// A disk whose driver wants memory of this alignment.
    struct Aligned(u32);

    impl Disk for Aligned {
        fn info(&self) -> DeviceInfo {
            DeviceInfo::new(4096, 512).with_memory_align(self.0)
        }

        fn read(&mut self, _: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
            Ok(out.len())
        }
    }

    #[test]
    fn disk_brings_the_memory_that_it_will_need() {
        let mut storage = Simple::new(|| 0);
        for (disk, is_aligned) in [(Aligned(1), false), (Aligned(4096), true)] {
            assert!(storage.add(disk).is_ok());
            let work = storage.work.lock();
            assert!(work.ended.capacity() >= ENDED_MAX);
            assert_eq!(work.bounce.is_some(), is_aligned);
        }
    }

    #[test]
    fn disk_without_room_comes_back_and_leaves_nothing() {
        let mut storage: Simple<Aligned, 1> = Simple::with_room(|| 0);
        assert_eq!(storage.add(Aligned(1)).ok(), Some(DeviceId(0)));
        assert_eq!(storage.add(Aligned(512)).err().map(|disk| disk.0), Some(512));
        assert!(storage.work.lock().bounce.is_none() && storage.iter().count() == 1);
    }
}
