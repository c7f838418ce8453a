//! A storage whose pinned devices give the bytes that a digest names, or an error.
//!
//! ```text
//!  mount -> Verified -> Retry -> devices
//!             |  one batch: the data, and the nodes of its trees that are not known
//!             |  each node is checked against its parent, each block against its leaf
//!             |  a block that is wrong: once more from its device, then an error
//!             '- vouch: the same check of bytes that came from elsewhere, a region above all
//! ```
//! [`Verified::pin`] pins a device before its first byte is read. Its sectors are at least a data
//! block from then on, so every reader asks for whole blocks.
//!
//! Always: a transfer or a job of a pinned device that ends well has brought checked bytes; one that
//! does not leaves zeros. A node is used only after it was checked. Devices that are not pinned, and
//! all writes, pass through.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;
mod check;
mod discover;
mod jobs;
mod nodes;
mod objects;
mod pin;
mod pins;
mod prove;
mod run;
mod used;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use jobs::Jobs;
use nodes::Nodes;
use objects::{OBJECTS, Objects};
use pin::Pin;
pub use pin::{NODE_BYTES, PinError};
pub use pins::{AHEAD_MAX, Ask};
use prove::Head;
use rootlet_base::num::{Bug, index};
use rootlet_storage::{
    DeviceId, DeviceInfo, Ended, Job, ObjectFault, ObjectPlace, Storage, Transfer, Vouch, forward,
};
use rootlet_trust::{Hasher, Refused, Subject};
use spin::mutex::SpinMutex as Mutex;
use used::Used;

/// The least memory for nodes, in bytes.
pub const NODES_BYTES_MIN: usize = 64 << 10;
/// The least and the most bytes of nodes that a batch may hold: a quarter of the nodes' memory. A
/// batch that needs more is run in parts.
const BATCH_NODES_BYTES_MIN: usize = 64 << 10;
const BATCH_NODES_BYTES_MAX: usize = 256 << 10;
/// What a batch allocates for its transfers and for the tables of its nodes, in bytes.
const BATCH_TABLES_BYTES: usize = 64 << 10;
/// The most bytes of leaves that jobs under way may hold.
const JOBS_LEAVES_BYTES: usize = 64 << 10;
/// How many refusals are kept for messages.
const REFUSALS_MAX: usize = 16;

/// Counters of what was verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes of data that were checked and right.
    pub verified_bytes: u64,
    /// Nodes that were read and right.
    pub nodes: u64,
    /// Blocks and nodes of sources that were wrong, also those that were right at the second read.
    pub wrong: u64,
    /// Blocks from elsewhere that were wrong.
    pub wrong_elsewhere: u64,
}

/// What changes while reads run.
#[derive(Debug)]
struct State {
    nodes: Nodes,
    used: Used,
    stats: Stats,
    refusals: Vec<Refused>,
}

/// A device that stands for the tree of a pinned one: its bytes are the nodes, the top one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeDevice {
    /// The device.
    pub device: DeviceId,
    /// What the tree covers.
    pub subject: Subject,
    /// The bytes of all nodes.
    pub bytes: u64,
    /// The digest that names the tree.
    pub content: [u8; 32],
    /// Whether its source is not there, so that a region alone may have it.
    pub is_absent: bool,
}

/// A storage that verifies the devices that are pinned.
#[derive(Debug)]
pub struct Verified<S> {
    storage: S,
    hasher: &'static dyn Hasher,
    pins: BTreeMap<DeviceId, Pin>,
    /// The pinned device of each device that stands for a tree.
    trees: BTreeMap<DeviceId, DeviceId>,
    state: Mutex<State>,
    jobs: Mutex<Jobs>,
    objects: Option<Objects>,
    /// What was read of trees before their devices are pinned.
    heads: Vec<Head>,
    /// How many threads read at once.
    readers: usize,
}

impl<S> Verified<S> {
    /// Returns `storage` with no device pinned. Nodes of trees take at most `nodes_bytes` bytes, or
    /// [`NODES_BYTES_MIN`] if that is more.
    pub fn new(storage: S, hasher: &'static dyn Hasher, nodes_bytes: usize) -> Self {
        let nodes = Nodes::new(nodes_bytes.max(NODES_BYTES_MIN));
        let state =
            State { nodes, used: Used::default(), stats: Stats::default(), refusals: Vec::new() };
        let (state, jobs) = (Mutex::new(state), Mutex::new(Jobs::default()));
        let (pins, trees) = (BTreeMap::new(), BTreeMap::new());
        Self {
            storage,
            hasher,
            pins,
            trees,
            state,
            jobs,
            objects: None,
            heads: Vec::new(),
            readers: 1,
        }
    }

