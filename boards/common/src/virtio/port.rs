//! A started device with its rings: submit, kick, reap, and the end of it.
//!
//! Always: each request that was submitted is reaped exactly once, with the device's answer or
//! with the reason of the device's end; after that end every submission is answered
//! [`IoErrorKind::Gone`]. A disk is asked for its name as it starts, and the port itself takes the
//! answer, so that the names of many disks are on their way at once.

use alloc::boxed::Box;
use core::ptr::NonNull;

use rootlet::fuse::ReadRequest;
use rootlet::storage::{DeviceInfo, IoErrorKind};
use virtio_drivers::transport::Transport;

use super::blk::SERIAL_BYTES;
use super::chain::{Data, Refused, Shared, Tail, shared};
use super::device::{Device, StartError, Stopped};
use super::ring::{BogusToken, Flight, Kind, Landed, Owner, Ring};
use super::{Place, blk, fs};
use crate::text::until_zero;
use crate::trace;

/// How often a device that keeps silent is asked whether it is broken.
const CHECK_NS: u64 = 1_000_000;

/// One request.
#[derive(Debug)]
pub(crate) enum Request<'r> {
    /// Read or write a disk.
    Disk(blk::Operation, u64, Data),
    /// Read a file of a share into this memory.
    File(ReadRequest, NonNull<[u8]>),
    /// Any message to a share's daemon, made of these parts, and room for its reply.
    Message(&'r [&'r [u8]], NonNull<[u8]>),
    /// A message without reply.
    Notice(&'r [&'r [u8]]),
}

/// A request that has ended, with the bytes that the device wrote.
pub(crate) type Ended = (Owner, Result<u32, IoErrorKind>);

/// A device with its rings. Dropping it resets the device before the rings are freed, because
/// fields are dropped in order.
pub(crate) struct Port<T: Transport> {
    device: Box<Device<T>>,
    requests: Box<Ring>,
    /// The high priority ring of a share.
    notices: Option<Box<Ring>>,
    end: Option<(Stopped, IoErrorKind)>,
    checked_ns: u64,
    /// The name of a disk, ended by zeros if it is shorter.
    name: Option<Shared>,
    /// Whether the disk has been asked for it and has the room for it.
    is_asked: bool,
    /// Background jobs in flight.
    pub(crate) jobs: usize,
    /// Where a foreground batch goes on with this device.
    pub(crate) cursor: usize,
}

impl<T: Transport> Port<T> {
    /// Starts a disk, and asks it for its name.
    pub(crate) fn disk(
        mut device: Box<Device<T>>,
        deadline_ns: u64,
    ) -> Result<(Self, DeviceInfo, bool), StartError> {
        device.begin(blk::FEATURES)?;
        let mut info = blk::info(&device)?;
        let has_flush = blk::has_flush(&device);
        let requests = Ring::new(&mut device.transport, 0, blk::HEAD_BYTES)?;
        let limit = requests.transfer_bytes_max().unwrap_or(u32::MAX);
        info.transfer_bytes_max = info.transfer_bytes_max.min(limit);
        let mut port = Self::started(device, requests, None);
        port.ask(deadline_ns);
        Ok((port, info, has_flush))
    }

    /// Asks a disk for its name. A disk without one answers with an error, or with nothing.
    fn ask(&mut self, deadline_ns: u64) {
        let room = shared(SERIAL_BYTES);
        let data = NonNull::new(room.get()).map_or(Data::None, Data::In);
        let request = Request::Disk(blk::Operation::GetId, 0, data);
        self.name = Some(room);
        // SAFETY: the room is looked at when the request has been reaped, and not before; it is
        // freed behind the device's reset.
        self.is_asked = unsafe { self.submit(request, Owner::Name, deadline_ns) }.is_ok();
        self.kick();
    }

    /// Whether no name is on its way.
    pub(crate) fn is_named(&self) -> bool {
        !self.is_asked
    }

