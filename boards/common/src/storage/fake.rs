//! A disk in host memory that serves real virtqueues, with the faults that a device can have.
//!
//! Always: the disk answers in a shuffled order, half of its requests at each look, so that
//! completions of several devices mix; time passes by one step a look at the clock. Of a driver it
//! takes what the strictest monitor takes: one bit of status a step, features and queues in their
//! steps alone (Firecracker, `virtio/transport/mmio.rs`).

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ptr::with_exposed_provenance_mut;

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Processor;
use crate::virtio::{BLOCK, Found, Place};

/// What a look at the clock takes. An interpreter has no time for many of them.
const STEP_NS: u64 = if cfg!(miri) { 5_000_000 } else { 100_000 };
const VERSION_1: u64 = 1 << 32;
/// `VIRTIO_CONFIG_S_FAILED` (virtio 1.2, 2.1).
const FAILED: DeviceStatus = DeviceStatus::FAILED;

thread_local! {
    static TIME: Cell<u64> = const { Cell::new(0) };
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Returns the time of a clock that moves when it is looked at.
pub(super) fn now() -> u64 {
    TIME.with(|time| {
        time.set(time.get() + STEP_NS);
        time.get()
    })
}

/// Lets the machine stand still for so long.
pub(super) fn pause(ns: u64) {
    TIME.with(|time| time.set(time.get() + ns));
}

/// Returns what was told of devices since the last call.
pub(super) fn told() -> Vec<String> {
    TOLD.take()
}

/// Returns a processor whose run ends in a panic that names the reason.
pub(super) fn processor() -> Processor {
    fn give_up(why: fmt::Arguments<'_>) -> ! {
        panic!("FAIL {why}")
    }
    Processor {
        now_ns: now,
        forget_translations: || {},
        nap: |_| {},
        unique: || 0,
        tell: |news| TOLD.with_borrow_mut(|told| told.push(format!("{news}"))),
        give_up,
    }
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
    /// It was pulled out: its registers read as ones, and nothing is answered.
    Removed,
    /// Gives each request back twice.
    Twice,
    /// Moves the index of the used ring by this many, without an entry.
    Jumps(u16),
    /// Gives back a number whose lower half is right.
    HighId,
    /// Says OK for all bytes, and writes none, not even the status.
    Mute,
    /// Says that it wrote 4 GiB.
    Long,
    /// Writes over the descriptors and over the available ring.
    Scribbles,
    /// Gives back the second descriptor of a chain.
    Middle,
    /// Gives back its first request once more, after the next request that it takes.
    Stale,
}

/// How a disk takes a reset while it is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    Works,
    /// It has none, and says that it failed: Firecracker to 1.16, on virtio-mmio.
    Fails,
}

#[derive(Clone, Copy, Default)]
struct Queue {
    index: u16,
    descriptors: u64,
    driver: u64,
    device: u64,
}

pub(super) struct State {
    pub(super) bytes: Vec<u8>,
    pub(super) manner: Manner,
    pub(super) reset: Reset,
    /// What its configuration's generation is at each look, beginning anew after the last one.
    pub(super) generations: Vec<u32>,
    pub(super) looks: Cell<usize>,
    /// The number of requests in flight at each reset.
    pub(super) lost: Vec<usize>,
    pub(super) resets: usize,
    pub(super) flushes: usize,
    /// The most requests that were held at once.
    pub(super) held_max: usize,
    /// How often it was rung for.
    pub(super) bells: usize,
    /// Entries of the largest queue that it takes.
    pub(super) entries_max: u32,
    /// Its name.
    pub(super) serial: &'static [u8],
    /// Entries of its queue.
    entries: u16,
    pub(super) features: u64,
    /// Whether it has the registers from before virtio 1.0, which know no third step.
    pub(super) is_legacy: bool,
    /// What its status is once it was pulled out: as wide as the register of its bus.
    pub(super) ones: u32,
    /// Features without which it does not run.
    pub(super) insists: u64,
    driver_features: u64,
    pub(super) config: [u8; 64],
    pub(super) status: DeviceStatus,
    queue: Option<Queue>,
    seen: u16,
    used: u16,
    held: Vec<u16>,
    /// The first request that it gave back.
    first: Option<u16>,
    random: u32,
}

/// The registers of a disk.
pub(super) struct Fake(Rc<RefCell<State>>);

