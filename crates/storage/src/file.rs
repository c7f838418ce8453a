//! Disks and shares over files of the host: for the host tool and for tests.
//!
//! Always: a file opened on a share lies inside the share's directory. A shared file is one device
//! under all its names, and a new device once its content may have changed. A disk and a shared
//! file over the same file have the same version, without times if the disk may be written. A disk
//! is whole sectors long; bytes of its last sector after the end of the file read as zeros.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::share_dir::{errno, path_on_share, share_error};
use super::{
    DeviceId, DeviceInfo, Discover, DiscoverError, Ended, FileStamp, IoErrorKind, Job, JobKind,
    Lent, ShareSearch, Storage, Transfer, Version, named,
};
use rootlet_base::num::clip;

/// The longest single transfer, in bytes.
const TRANSFER_BYTES_MAX: u32 = 8 << 20;
/// The sector size of a disk, in bytes.
const SECTOR_BYTES: u32 = 512;

/// A storage whose devices are host files. A foreground batch runs one transfer after the other,
/// beside those of other threads; background jobs run as they are started, and [`Storage::poll`]
/// returns them.
#[derive(Debug)]
pub struct FileStorage {
    devices: Vec<Opened>,
    shares: Vec<Share>,
    /// Files that were opened while others read, each with its number.
    late: Mutex<BTreeMap<DeviceId, Arc<Opened>>>,
    ended: Mutex<VecDeque<Ended>>,
    since: Instant,
}

#[derive(Debug)]
struct Share {
    tag: String,
    dir: PathBuf,
}

/// The identity and the state of a file at its opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opening {
    /// The host's device: with the inode number it identifies the file.
    dev: u64,
    stamp: FileStamp,
}

#[derive(Debug)]
struct Opened {
    /// The serial of a disk; a file of a share has none.
    serial: Option<String>,
    opening: Opening,
    file: File,
    /// The length of the file; `info.bytes` of a disk is rounded up to a whole sector.
    file_bytes: u64,
    info: DeviceInfo,
}

impl Default for FileStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl FileStorage {
    /// Returns a storage without devices.
    pub fn new() -> Self {
        Self {
            devices: Vec::new(),
            shares: Vec::new(),
            late: Mutex::default(),
            ended: Mutex::default(),
            since: Instant::now(),
        }
    }

    /// Opens the file or block device at `path` as a disk with this serial. While a file is open
    /// for writing, under any serial, its version does not depend on its times.
    ///
    /// # Errors
    /// Those of the host; `InvalidInput` if `path` is neither a file nor a block device;
    /// [`DiscoverError::TooMany`] inside if there are 65,535 devices.
    pub fn add_disk(&mut self, serial: &str, path: &Path, read_only: bool) -> io::Result<DeviceId> {
        let stat = std::fs::metadata(path)?;
        let kind = stat.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let mut file = OpenOptions::new().read(true).write(!read_only).open(path)?;
        let file_bytes = file.seek(SeekFrom::End(0))?;
        let bytes = file_bytes.checked_next_multiple_of(SECTOR_BYTES.into());
        let info = DeviceInfo {
            bytes: bytes.ok_or(ErrorKind::InvalidInput)?,
            sector_bytes: SECTOR_BYTES,
            transfer_bytes_max: TRANSFER_BYTES_MAX,
            read_only,
            memory_align: 1,
            // The times of a block device's node do not follow its content.
            version: Version::Unknown,
            pinned: false,
        };
        let opening = self.opening(&stat, read_only);
        let serial = Some(serial.to_owned());
        let mut opened = Opened { serial, opening, file, file_bytes, info };
        if kind.is_file() {
            opened.info.version = opening.version();
            // The times of a file that is written from now on do not count for its other devices.
            let same = |known: &&mut Opened| !read_only && known.opening.is_of(&stat);
            for known in self.devices.iter_mut().filter(same) {
                known.opening = opening;
                known.info.version = opening.version();
            }
        }
        self.add(opened).map_err(io::Error::other)
    }

