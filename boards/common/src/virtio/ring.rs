//! One virtqueue with the requests that are in flight on it.
//!
//! Always: a request is a head that the device reads, data that it reads or writes, and a tail
//! that it writes; head and tail live in the ring, the data is lent by the caller. A request
//! leaves the ring once: when the device gave it back, or by [`Ring::abandon`] after a reset.
//!
//! A queue of two entries has no room for three parts: there the data is copied beside the head
//! or the tail, which any device of virtio 1.0 has to accept (virtio 1.2, 2.7.4).

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ptr::{NonNull, slice_from_raw_parts_mut};
use core::sync::atomic::{Ordering, fence};

use rootlet::fuse::ReadRequest;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::device::{StartError, Stopped};
use super::hal::Identity;

/// Room for the longest tail: a FUSE reply's header.
const TAIL_BYTES_MAX: usize = 16;
/// Descriptors of one request.
const CHAIN: usize = 3;
/// Descriptors of the largest queue that is compiled in.
const TOKENS: usize = 128;
const NO_LANE: u8 = u8::MAX;
/// The longest transfer of a queue that copies: as long as what a reader mostly asks for.
const COPIED_BYTES_MAX: usize = 64 << 10;

/// Who waits for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The transfer with this number of the foreground batch.
    Batch(usize),
    /// The background job with this number.
    Job(usize),
    /// Somebody who waits for this one request.
    Call,
}

/// What is known of a request in flight.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) owner: Owner,
    pub(crate) deadline_ns: u64,
    pub(crate) kind: Kind,
}

/// How the answer to a request is judged.
#[derive(Debug)]
pub(crate) enum Kind {
    /// By the status in the tail.
    Disk,
    /// By the FUSE reply's header in the tail.
    FileRead(ReadRequest),
    /// By whoever sent it.
    Message,
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

/// Lent memory, as raw as the device sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Data {
    None,
    /// The device writes it.
    In(NonNull<[u8]>),
    /// The device reads it.
    Out(NonNull<[u8]>),
}

/// Where the tail stands among what the device writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tail {
    None,
    /// This many bytes before the data (a FUSE reply's header).
    First(usize),
    /// This many bytes behind the data (a disk's status).
    Last(usize),
}

/// There is no free lane, or the head is too long.
#[derive(Debug)]
pub(crate) struct Refused;

/// The device broke the protocol: it gave back what it does not have.
#[derive(Debug)]
pub(crate) struct BogusToken;

