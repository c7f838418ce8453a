//! The world: devices, faults, power and time, in the hands of the test.
//!
//! Always: what a world does depends on its seed and on what is asked of it, nothing else.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use rootlet::storage::{DeviceId, DeviceInfo, DiscoverError, Version};

use super::counters::{Counters, TraceEvent, WriteRecord};
use super::crash::{CrashImages, StableImage, Survive};
use super::engine::{Device, Name, State};
use super::fault::Rule;
use super::medium::Medium;
use super::sparse::Sparse;
use super::storage::{SimStorage, lock};
use crate::{Rng, Turns};

/// A write at the moment of its submission.
pub struct WriteSeen<'w> {
    /// The event that the submission is.
    pub event: u64,
    /// Which guest writes.
    pub guest: u64,
    /// The disk.
    pub device: DeviceId,
    /// Byte offset.
    pub at: u64,
    /// The bytes.
    pub data: &'w [u8],
    /// Whether a reader waits for it.
    pub foreground: bool,
    /// The disk's state before the write.
    pub medium: &'w Medium,
    /// The ranges of the other writes in flight on this disk.
    pub in_flight: Vec<Range<u64>>,
}

pub(super) type WriteHook = Box<dyn FnMut(&WriteSeen<'_>) + Send>;

/// A simulated machine's devices; clones are handles to the same world.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
    turns: Option<Arc<Turns>>,
}

