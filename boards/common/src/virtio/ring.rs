//! One virtqueue with the requests that are in flight on it.
//!
//! Always: a request is a head that the device reads, data that it reads or writes, and a tail
//! that it writes; head and tail live in the ring, the data is lent by the caller or kept in the
//! flight. A request ends once for its owner: when the device gave it back, by [`Ring::abandon`]
//! after a reset, or by [`Ring::give_up`]. What was given up keeps its lane and its memory until
//! the device gives it back, if it ever does.
//!
//! A queue of two entries has no room for three parts: there the data is copied beside the head
//! or the tail, which any device of virtio 1.0 has to accept (virtio 1.2, 2.7.4).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering, fence};

use rootlet::fuse::{Answer, ReadReply};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::chain::{CHAIN, Chain, Data, Kept, Parts, Shared, TAIL_BYTES_MAX, Tail};
use super::chain::{copy_in, copy_out, lane};
use super::device::{StartError, Stopped};
use super::hal::Identity;
use super::used::{Noting, Used};

/// Descriptors of the largest queue that is compiled in.
const TOKENS: usize = 128;
const NO_LANE: u8 = u8::MAX;
/// The longest transfer of a queue that copies: as long as what a reader mostly asks for.
const COPIED_BYTES_MAX: usize = 64 << 10;

/// Who waits for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The transfer with this index of the foreground batch in this place.
    Batch { number: usize, index: usize },
    /// The background job with this number, the `generation`th in its place.
    Job { index: usize, generation: u64 },
    /// The port, which takes the answer in: a disk's name, a reply of a daemon.
    Room,
    /// Nobody: it has no answer.
    Notice,
}

/// What is known of a request in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    /// `None` once the request was given up, and for what nobody waits for.
    pub(crate) owner: Option<Owner>,
    pub(crate) since_ns: u64,
    pub(crate) deadline_ns: u64,
    pub(crate) kind: Kind,
    /// The memory of its data, unless the data is the owner's.
    pub(crate) kept: Option<Kept>,
}

/// How the answer to a request is judged.
#[derive(Debug)]
pub(crate) enum Kind {
    /// By the status in the tail.
    Disk,
    /// By the FUSE reply's header in the tail.
    FileRead(ReadReply),
    /// By the sender of the request.
    Message,
    /// By the port: it asked whether a daemon is the one that it was.
    Question(Answer),
}

/// A request that the device gave back.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) flight: Flight,
    /// Bytes that the device says it wrote.
    pub(crate) device_bytes: u32,
    /// Bytes of lent data that it was to write.
    pub(crate) data_bytes: usize,
    pub(crate) tail: [u8; TAIL_BYTES_MAX],
}

/// The device broke the protocol: it gave back a request that it does not hold, or more bytes than
/// the request has room for.
#[derive(Debug)]
pub(crate) struct Bogus;

/// A queue of one of the compiled-in sizes.
enum Queue {
    Q128(Box<VirtQueue<Identity, 128>>),
    Q64(Box<VirtQueue<Identity, 64>>),
    Q16(Box<VirtQueue<Identity, 16>>),
    Q8(Box<VirtQueue<Identity, 8>>),
    Q4(Box<VirtQueue<Identity, 4>>),
    Q2(Box<VirtQueue<Identity, 2>>),
}

/// Does the same with a queue of any size.
macro_rules! any_size {
    ($queue:expr, $name:ident => $what:expr) => {
        match $queue {
            Queue::Q128($name) => $what,
            Queue::Q64($name) => $what,
            Queue::Q16($name) => $what,
            Queue::Q8($name) => $what,
            Queue::Q4($name) => $what,
            Queue::Q2($name) => $what,
        }
    };
}

