//! The parts of one request: a head that the device reads, data that it reads or writes, and a
//! tail that it writes.
//!
//! Always: the same parts in the same order whenever they are made from the same chain.

use alloc::boxed::Box;
use core::ptr::{NonNull, slice_from_raw_parts_mut};

use rootlet::storage::Buffer;

/// Room for the longest tail: a FUSE reply's header.
pub(super) const TAIL_BYTES_MAX: usize = 16;
/// Descriptors of one request.
pub(super) const CHAIN: usize = 3;

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
    /// This many bytes after the data (a disk's status).
    Last(usize),
}

/// The parts of a request in flight, as they were given to the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) head_bytes: usize,
    pub(super) data: Data,
    pub(super) tail: Tail,
    /// Whether the data is in the lane's copy, beside the head or the tail.
    pub(super) copied: bool,
}

/// Memory of our own that a device may have a part of. Unlike a box it may move meanwhile: nothing
/// but its raw address is ever used.
#[derive(Debug)]
pub(crate) struct Shared(NonNull<[u8]>);

impl Shared {
    /// Returns `bytes` zeroed bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let room: Box<[u8]> = alloc::vec![0; bytes].into_boxed_slice();
        Self(NonNull::from(Box::leak(room)))
    }

    /// Returns where the bytes are.
    pub(crate) fn get(&self) -> NonNull<[u8]> {
        self.0
    }

    /// Returns the bytes.
    ///
    /// # Safety
    ///
    /// No device has any of them while the slice lives.
    pub(crate) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: the allocation lives as long as this, and the caller promises the rest.
        unsafe { self.0.as_ref() }
    }

    /// Returns the bytes, to be changed.
    ///
    /// # Safety
    ///
    /// As for [`Shared::bytes`].
    pub(crate) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and this is borrowed mutably.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the allocation is that of the box which `new` leaked, and this is its only owner.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Memory that a request in flight owns. The device may keep it for ever.
#[derive(Debug)]
pub(crate) enum Kept {
    /// The buffer of a background job.
    Buffer(Buffer),
    /// Memory of the storage itself.
    Room(Shared),
    /// A piece of its port's memory, whose bytes are copied to where their owner wants them.
    Aside { at: NonNull<[u8]>, to: NonNull<[u8]> },
}

/// Where head and tail of a lane live.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    pub(super) head: *mut [u8],
    pub(super) tail: *mut [u8; TAIL_BYTES_MAX],
}

/// Returns lane `number` of a ring, below as many as there is room for.
pub(super) fn lane(bytes: &Shared, head_bytes_max: usize, number: usize) -> Lane {
    let begin = number * (head_bytes_max + TAIL_BYTES_MAX);
    debug_assert!(begin + head_bytes_max + TAIL_BYTES_MAX <= bytes.get().len());
    let head = bytes.get().as_ptr().cast::<u8>().wrapping_add(begin);
    let tail = head.wrapping_add(head_bytes_max).cast();
    Lane { head: slice_from_raw_parts_mut(head, head_bytes_max), tail }
}

impl Data {
    pub(super) fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::In(data) | Self::Out(data) => data.len(),
        }
    }
}

impl Chain {
    /// Bytes that the device may write.
    pub(super) fn writable_bytes(&self) -> usize {
        let data_bytes = match self.data {
            Data::In(data) => data.len(),
            Data::Out(_) | Data::None => 0,
        };
        data_bytes + self.tail_bytes()
    }

    fn tail_bytes(&self) -> usize {
        match self.tail {
            Tail::None => 0,
            Tail::First(bytes) | Tail::Last(bytes) => bytes,
        }
    }

    /// Returns how many there are of head, data and tail.
    pub(super) fn parts(&self) -> usize {
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

/// Readies the copy: head and data of what the device shall read, or 0xff wherever it shall write,
/// so that a status or header which was never written shows.
///
/// # Safety
///
/// No device has the copy, and the data is what `submit`'s caller promises.
pub(super) unsafe fn copy_in(copy: &mut [u8], head: &[u8], chain: &Chain) -> Option<()> {
    let room = copy.get_mut(..chain.copy_bytes())?;
    if let Data::Out(data) = chain.data {
        let (to_head, to_data) = room.split_at_mut(chain.head_bytes);
        to_head.copy_from_slice(head);
        // SAFETY: the caller promises that nobody writes the data now.
        to_data.copy_from_slice(unsafe { data.as_ref() });
    } else {
        room.fill(0xff);
    }
    Some(())
}

/// Copies data and tail that the device wrote, `device_bytes` of both.
///
/// # Safety
///
/// The device gave the request back, and the data is what `submit`'s caller promised.
pub(super) unsafe fn copy_out(
    copy: &[u8],
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
    // Fewer bytes than the tail hold no data; more than both together are refused (`Ring::reap`).
    let Some(bytes) = device_bytes.checked_sub(tail_bytes) else { return };
    // SAFETY: the caller promises that nobody else uses the data now.
    let data = unsafe { data.as_mut() };
    data[..bytes].copy_from_slice(&from[..bytes]);
}

/// The parts of a chain as slices, in the order of the queue: those that the device reads, then
/// those that it writes. The slices exist only while they are handed to the queue, which keeps raw
/// addresses.
pub(super) struct Parts<'p> {
    inputs: [&'p [u8]; 2],
    outputs: [&'p mut [u8]; 2],
    input_count: usize,
    output_count: usize,
}

impl<'p> Parts<'p> {
    pub(super) fn new(lane: Lane, copy: NonNull<[u8]>, chain: &Chain) -> Self {
        let mut parts = Self {
            inputs: [&[], &[]],
            outputs: [&mut [], &mut []],
            input_count: 0,
            output_count: 0,
        };
        let head = slice_from_raw_parts_mut(lane.head.cast::<u8>(), chain.head_bytes);
        let tail = lane.tail.cast::<u8>();
        if chain.copied {
            let both = slice_from_raw_parts_mut(copy.as_ptr().cast::<u8>(), chain.copy_bytes());
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

    /// Returns what `VirtQueue::add` and `pop_used` take.
    pub(super) fn split(&'p mut self) -> (&'p [&'p [u8]], &'p mut [&'p mut [u8]]) {
        (&self.inputs[..self.input_count], &mut self.outputs[..self.output_count])
    }
}