/// The parts of a request in flight, as they were given to the queue.
#[derive(Clone, Copy, Debug)]
struct Chain {
    token: u16,
    head_bytes: usize,
    data: Data,
    tail: Tail,
    /// Whether the data is in the lane's copy, beside the head or the tail.
    copied: bool,
}

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
    /// The largest size that the device allows: any smaller one is as good to it (virtio 1.2,
    /// 4.1.4.3, 4.2.2.2).
    fn new<T: Transport>(transport: &mut T, index: u16) -> Result<(Self, usize), StartError> {
        // No EVENT_IDX: virtio-drivers 0.13 compares `avail_idx` and `avail_event` without
        // wrapping, which loses a kick after 65536 requests.
        macro_rules! sized {
            ($variant:ident, $size:literal) => {
                match VirtQueue::new(transport, index, false, false) {
                    Ok(queue) => Ok((Self::$variant(Box::new(queue)), $size)),
                    Err(_) => Err(StartError::Queue(index)),
                }
            };
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
    index: u16,
    /// Head and tail of each lane.
    bytes: Shared,
    /// The longest head.
    head_bytes_max: usize,
    /// Room for head or tail and the data; empty where the queue takes three parts, and where it
    /// does not there is one lane.
    copy: Shared,
    lanes: Box<[Option<(Chain, Flight)>]>,
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
        let (mut queue, size) = Queue::new(transport, index)?;
        // The transport does not set up a queue that it could not notify.
        if !transport.queue_used(index) {
            return Err(StartError::Queue(index));
        }
        any_size!(&mut queue, queue => queue.set_dev_notify(false));
        let count = (size / CHAIN).max(1);
        let copy_bytes = if size < CHAIN { head_bytes_max + COPIED_BYTES_MAX } else { 0 };
        Ok(Box::new(Self {
            queue,
            index,
            bytes: shared(count * (head_bytes_max + TAIL_BYTES_MAX)),
            head_bytes_max,
            copy: shared(copy_bytes),
            lanes: (0..count).map(|_| None).collect(),
            flying: 0,
            by_token: [NO_LANE; TOKENS],
            dirty: false,
        }))
    }

    /// How many requests fit.
    pub(crate) fn capacity(&self) -> usize {
        self.lanes.len()
    }

    /// The longest transfer, if the queue has a limit of its own.
    pub(crate) fn transfer_bytes_max(&self) -> Option<u32> {
        (self.copy_bytes() > 0).then_some(COPIED_BYTES_MAX as u32)
    }

    /// How many requests are in flight.
    pub(crate) fn flying(&self) -> usize {
        self.flying
    }

    /// Puts a request into the queue; the device sees it after [`Ring::kick`] at the latest.
    /// `head` is copied.
    ///
    /// # Errors
    ///
    /// [`Refused`] if the ring is full or the head too long.
    ///
    /// # Safety
    ///
    /// Until the request leaves the ring, what `data` names stays allocated; nothing else reads or
    /// writes it if it is [`Data::In`], nothing else writes it if it is [`Data::Out`].
    pub(crate) unsafe fn submit(
        &mut self,
        head: &[&[u8]],
        data: Data,
        tail: Tail,
        flight: Flight,
    ) -> Result<(), Refused> {
        let free = self.lanes.iter().position(Option::is_none);
        let Some(number) = free else { return Err(Refused) };
        let lane = lane(&self.bytes, self.head_bytes_max, number);
        // SAFETY: the lane is free, so no device has its bytes, and the ring is borrowed mutably.
        let (room, last) = unsafe { (&mut *lane.head, &mut *lane.tail) };
        last.fill(0xff);
        let mut head_bytes = 0;
        for part in head {
            let end = head_bytes + part.len();
            room.get_mut(head_bytes..end).ok_or(Refused)?.copy_from_slice(part);
            head_bytes = end;
        }
        let mut chain = Chain { token: 0, head_bytes, data, tail, copied: false };
        if self.copy_bytes() > 0 && chain.parts() == CHAIN {
            chain.copied = true;
            // SAFETY: the only lane is free, and the caller promises the data.
            unsafe { copy_in(self.copy.get_mut(), &room[..head_bytes], &chain) }?;
        }
        let mut parts = Parts::new(lane, self.copy.get(), &chain);
        let (inputs, outputs) = parts.split();
        // SAFETY: head and tail live in the lane's own bytes, which are touched again only in
        // `reap`, after `pop_used`, or in `submit`, once the lane is free; for the data the
        // caller promises the same.
        let added = any_size!(&mut self.queue, queue => unsafe { queue.add(inputs, outputs) });
        let Ok(token) = added else { return Err(Refused) };
        chain.token = token;
        let slot = self.by_token.get_mut(usize::from(token));
        *slot.expect("a token is below the queue's size") = number as u8;
        self.lanes[number] = Some((chain, flight));
        self.flying += 1;
        self.dirty = true;
        Ok(())
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
    pub(crate) fn reap(&mut self) -> Result<Option<Landed>, BogusToken> {
        let Some(token) = any_size!(&self.queue, queue => queue.peek_used()) else {
            return Ok(None);
        };
        let slot = self.by_token.get_mut(usize::from(token)).ok_or(BogusToken)?;
        let number = usize::from(*slot);
        let flying = self.lanes.get_mut(number).ok_or(BogusToken)?;
        let (chain, _) = flying.as_ref().ok_or(BogusToken)?;
        let chain = *chain;
        let lane = lane(&self.bytes, self.head_bytes_max, number);
        let mut parts = Parts::new(lane, self.copy.get(), &chain);
        let (inputs, outputs) = parts.split();
        let popped = any_size!(&mut self.queue, queue => {
            // SAFETY: the parts are those of the `add` that returned this token: they are made
            // from the same chain by the same function.
            unsafe { queue.pop_used(token, inputs, outputs) }
        });
        // The ring is the device's to write, so it may say something else at the second look. Then
        // the request stays in flight until the reset.
        let Ok(device_bytes) = popped else { return Err(BogusToken) };
        let (_, flight) = flying.take().ok_or(BogusToken)?;
        *slot = NO_LANE;
        self.flying -= 1;
        if chain.copied {
            // SAFETY: the device gave the request back, so the bytes of the only lane and the copy
            // are ours again, and `submit`'s caller promised the data.
            unsafe {
                copy_out(self.copy.get_mut(), &mut *lane.tail, &chain, device_bytes as usize)
            };
        }
        // SAFETY: the device gave the request back, so the lane's bytes are ours again.
        let tail = unsafe { *lane.tail };
        let data_bytes = match chain.data {
            Data::In(data) => data.len(),
            Data::Out(_) | Data::None => 0,
        };
        Ok(Some(Landed { flight, device_bytes, data_bytes, tail }))
    }

    /// Takes one request back from a device that has been reset.
    pub(crate) fn abandon(&mut self, _: Stopped) -> Option<Flight> {
        let (_, flight) = self.lanes.iter_mut().find_map(Option::take)?;
        self.flying -= 1;
        Some(flight)
    }

    /// Whether a request has met its deadline.
    pub(crate) fn is_late(&self, now_ns: u64) -> bool {
        let flights = self.lanes.iter().flatten();
        self.flying > 0 && flights.into_iter().any(|(_, flight)| now_ns >= flight.deadline_ns)
    }

    fn copy_bytes(&self) -> usize {
        self.copy.get().len()
    }
}

/// Memory that the device may have a part of.
type Shared = Box<UnsafeCell<[u8]>>;

/// So many zeroed bytes.
fn shared(bytes: usize) -> Shared {
    let room: Box<[u8]> = alloc::vec![0; bytes].into_boxed_slice();
    let room = Box::into_raw(room) as *mut UnsafeCell<[u8]>;
    // SAFETY: `UnsafeCell` has the layout of what is in it, and the box was made just above.
    unsafe { Box::from_raw(room) }
}

/// Where head and tail of a lane live.
#[derive(Clone, Copy)]
struct Lane {
    head: *mut [u8],
    tail: *mut [u8; TAIL_BYTES_MAX],
}

/// Lane `number` of a ring, below as many as there is room for.
fn lane(bytes: &Shared, head_bytes_max: usize, number: usize) -> Lane {
    let begin = number * (head_bytes_max + TAIL_BYTES_MAX);
    debug_assert!(begin + head_bytes_max + TAIL_BYTES_MAX <= bytes.get().len());
    let head = bytes.get().cast::<u8>().wrapping_add(begin);
    let tail = head.wrapping_add(head_bytes_max).cast();
    Lane { head: slice_from_raw_parts_mut(head, head_bytes_max), tail }
}

impl Data {
    fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::In(data) | Self::Out(data) => data.len(),
        }
    }
}