/// Returns a disk of `bytes` and a look into it.
pub(super) fn disk(bytes: Vec<u8>, features: u64) -> (Found<Fake>, Rc<RefCell<State>>) {
    let mut config = [0; 64];
    config[..8].copy_from_slice(&(bytes.len() as u64 / 512).to_le_bytes());
    let state = State {
        bytes,
        manner: Manner::Honest,
        reset: Reset::Works,
        generations: Vec::from([0]),
        looks: Cell::new(0),
        lost: Vec::new(),
        resets: 0,
        flushes: 0,
        held_max: 0,
        bells: 0,
        entries_max: 128,
        serial: b"fake",
        entries: 0,
        features: features | VERSION_1,
        is_legacy: false,
        ones: 0xff,
        insists: 0,
        driver_features: 0,
        config,
        status: DeviceStatus::empty(),
        queue: None,
        seen: 0,
        used: 0,
        held: Vec::new(),
        first: None,
        random: 0x2545_f491,
    };
    let state = Rc::new(RefCell::new(state));
    (Found { id: BLOCK, transport: Fake(Rc::clone(&state)), place: Place::Address(0) }, state)
}

pub(super) fn read<V: FromBytes>(at: u64) -> V {
    let at = with_exposed_provenance_mut::<V>(at as usize);
    // SAFETY: the driver lent this memory and waits on the same thread.
    unsafe { at.read_unaligned() }
}

pub(super) fn write<V: IntoBytes>(at: u64, value: V) {
    let at = with_exposed_provenance_mut::<V>(at as usize);
    // SAFETY: as in `read`.
    unsafe { at.write_unaligned(value) }
}

#[derive(FromBytes, Clone, Copy)]
#[repr(C)]
pub(super) struct Descriptor {
    at: u64,
    len: u32,
    flags: u16,
    next: u16,
}

/// Returns the parts of the chain that begins at `head`.
pub(super) fn chain(descriptors: u64, head: u16) -> Vec<Descriptor> {
    let mut chain = Vec::new();
    let mut index = head;
    loop {
        let part: Descriptor = read(descriptors + 16 * u64::from(index));
        chain.push(part);
        if part.flags & 1 == 0 {
            return chain;
        }
        index = part.next;
    }
}

/// Returns where each byte is that the device reads, and each that it writes.
pub(super) fn places(chain: &[Descriptor]) -> (Vec<u64>, Vec<u64>) {
    let of = |is_written: bool| -> Vec<u64> {
        let parts = chain.iter().filter(|part| (part.flags & 2 != 0) == is_written);
        parts.flat_map(|part| part.at..part.at + u64::from(part.len)).collect()
    };
    (of(false), of(true))
}

impl State {
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

    /// Answers half of the requests that the disk holds, and does not look for more: a request that
    /// was submitted without a kick stays in the queue.
    fn work(&mut self) {
        let Some(queue) = self.queue else { return };
        match self.manner {
            Manner::Silent | Manner::Removed => return,
            Manner::Broken => {
                self.status |= DeviceStatus::DEVICE_NEEDS_RESET;
                return;
            }
            _ => {}
        }
        for _ in 0..self.held.len().div_ceil(2) {
            let pick = self.random() % self.held.len();
            let head = self.held.swap_remove(pick);
            self.answer(queue, head);
        }
    }

    fn answer(&mut self, queue: Queue, head: u16) {
        let chain = chain(queue.descriptors, head);
        let first: Descriptor = read(queue.descriptors + 16 * u64::from(head));
        let writable = chain.iter().filter(|part| part.flags & 2 != 0);
        let len = match self.manner {
            Manner::Mute => writable.map(|part| part.len).sum(),
            _ => self.serve(&chain),
        };
        // Not while it has others to look up itself.
        if self.manner == Manner::Scribbles && self.held.is_empty() {
            for index in 0..self.entries {
                let place = queue.descriptors + 16 * u64::from(index);
                write(place, 0xdead_beef_0000_0000_u64);
                write(place + 8, u32::MAX);
                write(place + 12, 0xffff_u16);
                write(place + 14, 0xfffe_u16);
                write(queue.driver + 4 + 2 * u64::from(index), 0xffff_u16);
            }
        }
        if let Manner::Jumps(by) = self.manner {
            self.used = self.used.wrapping_add(by);
            write(queue.device + 2, self.used);
            return;
        }
        let id = match self.manner {
            Manner::BogusId => u32::from(head ^ 0x55),
            Manner::HighId => u32::from(head) | 0x7fff_0000,
            Manner::Middle => u32::from(first.next),
            _ => u32::from(head),
        };
        let len = if self.manner == Manner::Long { u32::MAX } else { len };
        let id = match (self.manner, self.first) {
            (Manner::Stale, Some(first)) => u32::from(first),
            _ => id,
        };
        self.first.get_or_insert(head);
        for _ in 0..if self.manner == Manner::Twice { 2 } else { 1 } {
            let place = queue.device + 4 + 8 * u64::from(self.used % self.entries);
            write(place, id);
            write(place + 4, len);
            self.used = self.used.wrapping_add(1);
            write(queue.device + 2, self.used);
        }
    }

