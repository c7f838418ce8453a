//! A storage whose devices may be parts of others: partitions, each a device of its own, and
//! regions with a key.
//!
//! Always: a transfer of a part stays within the part. A storage without parts hands everything on
//! as it is. Parts have the device numbers from `FIRST` down, in the order in which they were made.

mod cipher;

pub use cipher::Cipher;

use alloc::boxed::Box;
use alloc::vec::Vec;

use spin::mutex::SpinMutex as Mutex;
use twox_hash::XxHash3_64;

use rootlet_base::num::wide;
use rootlet_base::units::{ByteRange, Pow2};

use super::{
    Buffer, DeviceId, DeviceInfo, Discover, DiscoverError, Ended, IoErrorKind, Job, JobKind, Lent,
    Storage, Tag, Transfer, Version, Vouch, forward,
};
use cipher::Enciphered;

/// The number of the first part: storages above take numbers from the last one down, and those below
/// from 0 up.
const FIRST: u16 = 0xbfff;

/// A part of a device.
#[derive(Debug)]
struct Part {
    device: DeviceId,
    bytes: ByteRange,
    /// What its bytes become on the device; `None` for a part that lies there as it is.
    cipher: Option<Enciphered>,
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
    /// The bytes that are being written enciphered.
    plain: Option<Buffer>,
}

/// A write to an enciphered part: the part, its cipher, and the bytes.
type Written<'t> = (&'t Part, &'t Enciphered, &'t [u8]);

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
        if batch.iter().any(|one| self.written(one).is_some()) {
            return self.run_enciphered(batch, done);
        }
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
            self.decipher(transfer);
            done(index, transfer);
            (transfer.device, transfer.at) = below;
        });
        batch.iter_mut().enumerate().for_each(|(index, transfer)| settle(index, transfer));
    }

    /// Runs a batch that writes to an enciphered part, one transfer after the other: superblocks, a
    /// hint, a boot trace.
    fn run_enciphered<'b>(
        &self,
        batch: &mut [Transfer<'b>],
        done: &mut dyn FnMut(usize, &mut Transfer<'b>),
    ) {
        for (index, transfer) in batch.iter_mut().enumerate() {
            let written = self.written(transfer).map(|what| self.write(transfer.at, what));
            if written.is_some() {
                transfer.result = written;
                done(index, transfer);
            } else {
                let one = core::slice::from_mut(transfer);
                self.run(one, &mut |_, transfer| done(index, transfer));
            }
        }
    }

    /// Returns what a transfer writes to an enciphered part; `None` for any other transfer.
    fn written<'t>(&'t self, transfer: &'t Transfer<'_>) -> Option<Written<'t>> {
        let Lent::Write(plain) = &transfer.lent else { return None };
        let part = self.part_of(transfer.device)?;
        Some((part, part.cipher.as_ref()?, plain))
    }

    /// Writes to byte `at` of an enciphered part.
    fn write(&self, at: u64, (part, cipher, plain): Written<'_>) -> Result<(), IoErrorKind> {
        let place = part.place(at, plain.len()).ok_or(IoErrorKind::OutOfRange)?;
        let mut bytes = plain.to_vec();
        cipher.encipher(at, &mut bytes)?;
        let mut below = [Transfer::write(part.device, place, &bytes)];
        self.inner.run(&mut below, &mut |_, _| {});
        let [below] = below;
        below.outcome().map_err(|error| error.kind)
    }

    /// Deciphers what a transfer has read of an enciphered part.
    fn decipher(&self, transfer: &mut Transfer<'_>) {
        if let (Some(cipher), Lent::Read(out), Some(Ok(()))) =
            (self.cipher_of(transfer.device), &mut transfer.lent, transfer.result)
        {
            transfer.result = Some(cipher.decipher(transfer.at, out));
        }
    }
}

// A method that is forgotten here would forget the storage below.
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> Storage for Parts<S> {
    forward! { self, self.inner;
        objects object object_node prove_object open_file close_file set_deadline now_ns clock unlocked locking
        has_work work patience_ns rest unique
    }

    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        let Some(part) = self.part_of(device) else { return self.inner.info(device) };
        let info = self.inner.info(part.device)?;
        let info =
            DeviceInfo { bytes: part.bytes.len(), version: part.version(info.version), ..info };
        Some(if part.cipher.is_some() { Enciphered::info(info) } else { info })
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
            Some(part) if part.cipher.is_some() => None,
            Some(part) => self.inner.view(part.device, part.place(at, len)?, len),
            None => self.inner.view(device, at, len),
        }
    }

    fn vouch(&self, device: DeviceId, at: u64, data: &[u8]) -> Vouch {
        match self.part_of(device) {
            Some(part) if part.cipher.is_some() => Vouch::Unknown,
            Some(part) => match part.place(at, data.len()) {
                Some(place) => self.inner.vouch(part.device, place, data),
                None => Vouch::Unknown,
            },
            None => self.inner.vouch(device, at, data),
        }
    }

    fn whole(&self, device: DeviceId) -> Option<(DeviceId, u64)> {
        match self.part_of(device) {
            Some(part) => Some((part.device, part.bytes.start())),
            None => self.inner.whole(device),
        }
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        let Some(part) = self.part_of(job.device) else { return self.inner.start(job) };
        let len = job.buffer.as_ref().map_or(0, |buffer| buffer.len());
        let Some(place) = part.place(job.at, len) else { return Err(job) };
        let (asked, below) = ((job.device, job.at), (part.device, place));
        let (buffer, plain) = match (&part.cipher, &job.buffer, job.kind) {
            (Some(cipher), Some(plain), JobKind::Write) => {
                let Some(enciphered) = cipher.enciphered(job.at, plain) else { return Err(job) };
                (Some(enciphered), job.buffer)
            }
            _ => (job.buffer, None),
        };
        // Before the start: a device may end a job at once, for another thread.
        self.jobs.lock().push(Flying { tag: job.tag, part: asked, device: below, plain });
        let started = self.inner.start(Job { device: below.0, at: below.1, buffer, ..job });
        started.map_err(|job| self.as_asked(job))
    }

    fn poll(&self) -> Option<Ended> {
        let (job, result) = self.inner.poll()?;
        if self.parts.is_empty() {
            return Some((job, result));
        }
        let mut job = self.as_asked(job);
        let result = result.and_then(|()| self.decipher_job(&mut job));
        Some((job, result))
    }
}

