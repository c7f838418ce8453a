//! A started device with its rings: submit, kick, reap, and the end of it.
//!
//! Always: each request that was submitted is reaped exactly once, with the device's answer or with
//! the reason why there is none. A device that has requests is never reset: a monitor waits inside
//! a reset for what is in flight, and with it the whole machine. Memory of a request past its
//! deadline is given up: it stays with the device, and while it does the device takes no other
//! request.
//!
//! A share whose daemon was started anew is reset and started again, see `asking`.
//!
//! A disk is asked for its name as it starts, and the port itself takes the answer, so that the
//! names of many disks are on their way at once.

mod asking;
mod late;
mod room;

use alloc::boxed::Box;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;

use rootlet::fuse::ReadRequest;
use rootlet::storage::{DeviceInfo, IoErrorKind, Lent};
use virtio_drivers::transport::Transport;

use super::aside::{ASIDE_BYTES, Aside};
use super::blk::SERIAL_BYTES;
use super::chain::{Data, Kept, Tail};
use super::device::{Device, StartError};
use super::ring::{Bogus, Flight, Kind, Landed, Owner, Ring};
use super::{Place, blk, fs};
use crate::text::until_zero;
use asking::Asking;
use late::{Fault, News, State};
use room::Room;

/// How long the end of a port waits for what is in flight.
const PATIENCE_NS: u64 = 100_000_000;

/// One request.
#[derive(Debug)]
pub(crate) enum Request<'r> {
    /// Read or write a disk.
    Disk(blk::Operation, u64, Data),
    /// Read a file of a share into this memory.
    File(ReadRequest, NonNull<[u8]>),
    /// Any message to a share's daemon, and room for its reply.
    Message(&'r [u8], NonNull<[u8]>),
    /// A message without reply.
    Notice(&'r [u8]),
}

/// When a request was made, and until when it is waited for, in time that was waited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) since_ns: u64,
    pub(crate) deadline_ns: u64,
}

/// A request that has ended, with the bytes that the device wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) owner: Owner,
    pub(crate) result: Result<u32, IoErrorKind>,
    /// The memory that the request kept, unless the device still has it.
    pub(crate) kept: Option<Kept>,
}

/// The name of a device, for messages.
enum Name {
    Disk([u8; SERIAL_BYTES]),
    Share([u8; fs::TAG_BYTES]),
}

/// The rings of a device.
struct Rings {
    requests: Box<Ring>,
    /// The high priority ring of a share.
    notices: Option<Box<Ring>>,
    /// Where reads of an expendable disk land; those of all others land where they are wanted.
    aside: Option<Aside>,
}

impl Rings {
    /// Sets up those of a share whose features are settled.
    fn of_share<T: Transport>(device: &mut Device<T>) -> Result<Self, StartError> {
        let notices = Ring::new(&mut device.transport, fs::HIGH_PRIORITY, fs::NOTICE_BYTES_MAX)?;
        let requests = Ring::new(&mut device.transport, fs::REQUESTS, fs::HEAD_BYTES_MAX)?;
        Ok(Self { requests, notices: Some(notices), aside: None })
    }

    fn each(&self) -> impl Iterator<Item = &Ring> {
        self.notices.iter().chain([&self.requests]).map(|ring| &**ring)
    }

    fn each_mut(&mut self) -> impl Iterator<Item = &mut Ring> {
        self.notices.iter_mut().chain([&mut self.requests]).map(|ring| &mut **ring)
    }

    fn flying(&self) -> usize {
        self.each().map(Ring::flying).sum()
    }

    /// Takes one request that the device gave back.
    fn reap(&mut self) -> Result<Option<Landed>, Bogus> {
        for ring in self.each_mut() {
            if let Some(landed) = ring.reap()? {
                return Ok(Some(landed));
            }
        }
        Ok(None)
    }
}