    /// The name of a disk; empty if it has none, or has not said it yet.
    pub(crate) fn serial(&self) -> &[u8] {
        match &self.name {
            // SAFETY: the request has been reaped, so that the disk does not have the room any more.
            Some(room) if !self.is_asked => until_zero(unsafe { &*room.get() }),
            _ => &[],
        }
    }

    /// Starts a share, and reads its mount tag into `tag`.
    pub(crate) fn share(
        mut device: Box<Device<T>>,
        tag: &mut [u8; fs::TAG_BYTES],
    ) -> Result<Self, StartError> {
        device.begin(0)?;
        fs::read_tag(&device, tag)?;
        let notices = Ring::new(&mut device.transport, fs::HIGH_PRIORITY, fs::NOTICE_BYTES_MAX)?;
        let requests = Ring::new(&mut device.transport, fs::REQUESTS, fs::HEAD_BYTES_MAX)?;
        Ok(Self::started(device, requests, Some(notices)))
    }

    fn started(
        mut device: Box<Device<T>>,
        requests: Box<Ring>,
        notices: Option<Box<Ring>>,
    ) -> Self {
        device.run();
        Self {
            device,
            requests,
            notices,
            end: None,
            checked_ns: 0,
            name: None,
            is_asked: false,
            jobs: 0,
            cursor: 0,
        }
    }

    /// Where the device is, for messages.
    pub(crate) fn place(&self) -> Place {
        self.device.place
    }

    /// How many requests fit at once.
    pub(crate) fn capacity(&self) -> usize {
        self.requests.capacity()
    }

    /// Whether a foreground request has room.
    pub(crate) fn has_room(&self) -> bool {
        self.requests.flying() < self.requests.capacity()
    }

    /// Whether a background job has room: half of the ring stays free of them, so that a reader
    /// always finds some. A ring that takes one request takes that of a job, too.
    pub(crate) fn has_room_for_job(&self) -> bool {
        self.has_room() && self.jobs < (self.requests.capacity() / 2).max(1)
    }

    /// The longest transfer, if the ring has a limit of its own.
    pub(crate) fn transfer_bytes_max(&self) -> u32 {
        self.requests.transfer_bytes_max().unwrap_or(u32::MAX)
    }