impl Queue {
    /// Makes a queue of the largest size that the device allows: any smaller one is as good to it
    /// (virtio 1.2, 4.1.4.3, 4.2.2.2).
    fn new<T: Transport>(transport: &mut T, index: u16) -> Result<(Self, usize, Used), StartError> {
        // No EVENT_IDX: virtio-drivers 0.13 compares `avail_idx` and `avail_event` without
        // wrapping, which loses a kick after 65536 requests.
        macro_rules! sized {
            ($variant:ident, $size:literal) => {{
                let mut transport = Noting::new(transport);
                match VirtQueue::new(&mut transport, index, false, false) {
                    Ok(queue) => {
                        let used = Used::new(transport.used_at, $size);
                        Ok((Self::$variant(Box::new(queue)), $size, used))
                    }
                    Err(_) => Err(StartError::Queue(index)),
                }
            }};
        }
        match transport.max_queue_size(index) {
            128.. => sized!(Q128, 128),
            64.. => sized!(Q64, 64),
            16.. => sized!(Q16, 16),
            8.. => sized!(Q8, 8),
            4.. => sized!(Q4, 4),
            2.. => sized!(Q2, 2),
            _ => Err(StartError::Queue(index)),
        }
    }
}

/// One queue and its requests.
pub(crate) struct Ring {
    queue: Queue,
    used: Used,
    index: u16,
    /// Head and tail of each lane.
    bytes: Shared,
    /// The longest head.
    head_bytes_max: usize,
    /// Room for head or tail and the data; empty where the queue takes three parts, and where it
    /// does not there is one lane.
    copy: Shared,
    lanes: Vec<Option<(Chain, Flight)>>,
    flying: usize,
    /// From the queue's token to the lane.
    by_token: [u8; TOKENS],
    /// Whether something was submitted since the last kick.
    dirty: bool,
}

impl Ring {
    /// Sets up queue `index` of a device whose features are settled and which does not run yet,
    /// for requests with heads of at most `head_bytes_max`.
    pub(crate) fn new<T: Transport>(
        transport: &mut T,
        index: u16,
        head_bytes_max: usize,
    ) -> Result<Box<Self>, StartError> {
        let (mut queue, size, used) = Queue::new(transport, index)?;
        // The transport does not set up a queue that it could not notify.
        if !transport.queue_used(index) {
            return Err(StartError::Queue(index));
        }
        any_size!(&mut queue, queue => queue.set_dev_notify(false));
        let count = (size / CHAIN).max(1);
        let copy_bytes = if size < CHAIN { head_bytes_max + COPIED_BYTES_MAX } else { 0 };
        Ok(Box::new(Self {
            queue,
            used,
            index,
            bytes: Shared::new(count * (head_bytes_max + TAIL_BYTES_MAX)),
            head_bytes_max,
            copy: Shared::new(copy_bytes),
            lanes: (0..count).map(|_| None).collect(),
            flying: 0,
            by_token: [NO_LANE; TOKENS],
            dirty: false,
        }))
    }

    /// Returns how many requests fit.
    pub(crate) fn capacity(&self) -> usize {
        self.lanes.len()
    }

    /// Returns how much of a transfer of `bytes` bytes the queue takes: all, unless it copies.
    pub(crate) fn limited(&self, bytes: u32) -> u32 {
        if self.copy_bytes() > 0 { bytes.min(COPIED_BYTES_MAX as u32) } else { bytes }
    }

    /// Returns how many requests are in flight.
    pub(crate) fn flying(&self) -> usize {
        self.flying
    }

    /// Puts a request into the queue; the device sees it after [`Ring::kick`] at the latest.
    /// `head` is copied.
    ///
    /// # Errors
    ///
    /// The flight, if the ring is full or the head or the data too long.
    ///
    /// # Safety
    ///
    /// `data` lies in what the flight keeps; or else, until the request leaves the ring, what
    /// `data` names stays allocated. Nothing else reads or writes it meanwhile if it is
    /// [`Data::In`], nothing else writes it if it is [`Data::Out`].
    pub(crate) unsafe fn submit(
        &mut self,
        head: &[&[u8]],
        data: Data,
        tail: Tail,
        flight: Flight,
    ) -> Result<(), Flight> {
        // SAFETY: the caller promises what is asked for.
        match unsafe { self.add(head, data, tail) } {
            Some((number, chain)) => {
                self.lanes[number] = Some((chain, flight));
                self.flying += 1;
                self.dirty = true;
                Ok(())
            }
            None => Err(flight),
        }
    }