    /// Returns the storage below.
    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.storage
    }

    /// Returns the counters.
    pub fn stats(&self) -> Stats {
        self.state.lock().stats
    }

    /// Returns which bytes of sources were wrong, each once and at most 16 of them, and forgets
    /// them.
    pub fn take_refusals(&self) -> Vec<Refused> {
        core::mem::take(&mut self.state.lock().refusals)
    }

    /// Sets how many threads read at once, of which [`Verified::reserve_bytes`] knows one.
    pub fn set_readers(&mut self, readers: u8) {
        self.readers = usize::from(readers).max(1);
    }

    /// Returns the most bytes that reads may still allocate: for nodes that are kept, for those of a
    /// batch of each reader and of all jobs, and for objects; none if nothing is verified.
    #[expect(clippy::arithmetic_side_effects, reason = "255 readers, of at most 8 MiB each")]
    pub fn reserve_bytes(&self) -> usize {
        let objects = if self.objects.is_some() { Objects::reserve_bytes() } else { 0 };
        if self.pins.is_empty() && objects == 0 {
            return 0;
        }
        let longest = |pin: &Pin| pin.nodes_bytes(index(pin.info.transfer_bytes_max));
        let path = self.pins.values().map(longest).max().map_or(0, |bytes| bytes);
        let batch = self.batch_nodes_bytes().max(path) + BATCH_TABLES_BYTES;
        self.nodes_bytes() + self.readers * batch + JOBS_LEAVES_BYTES + objects
    }

    /// Returns the most bytes of nodes that a batch holds.
    fn batch_nodes_bytes(&self) -> usize {
        (self.nodes_bytes() / 4).clamp(BATCH_NODES_BYTES_MIN, BATCH_NODES_BYTES_MAX)
    }

    /// Returns the digest that names what a device is pinned to; `None` if it is not pinned.
    pub fn content(&self, device: DeviceId) -> Option<[u8; 32]> {
        self.pins.get(&device).map(|pin| pin.content)
    }

    /// Returns whether a device is pinned.
    pub fn is_pinned(&self, device: DeviceId) -> bool {
        self.pins.contains_key(&device)
    }

    /// Returns whether a device is pinned, or stands for a tree.
    fn is_ours(&self, device: DeviceId) -> bool {
        let is_ours = || self.is_pinned(device) || self.trees.contains_key(&device);
        !self.pins.is_empty() && is_ours()
    }

    /// Returns the pin whose tree a device stands for.
    fn tree_of(&self, device: DeviceId) -> Option<&Pin> {
        self.pins.get(self.trees.get(&device)?)
    }

    /// Returns the most bytes of nodes that are kept in memory.
    pub fn nodes_bytes(&self) -> usize {
        self.state.lock().nodes.bytes_max()
    }

    /// Returns the trees that a region may keep, in the order of their slots' pins.
    ///
    /// # Errors
    /// A [`Bug`] only.
    pub fn trees(&self) -> Result<Vec<TreeDevice>, Bug> {
        let trees = self.trees.iter().rev().filter_map(|(device, of)| {
            let pin = self.pins.get(of)?;
            Some(pin.tree_content(self.hasher).map(|content| TreeDevice {
                device: *device,
                subject: pin.subject,
                bytes: pin.shape().tree_bytes(),
                content,
                is_absent: pin.is_absent(),
            }))
        });
        trees.collect()
    }

    /// Takes out a node that was read from its source, or made of it, since it was asked for last:
    /// returns the device that stands for its tree, or that of the objects, and the byte of the node
    /// there.
    pub fn take_used(&self) -> Option<(DeviceId, u64)> {
        let used = {
            let mut state = self.state.lock();
            self.trees.iter().find_map(|(device, of)| {
                let pin = self.pins.get(of)?;
                state.used.take(pin).map(|at| (*device, at))
            })
        };
        let of_object = || self.objects.as_ref()?.take_used().map(|at| (OBJECTS, at));
        used.or_else(of_object)
    }

    /// Notes that bytes of a source are wrong.
    fn refuse(&self, refused: Refused) {
        let mut state = self.state.lock();
        if state.refusals.len() < REFUSALS_MAX && !state.refusals.contains(&refused) {
            state.refusals.push(refused);
        }
    }
}