    /// Whether anything is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.requests.flying() > 0 || self.notices.as_ref().is_some_and(|ring| ring.flying() > 0)
    }

    /// Why the device has ended, if it has.
    pub(crate) fn ended(&self) -> Option<IoErrorKind> {
        self.end.map(|(_, kind)| kind)
    }

    /// Submits a request that has room.
    ///
    /// # Errors
    ///
    /// [`IoErrorKind::Gone`] if the device has ended, [`IoErrorKind::Unaligned`] if the request is
    /// too long for the ring. Then nothing was lent.
    ///
    /// # Safety
    ///
    /// Until the request is reaped, the memory that it names stays allocated, and nobody else
    /// writes it, nor reads it if the device writes it.
    pub(crate) unsafe fn submit(
        &mut self,
        request: Request<'_>,
        owner: Owner,
        deadline_ns: u64,
    ) -> Result<(), IoErrorKind> {
        if self.end.is_some() {
            return Err(IoErrorKind::Gone);
        }
        let flight = |kind| Flight { owner, deadline_ns, kind };
        let ring = &mut self.requests;
        let submitted = match request {
            Request::Disk(operation, at, data) => {
                let head = blk::head(operation, at);
                let tail = Tail::Last(blk::STATUS_BYTES);
                // SAFETY: the caller promises what the ring asks.
                unsafe { ring.submit(&[&head], data, tail, flight(Kind::Disk)) }
            }
            Request::File(read, data) => {
                let tail = Tail::First(rootlet::fuse::REPLY_HEADER_BYTES);
                let flight = flight(Kind::FileRead(read.expected()));
                // SAFETY: as above.
                unsafe { ring.submit(&[read.bytes()], Data::In(data), tail, flight) }
            }
            Request::Message(parts, reply) => {
                let data = if reply.is_empty() { Data::None } else { Data::In(reply) };
                // SAFETY: as above.
                unsafe { ring.submit(parts, data, Tail::None, flight(Kind::Message)) }
            }
            Request::Notice(parts) => {
                let ring = self.notices.as_mut().unwrap_or(ring);
                // SAFETY: nothing is lent; the parts are copied.
                unsafe { ring.submit(parts, Data::None, Tail::None, flight(Kind::Message)) }
            }
        };
        submitted.map_err(|Refused| IoErrorKind::Unaligned)
    }

    /// Tells the device about everything submitted since the last kick.
    pub(crate) fn kick(&mut self) {
        if self.end.is_none() {
            self.requests.kick(&mut self.device.transport);
            if let Some(notices) = &mut self.notices {
                notices.kick(&mut self.device.transport);
            }
        }
    }

    /// Takes one request that has ended. That a name has come is nobody's news.
    #[inline(never)]
    pub(crate) fn reap(&mut self) -> Option<Ended> {
        let ended = self.reap_any();
        if let Some((Owner::Name, result)) = &ended {
            self.is_asked = false;
            // Some devices count the name's own bytes only.
            if !matches!(result, Ok(_) | Err(IoErrorKind::Short(_))) {
                self.name = None;
            }
            return None;
        }
        ended
    }

    #[inline(always)]
    fn reap_any(&mut self) -> Option<Ended> {
        if self.end.is_some() {
            return self.reap_abandoned();
        }
        let mut reaped = self.requests.reap();
        if let (Ok(None), Some(notices)) = (&reaped, &mut self.notices) {
            reaped = notices.reap();
        }
        match &reaped {
            Ok(landed) => landed.as_ref().map(Self::judge),
            Err(BogusToken) => {
                self.fail(IoErrorKind::Protocol);
                self.reap_abandoned()
            }
        }
    }

    fn reap_abandoned(&mut self) -> Option<Ended> {
        let (stopped, kind) = self.end?;
        let rings = self.notices.iter_mut().chain([&mut self.requests]);
        let flight = rings.into_iter().find_map(|ring| ring.abandon(stopped))?;
        Some((flight.owner, Err(kind)))
    }

    fn judge(landed: &Landed) -> Ended {
        let owner = landed.flight.owner;
        let result = match &landed.flight.kind {
            Kind::FileRead(read) => read.check(&landed.tail, landed.device_bytes).and_then(|got| {
                if got as usize == landed.data_bytes {
                    Ok(got)
                } else {
                    Err(IoErrorKind::Short(got))
                }
            }),
            Kind::Message => Ok(landed.device_bytes),
            Kind::Disk => blk::outcome(landed.tail[0], landed.device_bytes, landed.data_bytes)
                .map(|()| landed.device_bytes),
        };
        (owner, result)
    }

    /// Ends the device if it is late or says that it is broken. Cheap enough for a polling loop.
    pub(crate) fn check(&mut self, now_ns: u64) {
        if self.end.is_some() || !self.is_busy() || now_ns < self.checked_ns + CHECK_NS {
            return;
        }
        self.checked_ns = now_ns;
        if self.device.needs_reset() {
            self.fail(IoErrorKind::Gone);
        } else if self.requests.is_late(now_ns)
            || self.notices.as_ref().is_some_and(|ring| ring.is_late(now_ns))
        {
            self.fail(IoErrorKind::Timeout);
        }
    }

    /// Resets the device for good. What was in flight is reaped with `kind`.
    pub(crate) fn fail(&mut self, kind: IoErrorKind) {
        if self.end.is_none() {
            let in_flight = self.requests.flying();
            let why = match kind {
                IoErrorKind::Timeout => "it did not answer before the deadline",
                IoErrorKind::Protocol => "it gave back a request that it does not have",
                IoErrorKind::Gone => "it asked for it, or its use ended",
                _ => "it failed",
            };
            // The ordinary end of a run, and no news.
            if in_flight > 0 || kind != IoErrorKind::Gone {
                trace::warn!(
                    "device at {=u64:#x} reset with {=usize} requests in flight: {=str}",
                    self.device.place.number(),
                    in_flight,
                    why
                );
            }
            self.end = Some((self.device.stop(), kind));
        }
    }
}
