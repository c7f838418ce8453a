//! A storage whose devices may be parts of others: partitions, each a device of its own.
//!
//! Always: a transfer of a part stays within the part. A storage without parts hands everything on
//! as it is. Parts have the device numbers from `FIRST` down, in the order in which they were made.

use alloc::vec::Vec;

use spin::mutex::SpinMutex as Mutex;
use twox_hash::XxHash3_64;

use rootlet_base::num::wide;
use rootlet_base::units::{ByteRange, Pow2};

use super::{
    DeviceId, DeviceInfo, Discover, DiscoverError, Ended, IoErrorKind, Job, ObjectFault,
    ObjectPlace, Storage, Tag, Transfer, Version, Vouch,
};

/// The number of the first part: storages above take numbers from the last one down, and those below
/// from 0 up.
const FIRST: u16 = 0xbfff;

/// A part of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    device: DeviceId,
    bytes: ByteRange,
}

impl Part {
    /// Returns the byte of the device that is byte `at` of the part; `None` if `len` bytes from there
    /// on end after the part.
    fn place(&self, at: u64, len: usize) -> Option<u64> {
        let range = ByteRange::sized(at, wide(len))?;
        if range.end() > self.bytes.len() {
            return None;
        }
        self.bytes.start().checked_add(at)
    }

    /// Returns the version of the part's content, from that of its device: other parts have others.
    fn version(&self, device: Version) -> Version {
        match device {
            Version::Unknown => Version::Unknown,
            Version::Said(number) | Version::File(number) => {
                let fields = [number, self.bytes.start(), self.bytes.len()];
                let number = XxHash3_64::oneshot(fields.map(u64::to_le_bytes).as_flattened());
                Version::Said(number.max(1))
            }
        }
    }
}

/// A job of a part that is under way.
#[derive(Debug)]
struct Flying {
    tag: Tag,
    part: (DeviceId, u64),
    device: (DeviceId, u64),
}

/// A storage with parts of the devices of the storage below.
#[derive(Debug)]
pub struct Parts<S> {
    inner: S,
    parts: Vec<Part>,
    jobs: Mutex<Vec<Flying>>,
}

impl<S> Parts<S> {
    /// Returns `inner` without parts.
    pub fn new(inner: S) -> Self {
        Self { inner, parts: Vec::new(), jobs: Mutex::new(Vec::new()) }
    }

    /// Returns the storage below.
    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the part that has this number; `None` if it is that of a device below.
    fn part_of(&self, device: DeviceId) -> Option<&Part> {
        let number = FIRST.checked_sub(device.0)?;
        self.parts.get(usize::from(number))
    }
}

impl<S: Storage> Parts<S> {
    /// Runs a batch with transfers of parts, each as one of the device below.
    #[cold]
    fn run_parts<'b>(
        &self,
        batch: &mut [Transfer<'b>],
        done: &mut dyn FnMut(usize, &mut Transfer<'b>),
    ) {
        let mut asked: Vec<(DeviceId, u64, bool)> = Vec::with_capacity(batch.len());
        for transfer in batch.iter_mut() {
            let (device, at) = (transfer.device, transfer.at);
            let part = self.part_of(device);
            let place = part.map(|part| (part.device, part.place(at, transfer.len())));
            asked.push((device, at, matches!(place, Some((_, None)))));
            match place {
                Some((below, Some(place))) => (transfer.device, transfer.at) = (below, place),
                // No device takes one that leaves its part.
                Some((_, None)) => transfer.device = DeviceId::NONE,
                None => {}
            }
        }
        let settle = |index: usize, transfer: &mut Transfer<'b>| {
            let Some(&(device, at, leaves)) = asked.get(index) else { return };
            (transfer.device, transfer.at) = (device, at);
            if leaves {
                transfer.result = Some(Err(IoErrorKind::OutOfRange));
            }
        };
        self.inner.run(batch, &mut |index, transfer| {
            let below = (transfer.device, transfer.at);
            settle(index, transfer);
            done(index, transfer);
            (transfer.device, transfer.at) = below;
        });
        batch.iter_mut().enumerate().for_each(|(index, transfer)| settle(index, transfer));
    }
}