impl Chain {
    fn tail_bytes(&self) -> usize {
        match self.tail {
            Tail::None => 0,
            Tail::First(bytes) | Tail::Last(bytes) => bytes,
        }
    }

    /// How many there are of head, data and tail.
    fn parts(&self) -> usize {
        1 + usize::from(self.data.len() > 0) + usize::from(self.tail_bytes() > 0)
    }

    /// Bytes of the data with what stands beside it.
    fn copy_bytes(&self) -> usize {
        let beside = match self.data {
            Data::Out(_) => self.head_bytes,
            _ => self.tail_bytes(),
        };
        self.data.len() + beside
    }
}

/// Copies head and data of what the device shall read.
///
/// # Safety
///
/// No device has the copy, and the data is what `submit`'s caller promises.
unsafe fn copy_in(copy: &mut [u8], head: &[u8], chain: &Chain) -> Result<(), Refused> {
    let room = copy.get_mut(..chain.copy_bytes()).ok_or(Refused)?;
    if let Data::Out(data) = chain.data {
        let (to_head, to_data) = room.split_at_mut(chain.head_bytes);
        to_head.copy_from_slice(head);
        // SAFETY: the caller promises that nobody writes the data now.
        to_data.copy_from_slice(unsafe { data.as_ref() });
    }
    Ok(())
}