/// A device with its rings. Dropping it resets the device before the rings are freed; if it still
/// has requests, or does not reset, they stay with it for ever.
pub(crate) struct Port<T: Transport> {
    device: Box<Device<T>>,
    rings: ManuallyDrop<Rings>,
    state: State,
    checked_ns: u64,
    /// Whether it was late at the last look.
    was_late: bool,
    /// Whether its silence was told.
    is_told: bool,
    /// What came to light as requests were reaped, and has not been told.
    news: Option<News>,
    /// Length of a disk in bytes.
    bytes: u64,
    name: Name,
    /// For the one answer at a time that the port takes in by itself.
    room: Room,
    /// Of a share: what its daemon is asked that may have been started anew.
    asking: Asking,
    /// Background jobs in flight.
    pub(crate) jobs: usize,
}

// SAFETY: what keeps it from being `Send` by itself are the addresses of memory that was lent to the
// device. That memory is the requests' until they are reaped, whichever thread reaps them.
unsafe impl<T: Transport + Send> Send for Port<T> {}

impl<T: Transport> Port<T> {
    /// Starts a disk, and asks it for its name.
    pub(crate) fn disk(
        mut device: Box<Device<T>>,
        deadline: Deadline,
    ) -> Result<(Self, DeviceInfo, bool), StartError> {
        device.begin(blk::FEATURES)?;
        let mut info = blk::info(&device)?;
        let has_flush = blk::has_flush(&device);
        let requests = Ring::new(&mut device.transport, 0, blk::HEAD_BYTES)?;
        info.transfer_bytes_max = requests.limited(info.transfer_bytes_max);
        let rings = Rings { requests, notices: None, aside: None };
        let mut port = Self::started(device, rings, Name::Disk([0; SERIAL_BYTES]));
        port.bytes = info.bytes;
        port.ask_name(deadline);
        Ok((port, info, has_flush))
    }

