//! All disks and shares of a machine as one `rootlet::storage`.
//!
//! Always: a batch is submitted to all its devices before anything is waited for; completions
//! come in any order; a device that ends (deadline, broken protocol) ends its own transfers only.
//! Where it would keep a reader's memory at that, the run ends.
//! Nothing is allocated after construction except by `share_file`, and for a share whose daemon was
//! started anew.

mod batches;
mod call;
mod discover;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod fake_share;
mod jobs;
mod processor;
mod talk;
#[cfg(test)]
mod tests;
mod translations;
mod waiters;
mod watch;

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ptr::NonNull;

use rootlet::fuse::{self, OpenFile, ReadRequest, Session};
use rootlet::storage::{DeviceId, DeviceInfo, DiscoverError, IoErrorKind, Job, Storage, Transfer};
use spin::mutex::SpinMutex as Mutex;
use virtio_drivers::transport::Transport;

use crate::virtio::blk;
use crate::virtio::chain::Data;
use crate::virtio::device::{Device, StartError};
use crate::virtio::port::{Deadline, Port, Request};
use crate::virtio::{BLOCK, FILE_SYSTEM, Found, Place};
pub use processor::Processor;
use talk::Talk;
use translations::Translations;
use waiters::Waiters;
use watch::Watch;

/// As many devices need no tables that grow.
const DEVICES_USUAL: usize = 8;
/// How long a device may take to answer, unless told otherwise.
pub const TIMEOUT_NS: u64 = 30_000_000_000;

/// A disk as it is known by name.
struct Disk {
    port: usize,
    info: DeviceInfo,
    has_flush: bool,
}

/// A share as it is known by name.
struct Share {
    port: usize,
    /// Agreed with the daemon when the first file is opened, and anew with each further daemon.
    session: Option<Session>,
    /// How often the daemon was found to be started anew.
    restarts: u64,
    talk: Option<Talk>,
}

/// An open file of a share.
struct File {
    share: usize,
    port: usize,
    name: Box<str>,
    open: OpenFile,
    /// The [`Share::restarts`] of the daemon that has it open.
    restarts: u64,
    info: DeviceInfo,
}

/// A device that could not be used, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Where it is.
    pub place: Place,
    /// Its virtio device id.
    pub id: u32,
    /// Why.
    pub error: StartError,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtio device {} at {}: {}", self.id, self.place, self.error)
    }
}

/// The disks and shares of a machine.
///
/// Device ids count the disks from 0, and on from there the files in the order of opening. As many
/// batches run at once as there may be processors; a further one waits for the end of another.
pub struct VirtioStorage<T: Transport> {
    devices: Mutex<Devices<T>>,
    processor: Processor,
    timeout_ns: u64,
}

/// All devices, in the hands of one at a time.
struct Devices<T: Transport> {
    ports: Vec<Port<T>>,
    disks: Vec<Disk>,
    shares: Vec<Share>,
    files: Vec<File>,
    waiters: Waiters,
    translations: Translations,
    watch: Watch,
    timeout_ns: u64,
    /// When requests end at the latest.
    until_ns: Option<u64>,
}

/// What a transfer means to its device.
enum Plan<'r> {
    /// It has ended already.
    Settled(Result<(), IoErrorKind>),
    /// It goes to this port.
    Submit(usize, Request<'r>),
}

/// The bytes of a transfer or job, as raw as devices see them.
#[derive(Clone, Copy)]
enum Bytes {
    Read(NonNull<[u8]>),
    Write(NonNull<[u8]>),
    Flush,
}

impl<T: Transport> VirtioStorage<T> {
    /// Returns a storage without devices.
    pub fn new(processor: Processor) -> Self {
        Self { devices: Mutex::new(Devices::new(processor)), processor, timeout_ns: TIMEOUT_NS }
    }

    /// Sets how long a device may take to answer, in nanoseconds.
    pub fn set_timeout_ns(&mut self, timeout_ns: u64) {
        self.timeout_ns = timeout_ns;
        self.devices.get_mut().timeout_ns = timeout_ns;
    }

    /// Starts a disk or share; other devices are passed over. All devices are added before the
    /// first file is opened, because files are numbered after the disks.
    ///
    /// # Errors
    ///
    /// [`Unusable`] for a device that cannot be started.
    pub fn add(&mut self, found: Found<T>) -> Result<(), Unusable> {
        self.devices.get_mut().add(found)
    }