    /// Serves a request however its bytes are cut into parts (virtio 1.2, 2.7.4).
    fn serve(&mut self, chain: &[Descriptor]) -> u32 {
        let (readable, writable) = places(chain);
        let Some((&status, data_in)) = writable.split_last() else { return 0 };
        let bytes: Vec<u8> = readable.iter().map(|&at| read(at)).collect();
        let (head, data_out) = bytes.split_at(16);
        let operation = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let at = u64::from_le_bytes(core::array::from_fn(|index| head[8 + index])) as usize * 512;
        let mut written = 0;
        if at + data_in.len().max(data_out.len()) > self.bytes.len() && operation < 2 {
            write(status, 1_u8);
            return 1;
        }
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
                let name = self.serial.iter().chain(core::iter::repeat(&0));
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
        let state = self.0.borrow();
        if state.manner == Manner::Removed { u64::MAX } else { state.features }
    }

    fn write_driver_features(&mut self, features: u64) {
        let mut state = self.0.borrow_mut();
        state.driver_features = features;
        let driver = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        assert!(state.manner == Manner::Removed || state.status == driver, "{:?}", state.status);
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        let state = self.0.borrow();
        if state.manner == Manner::Removed { u32::MAX } else { state.entries_max }
    }

    fn notify(&mut self, _: u16) {
        let mut state = self.0.borrow_mut();
        state.bells += 1;
        state.take();
        state.work();
    }

    fn get_status(&self) -> DeviceStatus {
        let mut state = self.0.borrow_mut();
        state.work();
        if state.manner == Manner::Removed {
            return DeviceStatus::from_bits_retain(state.ones);
        }
        state.status
    }

    fn set_status(&mut self, status: DeviceStatus) {
        let mut state = self.0.borrow_mut();
        if status.is_empty() {
            state.resets += 1;
            let held = state.held.len();
            state.lost.push(held);
            let is_in_use = state.status.contains(DeviceStatus::DRIVER_OK);
            if is_in_use && state.reset == Reset::Fails {
                state.status |= FAILED;
                return;
            }
            state.status = status;
            state.queue = None;
            state.held.clear();
            return;
        }
        let steps = [
            DeviceStatus::ACKNOWLEDGE,
            DeviceStatus::DRIVER,
            DeviceStatus::FEATURES_OK,
            DeviceStatus::DRIVER_OK,
        ];
        let is_refused = state.insists & !state.driver_features != 0;
        if is_refused && status.contains(DeviceStatus::FEATURES_OK) {
            return;
        }
        // Anything that is not a step changes nothing.
        let steps =
            steps.iter().filter(|step| !state.is_legacy || **step != DeviceStatus::FEATURES_OK);
        let steps: Vec<_> = steps.copied().collect();
        let done = steps.iter().take_while(|step| state.status.contains(**step)).count();
        if steps.get(done).is_some_and(|step| status == state.status | *step) {
            state.status = status;
        }
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        self.0.borrow().is_legacy
    }

    fn queue_set(
        &mut self,
        index: u16,
        size: u32,
        descriptors: PhysAddr,
        driver: PhysAddr,
        device: PhysAddr,
    ) {
        let mut state = self.0.borrow_mut();
        assert!(size.is_power_of_two() && size <= state.entries_max);
        // Firecracker takes queues between these two alone.
        let is_settled = state.is_legacy || state.status.contains(DeviceStatus::FEATURES_OK);
        assert!(is_settled, "{:?}", state.status);
        assert!(!state.status.contains(DeviceStatus::DRIVER_OK), "{:?}", state.status);
        (state.entries, state.seen, state.used) = (size as u16, 0, 0);
        state.queue = Some(Queue { index, descriptors, driver, device });
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, index: u16) -> bool {
        self.0.borrow().queue.is_some_and(|queue| queue.index == index)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        let state = self.0.borrow();
        let look = state.looks.replace(state.looks.get() + 1);
        state.generations[look % state.generations.len()]
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        let state = self.0.borrow();
        if state.manner == Manner::Removed {
            let ones = [0xff; 64];
            return V::read_from_prefix(&ones)
                .map(|(value, _)| value)
                .map_err(|_| virtio_drivers::Error::IoError);
        }
        Ok(V::read_from_prefix(&state.config[offset..])
            .map_err(|_| virtio_drivers::Error::IoError)?
            .0)
    }

    fn write_config_space<V: IntoBytes + Immutable>(&mut self, _: usize, _: V) -> Result<()> {
        Ok(())
    }
}