    /// Returns the identity and state of a file for another device over it.
    fn opening(&self, stat: &Metadata, read_only: bool) -> Opening {
        let writes = |known: &Opened| !known.info.read_only && known.opening.is_of(stat);
        let stamp = match read_only && !self.devices.iter().any(writes) {
            true => FileStamp::from(stat),
            false => FileStamp::of_written(stat),
        };
        Opening { dev: stat.dev(), stamp }
    }

    /// Adds the directory `dir` as a read-only share with this mount tag.
    ///
    /// # Errors
    /// Those of the host; `NotADirectory` if `dir` is not a directory.
    pub fn add_share(&mut self, tag: &str, dir: &Path) -> io::Result<()> {
        let dir = dir.canonicalize()?;
        if !dir.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        self.shares.push(Share { tag: tag.to_owned(), dir });
        Ok(())
    }

    fn add(&mut self, opened: Opened) -> Result<DeviceId, DiscoverError> {
        let device = id(self.devices.len())?;
        self.devices.push(opened);
        Ok(device)
    }

    /// Returns the serials of all disks, each with its device.
    fn named_disks(&self) -> impl Iterator<Item = (&str, DeviceId)> {
        let devices = (0_u16..=u16::MAX).zip(&self.devices);
        devices.filter_map(|(number, opened)| Some((opened.serial.as_deref()?, DeviceId(number))))
    }

    /// Returns the jobs that have ended. No thread panics while it holds them.
    fn ended(&self) -> MutexGuard<'_, VecDeque<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `with` with an open device.
    fn opened<T>(
        &self,
        device: DeviceId,
        with: impl FnOnce(&Opened) -> Result<T, IoErrorKind>,
    ) -> Result<T, IoErrorKind> {
        if let Some(opened) = self.devices.get(usize::from(device.0)) {
            return with(opened);
        }
        let late = self.late().get(&device).map(Arc::clone);
        with(&*late.ok_or(IoErrorKind::Gone)?)
    }

    /// Returns the files that were opened late. No thread panics while it holds them.
    fn late(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Arc<Opened>>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a regular file of a share.
    fn open_on_share(&mut self, path: &Path) -> Result<DeviceId, DiscoverError> {
        let shared = self.shared(File::open(path).map_err(share_error)?)?;
        let opening = shared.opening;
        let same = |opened: &Opened| opened.serial.is_none() && opened.opening == opening;
        if let Some(number) = self.devices.iter().position(same) {
            return id(number);
        }
        self.add(shared)
    }

    /// Returns the device of a file of a share.
    fn shared(&self, file: File) -> Result<Opened, DiscoverError> {
        let stat = file.metadata().map_err(share_error)?;
        let opening = self.opening(&stat, true);
        let info = DeviceInfo {
            bytes: stat.len(),
            sector_bytes: 1,
            transfer_bytes_max: TRANSFER_BYTES_MAX,
            read_only: true,
            memory_align: 1,
            version: opening.version(),
            pinned: false,
        };
        let file_bytes = stat.len();
        Ok(Opened { serial: None, opening, file, file_bytes, info })
    }
}

impl Opening {
    fn is_of(&self, stat: &Metadata) -> bool {
        (self.dev, self.stamp.inode) == (stat.dev(), stat.ino())
    }