// A method that is forgotten here would forget the storage below.
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> Storage for Verified<S> {
    forward! { self, self.storage;
        open_file close_file whole set_deadline now_ns clock unlocked locking rest unique
    }

    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        match (self.pins.get(&device), self.tree_of(device)) {
            (Some(pin), _) if pin.is_absent() => Some(pin.info),
            // The version may have been set since.
            (Some(pin), _) => {
                self.storage.info(device).map(|info| pin.info.with_version(info.version))
            }
            (None, Some(pin)) => {
                let below = pin.place_of(0).ok().and_then(|(device, _)| self.storage.info(device));
                Some(pin.nodes_info(below))
            }
            (None, None) if device == OBJECTS => self.objects.as_ref().map(|_| Objects::info()),
            (None, None) => self.storage.info(device),
        }
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        let is_ours = |transfer: &Transfer<'_>| self.is_ours(transfer.device);
        if let Some(objects) = self.objects.as_ref().filter(|_| has_objects(batch)) {
            self.run_with_objects(objects, batch, done);
        } else if !self.pins.is_empty() && batch.iter().any(is_ours) {
            self.run_pinned(batch, done);
        } else {
            self.storage.run(batch, done);
        }
    }

    /// Returns `None` for a pinned device: nobody has verified what lies in memory.
    fn view(&self, device: DeviceId, at: u64, len: usize) -> Option<&[u8]> {
        if self.is_ours(device) { None } else { self.storage.view(device, at, len) }
    }

    fn vouch(&self, device: DeviceId, at: u64, data: &[u8]) -> Vouch {
        match (self.pins.get(&device), self.tree_of(device)) {
            (Some(pin), _) => self.vouch_pinned(pin, at, data),
            (None, Some(pin)) => self.vouch_nodes(pin, at, data),
            (None, None) => match self.objects.as_ref().filter(|_| device == OBJECTS) {
                Some(objects) => self.vouch_object(objects, at, data),
                None => self.storage.vouch(device, at, data),
            },
        }
    }

    fn objects(&self) -> Option<DeviceId> {
        self.objects.as_ref().map(|_| OBJECTS)
    }

    fn object(
        &self,
        digest: &[u8],
        bytes: u64,
        place: ObjectPlace<'_>,
    ) -> Result<u64, ObjectFault> {
        let objects = self.objects.as_ref().ok_or(ObjectFault::NoObjects)?;
        objects.find(self.hasher, digest, bytes, place)
    }

    fn object_node(&self, at: u64) -> Option<u64> {
        self.node_before(self.objects.as_ref()?, at)
    }

    fn prove_object(&self, at: u64) -> Result<(), ObjectFault> {
        let objects = self.objects.as_ref().ok_or(ObjectFault::NoObjects)?;
        self.prove_object_at(objects, at)
    }

    /// Takes a read of a pinned device only if the nodes that it needs are known: else a reader
    /// that waits reads them.
    fn start(&self, job: Job) -> Result<(), Job> {
        match self.pins.get(&job.device) {
            Some(pin) => self.start_pinned(pin, job),
            None if self.trees.contains_key(&job.device) => Err(job),
            // A reader that waits opens the file.
            None if job.device == OBJECTS => Err(job),
            None => self.storage.start(job),
        }
    }

    fn poll(&self) -> Option<Ended> {
        if self.pins.is_empty() { self.storage.poll() } else { self.poll_checked() }
    }

    fn has_work(&self) -> bool {
        let has_landed = !self.pins.is_empty() && self.jobs.lock().has_landed();
        has_landed || self.storage.has_work()
    }

    fn work(&self) {
        self.check_landed();
        self.storage.work();
    }

    /// Returns twice the time below: a job that brought wrong bytes is run once more.
    fn patience_ns(&self) -> u64 {
        let once_ns = self.storage.patience_ns();
        // 292 years and more are without bound.
        let Some(twice_ns) = once_ns.checked_mul(2) else { return once_ns };
        if self.pins.is_empty() { once_ns } else { twice_ns }
    }
}

/// Returns whether a batch has transfers of the objects.
fn has_objects(batch: &[Transfer<'_>]) -> bool {
    batch.iter().any(|transfer| transfer.device == OBJECTS)
}