impl<S: Storage> Storage for Parts<S> {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        let Some(part) = self.part_of(device) else { return self.inner.info(device) };
        let info = self.inner.info(part.device)?;
        Some(DeviceInfo { bytes: part.bytes.len(), version: part.version(info.version), ..info })
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        if !self.parts.is_empty() && batch.iter().any(|one| self.part_of(one.device).is_some()) {
            self.run_parts(batch, done);
        } else {
            self.inner.run(batch, done);
        }
    }

    fn view(&self, device: DeviceId, at: u64, len: usize) -> Option<&[u8]> {
        match self.part_of(device) {
            Some(part) => self.inner.view(part.device, part.place(at, len)?, len),
            None => self.inner.view(device, at, len),
        }
    }

    fn vouch(&self, device: DeviceId, at: u64, data: &[u8]) -> Vouch {
        match self.part_of(device) {
            Some(part) => match part.place(at, data.len()) {
                Some(place) => self.inner.vouch(part.device, place, data),
                None => Vouch::Unknown,
            },
            None => self.inner.vouch(device, at, data),
        }
    }

    fn objects(&self) -> Option<DeviceId> {
        self.inner.objects()
    }

    fn object(
        &self,
        digest: &[u8],
        bytes: u64,
        place: ObjectPlace<'_>,
    ) -> Result<u64, ObjectFault> {
        self.inner.object(digest, bytes, place)
    }

    fn object_node(&self, at: u64) -> Option<u64> {
        self.inner.object_node(at)
    }

    fn prove_object(&self, at: u64) -> Result<(), ObjectFault> {
        self.inner.prove_object(at)
    }

    fn open_file(&self, mount_tag: &str, name: &str) -> Result<DeviceId, DiscoverError> {
        self.inner.open_file(mount_tag, name)
    }

    fn close_file(&self, file: DeviceId) {
        self.inner.close_file(file);
    }

    fn whole(&self, device: DeviceId) -> Option<(DeviceId, u64)> {
        match self.part_of(device) {
            Some(part) => Some((part.device, part.bytes.start())),
            None => self.inner.whole(device),
        }
    }

    fn set_deadline(&self, until_ns: Option<u64>) {
        self.inner.set_deadline(until_ns);
    }

    fn now_ns(&self) -> u64 {
        self.inner.now_ns()
    }

    fn clock(&self) -> Option<fn() -> u64> {
        self.inner.clock()
    }

    fn unlocked(&self) {
        self.inner.unlocked();
    }

    fn locking(&self) {
        self.inner.locking();
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        let Some(part) = self.part_of(job.device) else { return self.inner.start(job) };
        let len = job.buffer.as_ref().map_or(0, |buffer| buffer.len());
        let Some(place) = part.place(job.at, len) else { return Err(job) };
        let (asked, below) = ((job.device, job.at), (part.device, place));
        // Before the start: a device may end a job at once, for another thread.
        self.jobs.lock().push(Flying { tag: job.tag, part: asked, device: below });
        let started = self.inner.start(Job { device: below.0, at: below.1, ..job });
        started.map_err(|job| self.as_asked(job))
    }

    fn poll(&self) -> Option<Ended> {
        let (job, result) = self.inner.poll()?;
        let job = if self.parts.is_empty() { job } else { self.as_asked(job) };
        Some((job, result))
    }

    fn has_work(&self) -> bool {
        self.inner.has_work()
    }

    fn work(&self) {
        self.inner.work();
    }

    fn patience_ns(&self) -> u64 {
        self.inner.patience_ns()
    }

    fn rest(&self, ns: u32) {
        self.inner.rest(ns);
    }

    fn unique(&self) -> u64 {
        self.inner.unique()
    }
}

impl<S> Parts<S> {
    /// Ends a job, and returns it as it was asked for.
    fn as_asked(&self, job: Job) -> Job {
        let mut jobs = self.jobs.lock();
        let is = |one: &Flying| (one.tag, one.device) == (job.tag, (job.device, job.at));
        match jobs.iter().position(is).map(|at| jobs.swap_remove(at).part) {
            Some((device, at)) => Job { device, at, ..job },
            None => job,
        }
    }
}

