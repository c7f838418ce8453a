//! A disk in host memory behind real virtqueues, with the faults that a device can have.
//!
//! Always: it answers in a shuffled order, half of what it has at each look, so that completions
//! of several devices mix; time passes by one step a look at the clock.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::ptr::with_exposed_provenance_mut;

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::virtio::{BLOCK, Found, Place};

const STEP_NS: u64 = 100_000;
const VERSION_1: u64 = 1 << 32;

thread_local! {
    static TIME: Cell<u64> = const { Cell::new(0) };
}

/// A clock that moves when it is looked at.
pub(super) fn now() -> u64 {
    TIME.with(|time| {
        time.set(time.get() + STEP_NS);
        time.get()
    })
}

/// How a disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Honest,
    /// Takes requests and answers none.
    Silent,
    /// Answers with the number of a request that it does not have.
    BogusId,
    /// Says that it needs a reset.
    Broken,
    /// Says OK after writing half.
    Half,
    /// Reports an error.
    Fails,
}

#[derive(Clone, Copy, Default)]
struct Queue {
    descriptors: u64,
    driver: u64,
    device: u64,
}

pub(super) struct State {
    pub(super) bytes: Vec<u8>,
    pub(super) manner: Manner,
    pub(super) resets: usize,
    pub(super) flushes: usize,
    /// The most requests that were held at once.
    pub(super) held_max: usize,
    /// Entries of the largest queue that it takes.
    pub(super) entries_max: u32,
    /// Entries of its queue.
    entries: u16,
    features: u64,
    config: [u8; 64],
    status: u32,
    queue: Option<Queue>,
    seen: u16,
    used: u16,
    held: Vec<u16>,
    random: u32,
}

/// The registers of a disk.
pub(super) struct Fake(Rc<RefCell<State>>);

/// A disk of `bytes` and a look into it.
pub(super) fn disk(bytes: Vec<u8>, features: u64) -> (Found<Fake>, Rc<RefCell<State>>) {
    let mut config = [0; 64];
    config[..8].copy_from_slice(&(bytes.len() as u64 / 512).to_le_bytes());
    let state = State {
        bytes,
        manner: Manner::Honest,
        resets: 0,
        flushes: 0,
        held_max: 0,
        entries_max: 128,
        entries: 0,
        features: features | VERSION_1,
        config,
        status: 0,
        queue: None,
        seen: 0,
        used: 0,
        held: Vec::new(),
        random: 0x2545_f491,
    };
    let state = Rc::new(RefCell::new(state));
    (Found { id: BLOCK, transport: Fake(Rc::clone(&state)), place: Place::Address(0) }, state)
}

fn read<V: FromBytes>(at: u64) -> V {
    let at = with_exposed_provenance_mut::<V>(at as usize);
    // SAFETY: the driver lent this memory and waits on the same thread.
    unsafe { at.read_unaligned() }
}

fn write<V: IntoBytes>(at: u64, value: V) {
    let at = with_exposed_provenance_mut::<V>(at as usize);
    // SAFETY: as in `read`.
    unsafe { at.write_unaligned(value) }
}

#[derive(FromBytes, Clone, Copy)]
#[repr(C)]
struct Descriptor {
    at: u64,
    len: u32,
    flags: u16,
    next: u16,
}

impl State {
    fn chain(queue: Queue, head: u16) -> Vec<Descriptor> {
        let mut chain = Vec::new();
        let mut index = head;
        loop {
            let part: Descriptor = read(queue.descriptors + 16 * u64::from(index));
            chain.push(part);
            if part.flags & 1 == 0 {
                return chain;
            }
            index = part.next;
        }
    }

    fn take(&mut self) {
        let Some(queue) = self.queue else { return };
        let offered: u16 = read(queue.driver + 2);
        while self.seen != offered {
            self.held.push(read(queue.driver + 4 + 2 * u64::from(self.seen % self.entries)));
            self.seen = self.seen.wrapping_add(1);
        }
        self.held_max = self.held_max.max(self.held.len());
    }