    /// Gives a request to the queue. Returns its lane.
    ///
    /// # Safety
    ///
    /// As for [`Ring::submit`].
    unsafe fn add(&mut self, head: &[&[u8]], data: Data, tail: Tail) -> Option<(usize, Chain)> {
        let number = self.lanes.iter().position(Option::is_none)?;
        let lane = lane(&self.bytes, self.head_bytes_max, number);
        // SAFETY: the lane is free, so no device has its bytes, and the ring is borrowed mutably.
        let room = unsafe { &mut *lane.head };
        // SAFETY: as above; the tail is not part of the head.
        unsafe { *lane.tail = [0xff; TAIL_BYTES_MAX] };
        let mut head_bytes = 0;
        for part in head {
            let end = head_bytes + part.len();
            room.get_mut(head_bytes..end)?.copy_from_slice(part);
            head_bytes = end;
        }
        let mut chain = Chain { head_bytes, data, tail, copied: false };
        if self.copy_bytes() > 0 && chain.parts() == CHAIN {
            chain.copied = true;
            // SAFETY: the only lane is free, so no device has the copy.
            let copy = unsafe { self.copy.bytes_mut() };
            // SAFETY: as above, and the caller promises the data.
            unsafe { copy_in(copy, &room[..head_bytes], &chain) }?;
        }
        let mut parts = Parts::new(lane, self.copy.get(), &chain);
        let (inputs, outputs) = parts.split();
        // SAFETY: head and tail live in the lane's own bytes, which are touched again only in
        // `reap`, after `pop_used`, or in `add`, once the lane is free; for the data the caller
        // promises the same.
        let added = any_size!(&mut self.queue, queue => unsafe { queue.add(inputs, outputs) });
        let token = added.ok()?;
        let slot = self.by_token.get_mut(usize::from(token));
        *slot.expect("a token is below the queue's size") = number as u8;
        Some((number, chain))
    }

    /// Tells the device about what was submitted, if it wants to be told.
    pub(crate) fn kick<T: Transport>(&mut self, transport: &mut T) {
        if !self.dirty {
            return;
        }
        self.dirty = false;
        // The device must see the new index before its wish not to be told is read, else both
        // sides may wait for each other (virtio 1.2, 2.7.13.4.1).
        fence(Ordering::SeqCst);
        if any_size!(&self.queue, queue => queue.should_notify()) {
            transport.notify(self.index);
        }
    }

    /// Takes one request that the device gave back.
    pub(crate) fn reap(&mut self) -> Result<Option<Landed>, Bogus> {
        if !any_size!(&self.queue, queue => queue.can_pop()) {
            return Ok(None);
        }
        let (token, device_bytes) = self.used.next();
        let token = u16::try_from(token).map_err(|_| Bogus)?;
        let slot = self.by_token.get_mut(usize::from(token)).ok_or(Bogus)?;
        let number = usize::from(*slot);
        let flying = self.lanes.get_mut(number).ok_or(Bogus)?;
        let (chain, _) = flying.as_ref().ok_or(Bogus)?;
        let chain = *chain;
        if device_bytes as usize > chain.writable_bytes() {
            return Err(Bogus);
        }
        let lane = lane(&self.bytes, self.head_bytes_max, number);
        let mut parts = Parts::new(lane, self.copy.get(), &chain);
        let (inputs, outputs) = parts.split();
        let popped = any_size!(&mut self.queue, queue => {
            // SAFETY: the parts are those of the `add` that returned this token: they are made
            // from the same chain by the same function.
            unsafe { queue.pop_used(token, inputs, outputs) }
        });
        // The ring is the device's to write, so it may say something else at the second look. Then
        // the request stays in flight.
        if popped != Ok(device_bytes) {
            return Err(Bogus);
        }
        self.used.take();
        let (_, flight) = flying.take().ok_or(Bogus)?;
        *slot = NO_LANE;
        self.flying -= 1;
        // A request that was given up has no reader any more, whose memory could be filled.
        if chain.copied && flight.owner.is_some() {
            // SAFETY: the device gave the request back, so the only lane's bytes are ours again.
            let tail = unsafe { &mut *lane.tail };
            // SAFETY: so is the copy.
            let copy = unsafe { self.copy.bytes() };
            // SAFETY: as above, and `submit`'s caller promised the data.
            unsafe { copy_out(copy, tail, &chain, device_bytes as usize) };
        }
        // SAFETY: the device gave the request back, so the lane's bytes are ours again.
        let tail = unsafe { *lane.tail };
        let data_bytes = match chain.data {
            Data::In(data) => data.len(),
            Data::Out(_) | Data::None => 0,
        };
        Ok(Some(Landed { flight, device_bytes, data_bytes, tail }))
    }