/// Copies data and tail that the device wrote, `device_bytes` of both.
///
/// # Safety
///
/// The device gave the request back, and the data is what `submit`'s caller promised.
unsafe fn copy_out(
    copy: &mut [u8],
    to_tail: &mut [u8; TAIL_BYTES_MAX],
    chain: &Chain,
    device_bytes: usize,
) {
    let Data::In(mut data) = chain.data else { return };
    let tail_bytes = chain.tail_bytes();
    let written = &copy[..chain.copy_bytes()];
    let is_first = matches!(chain.tail, Tail::First(_));
    let (first, last) =
        written.split_at(if is_first { tail_bytes } else { written.len() - tail_bytes });
    let (tail, from) = if is_first { (first, last) } else { (last, first) };
    to_tail[..tail_bytes].copy_from_slice(tail);
    let bytes = device_bytes.saturating_sub(tail_bytes).min(from.len());
    // SAFETY: the caller promises that nobody else uses the data now.
    let data = unsafe { data.as_mut() };
    data[..bytes].copy_from_slice(&from[..bytes]);
}

/// The parts of a chain as slices, in the order of the queue: what the device reads, then what it
/// writes. The slices exist only while they are handed to the queue, which keeps raw addresses.
struct Parts<'p> {
    inputs: [&'p [u8]; 2],
    outputs: [&'p mut [u8]; 2],
    input_count: usize,
    output_count: usize,
}

impl<'p> Parts<'p> {
    fn new(lane: Lane, copy: *mut [u8], chain: &Chain) -> Self {
        let mut parts = Self {
            inputs: [&[], &[]],
            outputs: [&mut [], &mut []],
            input_count: 0,
            output_count: 0,
        };
        let head = slice_from_raw_parts_mut(lane.head.cast::<u8>(), chain.head_bytes);
        let tail = lane.tail.cast::<u8>();
        if chain.copied {
            let both = slice_from_raw_parts_mut(copy.cast::<u8>(), chain.copy_bytes());
            if let Data::Out(_) = chain.data {
                parts.input(both);
                parts.output(slice_from_raw_parts_mut(tail, chain.tail_bytes()));
            } else {
                parts.input(head);
                parts.output(both);
            }
            return parts;
        }
        parts.input(head);
        if let Tail::First(len) = chain.tail {
            parts.output(slice_from_raw_parts_mut(tail, len));
        }
        match chain.data {
            Data::In(data) => parts.output(data.as_ptr()),
            Data::Out(data) => parts.input(data.as_ptr()),
            Data::None => {}
        }
        if let Tail::Last(len) = chain.tail {
            parts.output(slice_from_raw_parts_mut(tail, len));
        }
        parts
    }

    fn input(&mut self, part: *mut [u8]) {
        // SAFETY: the pointer names live memory (the lane's head, or data that `submit`'s caller
        // keeps alive), and the slice is used for its address and length only.
        self.inputs[self.input_count] = unsafe { &*part };
        self.input_count += 1;
    }

    fn output(&mut self, part: *mut [u8]) {
        // SAFETY: as in `input`; head, tail and data do not overlap, and nobody else uses them.
        self.outputs[self.output_count] = unsafe { &mut *part };
        self.output_count += 1;
    }

    /// What `VirtQueue::add` and `pop_used` take.
    fn split(&'p mut self) -> (&'p [&'p [u8]], &'p mut [&'p mut [u8]]) {
        (&self.inputs[..self.input_count], &mut self.outputs[..self.output_count])
    }
}