impl<S> Parts<S> {
    /// Ends a job, and returns it as it was asked for.
    fn as_asked(&self, mut job: Job) -> Job {
        let Some(flying) = self.end(&job) else { return job };
        (job.device, job.at) = flying.part;
        if let Some(plain) = flying.plain {
            let enciphered = job.buffer.replace(plain);
            if let (Some(cipher), Some(enciphered)) = (self.cipher_of(job.device), enciphered) {
                cipher.take_back(enciphered);
            }
        }
        job
    }

    fn end(&self, job: &Job) -> Option<Flying> {
        let mut jobs = self.jobs.lock();
        let is = |one: &Flying| (one.tag, one.device) == (job.tag, (job.device, job.at));
        let at = jobs.iter().position(is)?;
        Some(jobs.swap_remove(at))
    }

    /// Deciphers what a job has read of an enciphered part.
    fn decipher_job(&self, job: &mut Job) -> Result<(), IoErrorKind> {
        let (Some(cipher), JobKind::Read) = (self.cipher_of(job.device), job.kind) else {
            return Ok(());
        };
        // A read that ends well brings its buffer, on which it has the only handle.
        let bytes = job.buffer.as_mut().and_then(Buffer::get_mut);
        cipher.decipher(job.at, bytes.ok_or(IoErrorKind::Gone)?)
    }

    /// Returns the cipher of a part; `None` for what is not enciphered.
    fn cipher_of(&self, device: DeviceId) -> Option<&Enciphered> {
        self.part_of(device)?.cipher.as_ref()
    }
}

impl<S: Storage> Parts<S> {
    /// Returns the bytes of a device that are a part.
    fn range(&self, device: DeviceId, start: u64, bytes: u64) -> Result<ByteRange, DiscoverError> {
        let info = self.inner.info(device).ok_or(DiscoverError::NotFound)?;
        let refused = DiscoverError::Part;
        let range = ByteRange::sized(start, bytes).filter(|range| range.end() <= info.bytes);
        let range = range.ok_or(refused)?;
        let sector = Pow2::of(info.sector_bytes.into()).ok_or(refused)?;
        if bytes == 0 || sector.offset(start) != 0 || sector.offset(bytes) != 0 {
            return Err(refused);
        }
        Ok(range)
    }

    /// Returns the number of a new part.
    fn add(&mut self, part: Part) -> Result<DeviceId, DiscoverError> {
        let device = number_of(self.parts.len())?;
        self.parts.push(part);
        Ok(device)
    }
}

/// Returns the device that stands for a part.
fn number_of(part: usize) -> Result<DeviceId, DiscoverError> {
    let number = u16::try_from(part).ok();
    let device = number.and_then(|number| FIRST.checked_sub(number));
    // Devices below have the lower half of the numbers.
    device.filter(|device| *device > u16::MAX >> 1).map(DeviceId).ok_or(DiscoverError::TooMany)
}

// A method that is forgotten here would forget the storage below.
#[deny(clippy::missing_trait_methods)]
impl<S: Discover> Discover for Parts<S> {
    forward! { self, self.inner; disk share_file disks }

    fn part(
        &mut self,
        device: DeviceId,
        start: u64,
        bytes: u64,
    ) -> Result<DeviceId, DiscoverError> {
        let range = self.range(device, start, bytes)?;
        let same = |part: &Part| (part.device, part.bytes) == (device, range);
        match self.parts.iter().position(|part| same(part) && part.cipher.is_none()) {
            Some(number) => number_of(number),
            None => self.add(Part { device, bytes: range, cipher: None }),
        }
    }

    fn enciphered(
        &mut self,
        device: DeviceId,
        (start, bytes): (u64, u64),
        cipher: Box<dyn Cipher>,
    ) -> Result<DeviceId, DiscoverError> {
        let range = self.range(device, start, bytes)?;
        self.add(Part { device, bytes: range, cipher: Some(Enciphered::new(cipher)) })
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