    fn version(&self) -> Version {
        Version::File(self.stamp.version())
    }
}

impl Opened {
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), IoErrorKind> {
        self.info.check_transfer(at, out.len())?;
        // A disk's last sector may end after the file.
        let in_file = match self.file_bytes.checked_sub(at) {
            Some(left) => clip(left, out.len()),
            None => 0,
        };
        let (data, padding) = out.split_at_mut(in_file);
        padding.fill(0);
        let (mut rest, mut got) = (data, 0_u32);
        while !rest.is_empty() {
            let here = at.checked_add(u64::from(got)).ok_or(IoErrorKind::OutOfRange)?;
            match self.file.read_at(rest, here) {
                Ok(0) => return Err(IoErrorKind::Short(got)),
                Ok(more) => {
                    // The host cannot have read more than was lent.
                    let sum = u32::try_from(more).ok().and_then(|more| got.checked_add(more));
                    got = sum.ok_or(IoErrorKind::Protocol)?;
                    let parts = core::mem::take(&mut rest).split_at_mut_checked(more);
                    (_, rest) = parts.ok_or(IoErrorKind::Protocol)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(device_error(&error)),
            }
        }
        Ok(())
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), IoErrorKind> {
        if self.info.read_only {
            return Err(IoErrorKind::ReadOnly);
        }
        self.info.check_transfer(at, data.len())?;
        self.file.write_all_at(data, at).map_err(|error| device_error(&error))
    }

    fn flush(&self) -> Result<(), IoErrorKind> {
        if self.info.read_only {
            return Ok(());
        }
        self.file.sync_data().map_err(|error| device_error(&error))
    }
}

impl Storage for FileStorage {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.opened(device, |opened| Ok(opened.info)).ok()
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        for (index, transfer) in batch.iter_mut().enumerate() {
            let at = transfer.at;
            let result = self.opened(transfer.device, |opened| match &mut transfer.lent {
                Lent::Read(out) => opened.read(at, out),
                Lent::Write(data) => opened.write(at, data),
                Lent::Flush => opened.flush(),
            });
            transfer.result = Some(result);
            done(index, transfer);
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn rest(&self, ns: u32) {
        std::thread::sleep(Duration::from_nanos(ns.into()));
    }

    fn start(&self, mut job: Job) -> Result<(), Job> {
        let result = self.opened(job.device, |opened| match job.kind {
            JobKind::Read => {
                let out = job.buffer.as_mut().and_then(|buffer| buffer.get_mut());
                opened.read(job.at, out.ok_or(IoErrorKind::Protocol)?)
            }
            JobKind::Write => {
                let data = job.buffer.as_deref().ok_or(IoErrorKind::Protocol)?;
                opened.write(job.at, data)
            }
            JobKind::Flush => opened.flush(),
        });
        self.ended().push_back((job, result));
        Ok(())
    }

    fn poll(&self) -> Option<Ended> {
        self.ended().pop_front()
    }

    fn open_file(&self, mount_tag: &str, name: &str) -> Result<DeviceId, DiscoverError> {
        let wanted = |share: &&Share| share.tag == mount_tag;
        let share = self.shares.iter().find(wanted).ok_or(DiscoverError::NotFound)?;
        let path = path_on_share(&share.dir, name)?;
        let file = File::open(&path).map_err(share_error)?;
        let opened = self.shared(file)?;
        let mut late = self.late();
        let mut numbers = (self.devices.len()..usize::from(u16::MAX)).map(id);
        let free = numbers.find(|number| number.is_ok_and(|number| !late.contains_key(&number)));
        let number = free.ok_or(DiscoverError::TooMany)??;
        late.insert(number, Arc::new(opened));
        Ok(number)
    }

    fn close_file(&self, file: DeviceId) {
        self.late().remove(&file);
    }
}

impl Discover for FileStorage {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        named(self.named_disks(), name)
    }

    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        let wanted = |share: &&Share| mount_tag.is_none_or(|tag| tag == share.tag);
        let paths: Vec<_> = self
            .shares
            .iter()
            .filter(wanted)
            .map(|share| path_on_share(&share.dir, name))
            .collect();
        let mut search = ShareSearch::new(mount_tag, paths.len())?;
        for path in paths {
            search.add(path.and_then(|path| self.open_on_share(&path)));
        }
        search.end()
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        self.named_disks().for_each(|(serial, device)| each(serial, device));
    }

    fn set_version(&mut self, device: DeviceId, version: Version) {
        if let Some(opened) = self.devices.get_mut(usize::from(device.0)) {
            opened.info.version = version;
        }
    }
}

fn id(number: usize) -> Result<DeviceId, DiscoverError> {
    DeviceId::of(number).ok_or(DiscoverError::TooMany)
}

fn device_error(error: &io::Error) -> IoErrorKind {
    IoErrorKind::Device(errno(error))
}