    fn random(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random as usize
    }

    /// Answers half of what it holds. It does not look for more: what was submitted without a
    /// kick stays where it is.
    fn work(&mut self) {
        let Some(queue) = self.queue else { return };
        match self.manner {
            Manner::Silent => return,
            Manner::Broken => {
                self.status |= DeviceStatus::DEVICE_NEEDS_RESET.bits();
                return;
            }
            _ => {}
        }
        for _ in 0..self.held.len().div_ceil(2) {
            let pick = self.random() % self.held.len();
            let head = self.held.swap_remove(pick);
            let len = self.serve(&Self::chain(queue, head));
            let id = if self.manner == Manner::BogusId { head ^ 0x55 } else { head };
            let place = queue.device + 4 + 8 * u64::from(self.used % self.entries);
            write(place, u32::from(id));
            write(place + 4, len);
            self.used = self.used.wrapping_add(1);
            write(queue.device + 2, self.used);
        }
    }

    /// Serves a request however its bytes are cut into parts (virtio 1.2, 2.7.4).
    fn serve(&mut self, chain: &[Descriptor]) -> u32 {
        let places = |is_written: bool| -> Vec<u64> {
            let parts = chain.iter().filter(|part| (part.flags & 2 != 0) == is_written);
            parts.flat_map(|part| part.at..part.at + u64::from(part.len)).collect()
        };
        let (readable, writable) = (places(false), places(true));
        let Some((&status, data_in)) = writable.split_last() else { return 0 };
        let bytes: Vec<u8> = readable.iter().map(|&at| read(at)).collect();
        let (head, data_out) = bytes.split_at(16);
        let operation = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let at = u64::from_le_bytes(core::array::from_fn(|index| head[8 + index])) as usize * 512;
        let mut written = 0;
        match operation {
            0 => {
                let half = self.manner == Manner::Half;
                let len = if half { data_in.len() / 2 } else { data_in.len() };
                let from = &self.bytes[at..at + len];
                data_in.iter().zip(from).for_each(|(&place, &byte)| write(place, byte));
                written = len as u32;
            }
            1 => self.bytes[at..at + data_out.len()].copy_from_slice(data_out),
            4 => self.flushes += 1,
            8 => {
                let name = b"fake".iter().chain(core::iter::repeat(&0));
                data_in.iter().zip(name).for_each(|(&place, &byte)| write(place, byte));
                written = data_in.len() as u32;
            }
            _ => {}
        }
        write(status, u8::from(self.manner == Manner::Fails));
        written + 1
    }
}

impl Transport for Fake {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn read_device_features(&mut self) -> u64 {
        self.0.borrow().features
    }

    fn write_driver_features(&mut self, _: u64) {}

    fn max_queue_size(&mut self, _: u16) -> u32 {
        self.0.borrow().entries_max
    }

    fn notify(&mut self, _: u16) {
        let mut state = self.0.borrow_mut();
        state.take();
        state.work();
    }

    fn get_status(&self) -> DeviceStatus {
        let mut state = self.0.borrow_mut();
        state.work();
        DeviceStatus::from_bits_retain(state.status)
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let mut state = self.0.borrow_mut();
        state.status = status.bits();
        if status.is_empty() {
            state.resets += 1;
            state.queue = None;
            state.held.clear();
        }
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        _: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        let mut state = self.0.borrow_mut();
        assert!(size.is_power_of_two() && size <= state.entries_max);
        (state.entries, state.seen, state.used) = (size as u16, 0, 0);
        state.queue = Some(Queue { descriptors, driver, device });
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, _: u16) -> bool {
        self.0.borrow().queue.is_some()
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        let state = self.0.borrow();
        Ok(V::read_from_prefix(&state.config[offset..])
            .map_err(|_| virtio_drivers::Error::IoError)?
            .0)
    }

    fn write_config_space<V: IntoBytes + Immutable>(&mut self, _: usize, _: V) -> Result<()> {
        Ok(())
    }
}