    /// Returns the mount tags of all shares, for messages: bytes that are not UTF-8 are marked.
    pub fn mount_tags(&mut self) -> impl Iterator<Item = Cow<'_, str>> {
        let Devices { ports, shares, .. } = self.devices.get_mut();
        shares.iter().map(|share| String::from_utf8_lossy(ports[share.port].name()))
    }

    /// Returns how many requests a device takes at once; `None` if there is no such device.
    pub fn queue_depth(&self, device: DeviceId) -> Option<usize> {
        let devices = self.devices.lock();
        Some(devices.ports.get(devices.port_of(device)?)?.capacity())
    }

    /// Returns where a device is, for messages.
    pub fn place(&self, device: DeviceId) -> Option<Place> {
        let devices = self.devices.lock();
        Some(devices.ports.get(devices.port_of(device)?)?.place())
    }

    /// Returns the bytes of memory that devices keep past their deadline, and perhaps for ever.
    pub fn given_up_bytes(&self) -> usize {
        self.devices.lock().ports.iter().map(Port::given_up_bytes).sum()
    }

    /// Closes every file and ends every session. No device is reset: whatever it still has, the
    /// end of the machine ends, and some devices never say that they are reset.
    ///
    /// # Errors
    ///
    /// The first failure of a daemon; the rest is done all the same.
    pub fn shut_down(&mut self) -> Result<(), fuse::Error> {
        self.devices.get_mut().shut_down()
    }

    /// Resets every device, so that another program can have the machine: none is to be used after
    /// that.
    ///
    /// # Errors
    ///
    /// The place of the first device that may still write to memory; the others are reset all the
    /// same.
    pub fn quiesce(&mut self) -> Result<(), Place> {
        let mut first = Ok(());
        for port in &mut self.devices.get_mut().ports {
            if !port.quiesce() {
                first = first.and(Err(port.place()));
            }
        }
        first
    }
}

impl<T: Transport> Devices<T> {
    fn new(processor: Processor) -> Self {
        Self {
            ports: Vec::with_capacity(DEVICES_USUAL),
            disks: Vec::with_capacity(DEVICES_USUAL),
            shares: Vec::with_capacity(DEVICES_USUAL),
            files: Vec::with_capacity(DEVICES_USUAL),
            waiters: Waiters::new(),
            translations: Translations::new(processor.forget_translations),
            watch: Watch::new(processor),
            timeout_ns: TIMEOUT_NS,
            until_ns: None,
        }
    }

    /// Returns the deadline of a request that is submitted now.
    fn deadline(&mut self) -> Deadline {
        let now_ns = self.watch.now_ns();
        let timeout_ns = match self.until_ns {
            Some(until_ns) => self.timeout_ns.min(until_ns.max(now_ns) - now_ns),
            None => self.timeout_ns,
        };
        self.watch.deadline(timeout_ns)
    }

    fn add(&mut self, found: Found<T>) -> Result<(), Unusable> {
        assert!(self.files.is_empty(), "devices are added before files are opened");
        let (place, id) = (found.place, found.id);
        let unusable = |error| Unusable { place, id, error };
        if !matches!(id, BLOCK | FILE_SYSTEM) {
            return Ok(());
        }
        let device = Box::new(Device::new(found, self.watch.clock()));
        let port = self.ports.len();
        if id == BLOCK {
            let deadline = self.watch.deadline(self.timeout_ns);
            let (started, info, has_flush) = Port::disk(device, deadline).map_err(unusable)?;
            self.ports.push(started);
            self.disks.push(Disk { port, info, has_flush });
        } else {
            self.ports.push(Port::share(device).map_err(unusable)?);
            self.shares.push(Share { port, session: None, restarts: 0, talk: None });
        }
        self.waiters.batches.add_port(self.ports[port].capacity());
        Ok(())
    }

    /// Returns the port and the properties of a device.
    // One copy in the image: the function has many callers.
    #[inline(never)]
    fn known(&self, device: DeviceId) -> Option<(usize, &DeviceInfo)> {
        let index = usize::from(device.0);
        if let Some(disk) = self.disks.get(index) {
            return Some((disk.port, &disk.info));
        }
        let file = self.files.get(index.checked_sub(self.disks.len())?)?;
        Some((file.port, &file.info))
    }

    fn port_of(&self, device: DeviceId) -> Option<usize> {
        self.known(device).map(|(port, _)| port)
    }