impl<S: Discover> Discover for Parts<S> {
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        self.inner.disk(serial)
    }

    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        self.inner.share_file(mount_tag, name)
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        self.inner.disks(each);
    }

    fn part(
        &mut self,
        device: DeviceId,
        start: u64,
        bytes: u64,
    ) -> Result<DeviceId, DiscoverError> {
        let info = self.inner.info(device).ok_or(DiscoverError::NotFound)?;
        let refused = DiscoverError::Part;
        let range = ByteRange::sized(start, bytes).filter(|range| range.end() <= info.bytes);
        let range = range.ok_or(refused)?;
        let sector = Pow2::of(info.sector_bytes.into()).ok_or(refused)?;
        if bytes == 0 || sector.offset(start) != 0 || sector.offset(bytes) != 0 {
            return Err(refused);
        }
        let part = Part { device, bytes: range };
        let known = self.parts.iter().position(|known| *known == part);
        let number = match known {
            Some(number) => number,
            None => {
                self.parts.push(part);
                self.parts.len().checked_sub(1).ok_or(DiscoverError::TooMany)?
            }
        };
        let number = u16::try_from(number).ok();
        let device = number.and_then(|number| FIRST.checked_sub(number));
        // Devices below have the lower half of the numbers.
        device.filter(|device| *device > u16::MAX >> 1).map(DeviceId).ok_or(DiscoverError::TooMany)
    }

    /// Sets the version of a whole device; a part has that of its device.
    fn set_version(&mut self, device: DeviceId, version: Version) {
        let device = self.part_of(device).map_or(device, |part| part.device);
        self.inner.set_version(device, version);
    }

    fn set_expendable(&mut self, device: DeviceId) {
        let device = self.part_of(device).map_or(device, |part| part.device);
        self.inner.set_expendable(device);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that panics has failed")]
    use super::*;
    use crate::memory::MemoryStorage;

    fn read<S: Storage>(storage: &S, device: DeviceId, at: u64) -> Result<[u8; 2], IoErrorKind> {
        let mut out = [0; 2];
        let mut batch = [Transfer::read(device, at, &mut out)];
        let mut ended = None;
        storage.run(&mut batch, &mut |index, transfer| {
            ended = Some((index, transfer.device, transfer.at));
        });
        assert_eq!(ended, Some((0, device, at)));
        let [transfer] = batch;
        assert_eq!((transfer.device, transfer.at), (device, at));
        transfer.result.unwrap().map(|()| out)
    }

    #[test]
    fn part_is_a_device_with_its_own_bytes_and_no_others() {
        let mut disks = MemoryStorage::new();
        let disk = disks.add_disk("disk", b"0123456789").unwrap();
        let mut parts = Parts::new(disks);
        let part = parts.part(disk, 3, 4).unwrap();
        assert_eq!(parts.part(disk, 3, 4), Ok(part), "it is one device");
        assert_ne!(parts.part(disk, 3, 3), Ok(part));
        assert_eq!(parts.info(part).unwrap().bytes, 4);
        assert_eq!(parts.whole(part), Some((disk, 3)));
        assert_eq!(parts.whole(disk), None);
        assert_eq!(read(&parts, part, 0), Ok(*b"34"));
        assert_eq!(read(&parts, part, 2), Ok(*b"56"));
        assert_eq!(read(&parts, disk, 0), Ok(*b"01"));
        for beyond in [3, 4, u64::MAX] {
            assert_eq!(read(&parts, part, beyond), Err(IoErrorKind::OutOfRange), "{beyond}");
        }
        assert_eq!(parts.view(part, 1, 3), Some(&b"456"[..]));
        assert_eq!(parts.view(part, 1, 4), None);
        for (start, bytes) in [(3, 8), (10, 1), (0, 0), (u64::MAX, 2)] {
            let error = parts.part(disk, start, bytes).unwrap_err();
            assert_eq!(error, DiscoverError::Part);
        }
    }

    #[test]
    fn storage_in_a_box_has_parts_too() {
        let mut disks = MemoryStorage::new();
        let disk = disks.add_disk("disk", b"0123456789").unwrap();
        let mut parts = alloc::boxed::Box::new(Parts::new(disks));
        let part = Discover::part(&mut parts, disk, 3, 4).unwrap();
        assert_eq!(Storage::whole(&parts, part), Some((disk, 3)));
    }

    #[test]
    fn parts_of_one_file_are_two_sources() {
        let mut disks = MemoryStorage::new();
        let disk = disks.add_disk("disk", b"0123456789").unwrap();
        let mut parts = Parts::new(disks);
        let (one, two) = (parts.part(disk, 0, 4).unwrap(), parts.part(disk, 4, 4).unwrap());
        parts.set_version(one, Version::File(7));
        let version = |device: DeviceId| parts.info(device).unwrap().version;
        assert_eq!(version(disk), Version::File(7));
        assert!(
            matches!((version(one), version(two)), (Version::Said(a), Version::Said(b)) if a != b)
        );
    }
}