    /// Returns whether the device has something for which nobody but the port waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.is_asked() || matches!(self.state, State::Late)
    }

    /// Returns the name of a disk, or the mount tag of a share; empty if it has none, or has not
    /// said it yet.
    pub(crate) fn name(&self) -> &[u8] {
        match &self.name {
            Name::Disk(serial) => until_zero(serial),
            Name::Share(tag) => until_zero(tag),
        }
    }

    /// Returns whether the device is a share.
    pub(crate) fn is_share(&self) -> bool {
        matches!(self.name, Name::Share(_))
    }

    /// Starts a share, and reads its mount tag.
    pub(crate) fn share(mut device: Box<Device<T>>) -> Result<Self, StartError> {
        device.begin(0)?;
        let mut tag = [0; fs::TAG_BYTES];
        fs::read_tag(&device, &mut tag)?;
        let rings = Rings::of_share(&mut device)?;
        Ok(Self::started(device, rings, Name::Share(tag)))
    }

    fn started(mut device: Box<Device<T>>, rings: Rings, name: Name) -> Self {
        device.run();
        let room = Room::new(&name);
        Self {
            device,
            rings: ManuallyDrop::new(rings),
            state: State::Up,
            checked_ns: 0,
            was_late: false,
            is_told: false,
            news: None,
            bytes: 0,
            name,
            room,
            asking: Asking::default(),
            jobs: 0,
        }
    }

    /// Returns where the device is, for messages.
    pub(crate) fn place(&self) -> Place {
        self.device.place
    }

    /// Returns how many requests fit at once, beside the questions to a share's daemon.
    pub(crate) fn capacity(&self) -> usize {
        let all = self.rings.requests.capacity();
        if self.is_share() { all - all / asking::PART_OF_RING } else { all }
    }

    /// Makes reads of a disk land in memory of the port's own, from which they are copied: a disk
    /// that never answers keeps no memory of a reader, who can continue without it. Longer ones
    /// than [`ASIDE_BYTES`] land where they are wanted, as before.
    pub(crate) fn set_expendable(&mut self) {
        self.rings.aside.get_or_insert_with(Aside::new);
    }

    /// Returns whether a request has room.
    pub(crate) fn has_room(&self) -> bool {
        self.rings.requests.flying() < self.capacity()
    }

    /// Returns whether a foreground transfer has room.
    pub(crate) fn has_room_for(&self, transfer: &Lent<'_>) -> bool {
        let has_place = match (&self.rings.aside, transfer) {
            (Some(aside), Lent::Read(out)) if lands_aside(out.len()) => aside.has_room(out.len()),
            _ => true,
        };
        has_place && self.has_room()
    }

    /// Returns whether a background job has room: half of the ring stays free of them, so that a
    /// reader always finds some. A ring that takes one request takes that of a job, too.
    pub(crate) fn has_room_for_job(&self) -> bool {
        self.has_room() && self.jobs < (self.capacity() / 2).max(1)
    }

    /// Returns how much of a transfer of `bytes` bytes its ring takes.
    pub(crate) fn limited(&self, bytes: u32) -> u32 {
        self.rings.requests.limited(bytes)
    }

    /// Submits a request that has room. `kept` is the memory that it names, unless that is the
    /// owner's.
    ///
    /// # Errors
    ///
    /// What was kept, with [`IoErrorKind::Gone`] or [`IoErrorKind::Timeout`] if the device takes no
    /// requests, or [`IoErrorKind::Unaligned`] if the request is too long for the ring. Then
    /// nothing was lent.
    ///
    /// # Safety
    ///
    /// The memory that the request names lies in `kept`; or else, until the request is reaped, it
    /// stays allocated. Nobody else writes it meanwhile, nor reads it if the device writes it.
    pub(crate) unsafe fn submit(
        &mut self,
        request: Request<'_>,
        owner: Owner,
        kept: Option<Kept>,
        deadline: Deadline,
    ) -> Result<(), (Option<Kept>, IoErrorKind)> {
        if let Some(kind) = self.ended() {
            return Err((kept, kind));
        }
        let (request, kept) = self.set_aside(request, kept);
        let Deadline { since_ns, deadline_ns } = deadline;
        let flight = |kind| Flight { owner: Some(owner), since_ns, deadline_ns, kind, kept };
        let Rings { requests: ring, notices, .. } = &mut *self.rings;
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
            Request::Message(bytes, reply) => {
                let data = if reply.is_empty() { Data::None } else { Data::In(reply) };
                // SAFETY: as above.
                unsafe { ring.submit(&[bytes], data, Tail::None, flight(Kind::Message)) }
            }
            Request::Notice(bytes) => {
                let ring = notices
                    .as_mut()
                    .expect("a share, which alone has notices, has a queue for them");
                // SAFETY: nothing is lent; the bytes are copied.
                unsafe { ring.submit(&[bytes], Data::None, Tail::None, flight(Kind::Message)) }
            }
        };
        submitted.map_err(|flight| (self.take_back(flight.kept), IoErrorKind::Unaligned))
    }

    /// Makes a read of an expendable disk, whose data is its owner's, land aside.
    fn set_aside<'r>(
        &mut self,
        request: Request<'r>,
        kept: Option<Kept>,
    ) -> (Request<'r>, Option<Kept>) {
        match (&mut self.rings.aside, request, kept) {
            (Some(aside), Request::Disk(operation, place, Data::In(to)), None)
                if lands_aside(to.len()) =>
            {
                let at = aside.take(to.len()).expect("a request has room when it is submitted");
                let kept = Some(Kept::Aside { at, to });
                (Request::Disk(operation, place, Data::In(at)), kept)
            }
            (_, request, kept) => (request, kept),
        }
    }

    /// Takes a piece of the port's own memory back from what a request kept, and leaves the rest.
    fn take_back(&mut self, kept: Option<Kept>) -> Option<Kept> {
        match (kept, &mut self.rings.aside) {
            (Some(Kept::Aside { at, .. }), Some(aside)) => {
                aside.give(at);
                None
            }
            (kept, _) => kept,
        }
    }

    /// Tells the device about everything submitted since the last kick.
    pub(crate) fn kick(&mut self) {
        if self.ended().is_none() {
            for ring in self.rings.each_mut() {
                ring.kick(&mut self.device.transport);
            }
        }
    }

    /// Takes one request that has ended. What the port takes in by itself is nobody's news.
    pub(crate) fn reap(&mut self) -> Option<Ended> {
        loop {
            let ended = self.reap_any()?;
            if let Some(ended) = self.take_in(ended) {
                return Some(ended);
            }
        }
    }

    fn reap_any(&mut self) -> Option<Ended> {
        while matches!(self.state, State::Up | State::Late) {
            match self.rings.reap() {
                Ok(Some(landed)) => match landed.flight.owner {
                    Some(owner) => {
                        let since_ns = landed.flight.since_ns;
                        let mut ended = Self::judge(owner, landed);
                        if let (Some(Kept::Aside { at, to }), Ok(_)) = (&ended.kept, &ended.result)
                        {
                            // SAFETY: the request has been reaped, so that the disk does not have
                            // the piece any more; `submit`'s caller promised the other one, of the
                            // same length, which is not the port's memory.
                            unsafe {
                                to.cast::<u8>().copy_from_nonoverlapping(at.cast(), at.len())
                            };
                        }
                        ended.kept = self.take_back(ended.kept);
                        let is_failed = matches!(ended.result, Err(IoErrorKind::Device(_)));
                        if is_failed && self.is_share() {
                            self.suspect(since_ns);
                        } else if is_failed && owner != Owner::Room {
                            self.doubt();
                        }
                        return Some(ended);
                    }
                    None => self.take_late(landed),
                },
                Ok(None) => break,
                Err(Bogus) => self.fail(Fault::Protocol),
            }
        }
        let (kind, stopped) = match self.state {
            State::Up => return None,
            State::Late => (IoErrorKind::Timeout, None),
            State::Stopped(stopped, fault) => (fault.kind(), Some(stopped)),
            State::Lost(fault) => (fault.kind(), None),
        };
        let (owner, kept) = self.rings.each_mut().find_map(|ring| match stopped {
            Some(stopped) => ring.abandon(stopped),
            None => Some((ring.give_up()?, None)),
        })?;
        Some(Ended { owner, result: Err(kind), kept: self.take_back(kept) })
    }

    /// Takes what nobody waits for: an answer, or what was given up and is back after all.
    fn take_late(&mut self, landed: Landed) {
        let Landed { flight, device_bytes, tail, .. } = landed;
        if let Kind::Question(answer) = flight.kind {
            self.answered(answer, &tail, device_bytes);
        } else if let Some(Kept::Room(memory)) = self.take_back(flight.kept) {
            self.room.give(memory);
        }
    }

    fn judge(owner: Owner, landed: Landed) -> Ended {
        let Landed { flight, device_bytes, data_bytes, tail } = landed;
        let result = match &flight.kind {
            Kind::FileRead(read) => read.check(&tail, device_bytes).and_then(|got| {
                if got as usize == data_bytes { Ok(got) } else { Err(IoErrorKind::Short(got)) }
            }),
            Kind::Message => Ok(device_bytes),
            Kind::Question(_) => panic!("nobody waits for an answer"),
            Kind::Disk => blk::outcome(tail[0], device_bytes, data_bytes).map(|()| device_bytes),
        };
        Ended { owner, result, kept: flight.kept }
    }
}

/// Returns whether a read of `len` bytes lands aside where reads do.
fn lands_aside(len: usize) -> bool {
    (1..=ASIDE_BYTES).contains(&len)
}

impl<T: Transport> Port<T> {
    /// Resets the device, for the end of the port or of this program. Returns whether the device
    /// touches no memory any more.
    pub(crate) fn quiesce(&mut self) -> bool {
        // What a device that answers has will be back at once.
        let begin = (self.device.now)();
        while matches!(self.state, State::Up)
            && self.rings.flying() > 0
            && (self.device.now)().abs_diff(begin) < PATIENCE_NS
        {
            self.reap();
        }
        match self.state {
            State::Stopped(..) => true,
            State::Up | State::Late => self.stop().is_some(),
            State::Lost(_) => false,
        }
    }
}

impl<T: Transport> Drop for Port<T> {
    fn drop(&mut self) {
        if self.quiesce() {
            // SAFETY: this is the last use of the rings, whose memory no device has any more.
            unsafe { ManuallyDrop::drop(&mut self.rings) };
        }
    }
}