    /// Checks a transfer and turns it into a request; whatever is wrong with it settles it.
    fn plan<'r>(&mut self, device: DeviceId, at: u64, bytes: Bytes) -> Plan<'r> {
        let Some((port, info)) = self.known(device) else {
            return Plan::Settled(Err(IoErrorKind::Gone));
        };
        let data = match bytes {
            Bytes::Read(data) | Bytes::Write(data) => data,
            Bytes::Flush => return self.plan_flush(device, port),
        };
        if let Err(kind) = check(info, at, data.len(), matches!(bytes, Bytes::Write(_))) {
            return Plan::Settled(Err(kind));
        }
        if data.is_empty() {
            return Plan::Settled(Ok(()));
        }
        self.translations.moved(data.len());
        let index = usize::from(device.0);
        match (index.checked_sub(self.disks.len()), bytes) {
            (None, Bytes::Write(_)) => {
                Plan::Submit(port, Request::Disk(blk::Operation::Write, at, Data::Out(data)))
            }
            (None, _) => {
                Plan::Submit(port, Request::Disk(blk::Operation::Read, at, Data::In(data)))
            }
            (Some(file), _) => match self.read_request(file, at, data.len()) {
                Some(read) => Plan::Submit(port, Request::File(read, data)),
                None => Plan::Settled(Err(IoErrorKind::Gone)),
            },
        }
    }

    /// Plans a flush: a device that does not know how to flush makes each write durable as it
    /// completes.
    fn plan_flush<'r>(&self, device: DeviceId, port: usize) -> Plan<'r> {
        match self.disks.get(usize::from(device.0)) {
            Some(disk) if disk.has_flush => {
                Plan::Submit(port, Request::Disk(blk::Operation::Flush, 0, Data::None))
            }
            _ => Plan::Settled(self.ports[port].ended().map_or(Ok(()), Err)),
        }
    }

    fn read_request(&mut self, file: usize, at: u64, len: usize) -> Option<ReadRequest> {
        let file = self.files.get(file)?;
        let session = self.shares.get_mut(file.share)?.session.as_mut()?;
        Some(session.read_request(&file.open, at, u32::try_from(len).ok()?))
    }
}

impl<T: Transport> Storage for VirtioStorage<T> {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        self.devices.lock().known(device).map(|(_, info)| *info)
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        self.run_batch(batch, done);
    }

    /// Opens a file, which stays open: a daemon that is silent is asked about the last one.
    fn open_file(&self, mount_tag: &str, name: &str) -> Result<DeviceId, DiscoverError> {
        self.devices.lock().share_file(Some(mount_tag), name)
    }

    fn set_deadline(&self, until_ns: Option<u64>) {
        self.devices.lock().until_ns = until_ns;
    }

    fn now_ns(&self) -> u64 {
        (self.processor.now_ns)()
    }

    fn clock(&self) -> Option<fn() -> u64> {
        Some(self.processor.now_ns)
    }

    fn start(&self, job: Job) -> Result<(), Job> {
        self.devices.lock().start_job(job)
    }

    fn poll(&self) -> Option<(Job, Result<(), IoErrorKind>)> {
        self.devices.lock().poll_job()
    }

    /// Returns the library's patience: each device ends its jobs by its own deadline, and the
    /// library waits longer.
    fn patience_ns(&self) -> u64 {
        self.timeout_ns + jobs::PATIENCE_NS
    }

    fn rest(&self, ns: u32) {
        // What was started since the last look is on its way meanwhile.
        self.devices.lock().ports.iter_mut().for_each(Port::kick);
        (self.processor.nap)(ns);
    }

    fn unique(&self) -> u64 {
        (self.processor.unique)()
    }
}

/// Checks that a device with `info` can take a transfer.
fn check(info: &DeviceInfo, at: u64, len: usize, is_write: bool) -> Result<(), IoErrorKind> {
    let sector = u64::from(info.sector_bytes);
    let bytes = len as u64;
    if is_write && info.read_only {
        return Err(IoErrorKind::ReadOnly);
    }
    if !at.is_multiple_of(sector)
        || !bytes.is_multiple_of(sector)
        || bytes > u64::from(info.transfer_bytes_max)
    {
        return Err(IoErrorKind::Unaligned);
    }
    match at.checked_add(bytes) {
        Some(end) if end <= info.bytes => Ok(()),
        _ => Err(IoErrorKind::OutOfRange),
    }
}