impl World {
    /// A world without devices; `seed` decides the order of completions, rates, and all noise.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))), turns: None }
    }

    /// The same world, whose guests from now on give their turn away wherever the library has let go
    /// of its lock: before and after it waits for a device, and while requests are under way.
    #[must_use]
    pub fn with_turns(self, turns: Arc<Turns>) -> Self {
        Self { turns: Some(turns), ..self }
    }

    /// Adds a read-only disk with 512-byte sectors; its end is padded to a sector.
    pub fn blob(&self, serial: &str, content: impl Into<Sparse>) -> DeviceId {
        let id = self.disk(serial, 512, content);
        lock(&self.state).device(id).info.read_only = true;
        id
    }

    /// Adds a writable disk with sectors of 512 or 4096 bytes; its end is padded to a sector.
    pub fn disk(&self, serial: &str, sector_bytes: u32, content: impl Into<Sparse>) -> DeviceId {
        let mut content = content.into();
        content.resize(content.bytes().next_multiple_of(sector_bytes.into()));
        self.add(Name::Disk(serial.to_owned()), sector_bytes, content)
    }

    /// Adds a read-only file of a share.
    pub fn share_file(&self, tag: &str, file: &str, content: impl Into<Sparse>) -> DeviceId {
        let name = Name::Share { tag: tag.to_owned(), file: file.to_owned() };
        let id = self.add(name, 1, content.into());
        let mut state = lock(&self.state);
        let info = &mut state.device(id).info;
        info.read_only = true;
        info.version = Version::File(crate::rng::mix(id.0.into()) | 1);
        id
    }

    fn add(&self, name: Name, sector_bytes: u32, content: Sparse) -> DeviceId {
        let mut state = lock(&self.state);
        let id = DeviceId(u16::try_from(state.devices.len()).expect("at most 65,536 devices"));
        let info = DeviceInfo::new(content.bytes(), sector_bytes);
        state.devices.push(Device {
            name,
            info,
            gone: false,
            medium: Medium::new(content),
            unfinished: Vec::new(),
            counters: Counters::default(),
            log: Vec::new(),
            jobs_max: 64,
        });
        id
    }

    /// Starts a guest on these devices. Several guests may be attached at once.
    ///
    /// # Panics
    /// While the power is off: [`World::crash`] turns it on again.
    pub fn attach(&self) -> SimStorage {
        let mut state = lock(&self.state);
        assert!(state.power, "the power is off; crash() decides what survived");
        state.guests += 1;
        let (guest, life) = (state.guests, state.life);
        drop(state);
        SimStorage::new(Arc::clone(&self.state), (guest, life), self.turns.clone())
    }

    /// Adds a fault. Of several that strike one request the first counts (delays add up).
    pub fn rule(&self, rule: Rule) {
        lock(&self.state).rules.push(rule);
    }

    /// Forgets all faults.
    pub fn heal(&self) {
        lock(&self.state).rules.clear();
    }

    /// Gives their guests the jobs that [`Fault::Keep`](super::Fault::Keep) kept, and returns how
    /// many.
    pub fn release(&self) -> usize {
        let mut state = lock(&self.state);
        let mut kept = std::mem::take(&mut state.kept);
        let count = kept.len();
        state.ended.append(&mut kept);
        count
    }

    /// Cuts the power at the `n`-th event from now on (the first is 1).
    pub fn cut_after(&self, n: u64) {
        let mut state = lock(&self.state);
        state.cut_at = Some(state.events + n.max(1));
    }

    /// Cuts the power now, unless it is off.
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        if state.power {
            state.cut();
        }
    }

    /// Whether the power is on.
    pub fn has_power(&self) -> bool {
        lock(&self.state).power
    }

    /// Cuts the power if it is on, decides what every disk holds, and turns it on again. Guests
    /// that were attached stay dead.
    pub fn crash(&self, survive: Survive) -> Vec<(DeviceId, StableImage)> {
        self.cut();
        let mut state = lock(&self.state);
        let mut images = Vec::new();
        for number in 0..state.devices.len() {
            let id = DeviceId(number as u16);
            if matches!(state.devices[number].name, Name::Share { .. }) {
                continue;
            }
            let of_device = |seed: u64| crate::rng::mix(seed.wrapping_add(number as u64));
            let survive = match survive {
                Survive::Seeded(seed) => Survive::Seeded(of_device(seed)),
                Survive::SeededDamage(seed) => Survive::SeededDamage(of_device(seed)),
                same => same,
            };
            let image = state.choices(id).image(survive);
            let unit = state.device(id);
            unit.medium = Medium::new(image.0.clone());
            unit.unfinished.clear();
            images.push((id, image));
        }
        state.power = true;
        images
    }

    /// What a power cut now would leave of `device` by this choice. Changes nothing.
    pub fn crash_image(&self, device: DeviceId, survive: Survive) -> StableImage {
        lock(&self.state).choices(device).image(survive)
    }

    /// The images that a power cut now (or the one that has happened) may leave of `device`:
    /// every combination when there are few, and `samples` seeded ones. Changes nothing.
    pub fn crash_images(&self, device: DeviceId, samples: u64, seed: u64) -> CrashImages {
        CrashImages::new(lock(&self.state).choices(device), samples, seed)
    }

    /// Puts `image` on `device`, with nothing volatile.
    pub fn restore(&self, device: DeviceId, image: &StableImage) {
        let mut state = lock(&self.state);
        let unit = state.device(device);
        unit.info.bytes = image.0.bytes();
        unit.medium = Medium::new(image.0.clone());
        unit.unfinished.clear();
    }

    /// Looks at the state of `device`.
    pub fn with_medium<R>(&self, device: DeviceId, look: impl FnOnce(&Medium) -> R) -> R {
        look(&lock(&self.state).device(device).medium)
    }

    /// Overwrites durable bytes without a request: a foreign hand, or rot.
    pub fn poke(&self, device: DeviceId, at: u64, data: &[u8]) {
        lock(&self.state).device(device).medium.poke(at, data);
    }

    /// Replaces the content of `device`; with `new_version` a file's version changes too.
    pub fn replace(&self, device: DeviceId, content: impl Into<Sparse>, new_version: bool) {
        let mut content = content.into();
        let mut state = lock(&self.state);
        let unit = state.device(device);
        content.resize(content.bytes().next_multiple_of(unit.info.sector_bytes.into()));
        unit.info.bytes = content.bytes();
        if new_version && let Version::File(number) = &mut unit.info.version {
            *number = number.wrapping_add(2);
        }
        unit.medium = Medium::new(content);
    }

    /// Shortens or lengthens `device`; what is cut off is lost.
    pub fn resize(&self, device: DeviceId, bytes: u64) {
        let mut state = lock(&self.state);
        let unit = state.device(device);
        unit.info.bytes = bytes;
        unit.medium.resize(bytes);
    }

    /// Makes `device` refuse writes, or accept them.
    pub fn set_read_only(&self, device: DeviceId, read_only: bool) {
        lock(&self.state).device(device).info.read_only = read_only;
    }

    /// Unplugs `device`, or plugs it in again.
    pub fn set_gone(&self, device: DeviceId, gone: bool) {
        lock(&self.state).device(device).gone = gone;
    }

    /// Makes a device say that its sectors have `bytes` bytes.
    pub fn set_sector_bytes(&self, device: DeviceId, bytes: u32) {
        lock(&self.state).device(device).info.sector_bytes = bytes;
    }

    /// Changes the longest transfer of `device` (from 1 MiB).
    pub fn set_transfer_max(&self, device: DeviceId, bytes: u32) {
        lock(&self.state).device(device).info.transfer_bytes_max = bytes;
    }

    /// Changes how many background jobs `device` takes at once (from 64).
    pub fn set_jobs_max(&self, device: DeviceId, jobs: usize) {
        lock(&self.state).device(device).jobs_max = jobs;
    }

    /// Makes the share `tag` answer every opening with this error.
    pub fn set_share_fault(&self, tag: &str, fault: DiscoverError) {
        lock(&self.state).share_faults.push((tag.to_owned(), fault));
    }

    /// Changes how much longer than at once a request may take (from 50 µs); the seed chooses.
    pub fn set_jitter_ns(&self, ns: u64) {
        lock(&self.state).jitter_ns = ns;
    }

    /// Changes after how long a device that hangs is given up (from 5 s).
    pub fn set_deadline_ns(&self, ns: u64) {
        lock(&self.state).deadline_ns = ns;
    }

    /// Moves the virtual clock on.
    pub fn advance_ns(&self, ns: u64) {
        lock(&self.state).clock_ns += ns;
    }

    /// Calls `hook` for every write at its submission. The hook must not call the world.
    pub fn on_write(&self, hook: impl FnMut(&WriteSeen<'_>) + Send + 'static) {
        lock(&self.state).hook = Some(Box::new(hook));
    }

    /// How many events there were: submissions and completions of writes and flushes.
    pub fn events(&self) -> u64 {
        lock(&self.state).events
    }

    /// The counters of `device`.
    pub fn counters(&self, device: DeviceId) -> Counters {
        lock(&self.state).device(device).counters
    }

    /// Every write that was submitted to `device`.
    pub fn write_log(&self, device: DeviceId) -> Vec<WriteRecord> {
        lock(&self.state).device(device).log.clone()
    }

    /// Starts to keep the trace.
    pub fn record_trace(&self) {
        lock(&self.state).trace.get_or_insert_default();
    }

    /// The trace since [`World::record_trace`].
    pub fn trace(&self) -> Vec<TraceEvent> {
        lock(&self.state).trace.clone().unwrap_or_default()
    }

    /// The trace since [`World::record_trace`], or since this was called last.
    pub fn take_trace(&self) -> Vec<TraceEvent> {
        lock(&self.state).trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Draws everything random from `seed` from now on, whatever was drawn before.
    pub fn stir(&self, seed: u64) {
        lock(&self.state).rng = Rng::new(seed);
    }

    /// A digest of everything that happened, kept always: equal worlds have equal ones.
    pub fn trace_hash(&self) -> u64 {
        lock(&self.state).trace_hash
    }
}