    /// Takes one request back, with its kept memory, from a device that touches no memory any more.
    pub(crate) fn abandon(&mut self, _: Stopped) -> Option<(Owner, Option<Kept>)> {
        loop {
            let (_, flight) = self.lanes.iter_mut().find_map(Option::take)?;
            self.flying -= 1;
            if let Some(owner) = flight.owner {
                return Some((owner, flight.kept));
            }
        }
    }

    /// Gives up one request whose memory is not its owner's. Returns the owner; the memory stays
    /// with the device.
    pub(crate) fn give_up(&mut self) -> Option<Owner> {
        let owned = |lane: &&mut (Chain, Flight)| lane.1.owner.is_some() && !is_borrowed(lane);
        self.lanes.iter_mut().flatten().find(owned)?.1.owner.take()
    }

    /// Returns whether a request has memory of its owner.
    pub(crate) fn has_borrowed(&self) -> bool {
        self.flights().any(is_borrowed)
    }

    /// Bytes that requests in flight name.
    pub(crate) fn flying_bytes(&self) -> usize {
        self.flights().map(|(chain, _)| chain.data.len()).sum()
    }

    /// Bytes that requests keep for which nobody waits any more.
    pub(crate) fn given_up_bytes(&self) -> usize {
        self.flights()
            .filter(|(_, flight)| flight.owner.is_none())
            .map(|(chain, _)| chain.data.len())
            .sum()
    }

    /// Returns when the oldest request was submitted that the device still has.
    pub(crate) fn unanswered_since_ns(&self) -> Option<u64> {
        self.flights().map(|(_, flight)| flight.since_ns).min()
    }

    /// Returns whether the device has a question.
    pub(crate) fn has_question(&self) -> bool {
        self.flights().any(|(_, flight)| matches!(flight.kind, Kind::Question(_)))
    }

    /// Returns when the oldest request was submitted that somebody waits for.
    pub(crate) fn oldest_ns(&self) -> Option<u64> {
        self.flights()
            .filter(|(_, flight)| flight.owner.is_some())
            .map(|(_, flight)| flight.since_ns)
            .min()
    }

    /// Returns whether a request has met its deadline.
    pub(crate) fn is_late(&self, now_ns: u64) -> bool {
        self.flights().any(|(_, flight)| flight.owner.is_some() && now_ns >= flight.deadline_ns)
    }

    fn flights(&self) -> impl Iterator<Item = &(Chain, Flight)> {
        self.lanes.iter().flatten()
    }

    fn copy_bytes(&self) -> usize {
        self.copy.get().len()
    }
}

/// Returns whether the device may write to memory that is the request's owner's, and neither the
/// flight's nor a copy. Memory that the device only reads does no harm: the reader checks all bytes
/// that such a write leaves on a disk.
fn is_borrowed((chain, flight): &(Chain, Flight)) -> bool {
    let is_written = matches!(chain.data, Data::In(_));
    is_written && flight.owner.is_some() && flight.kept.is_none() && !chain.copied
}
