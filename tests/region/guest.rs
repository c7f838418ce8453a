//! A guest: one mount of an image over the region, and the oracle beside it.
//!
//! Always: what a read returned is compared with the file's bytes (L1), whatever else happens.

use std::collections::BTreeMap;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheStats, Layer, Mode, Refused, Residence, SlotState};
use rootlet::read::{Root, Stats};
use rootlet::storage::Storage;
use rootlet_sim::disk::SimStorage;

use crate::machine::{Machine, Sample, samples};
use crate::script::Op;

/// Where a block of a blob lies in the region: slot and block.
pub type Place = (u32, usize);
/// What is resident: by device slot of the image and block of the blob.
pub type Residents = BTreeMap<(u16, u64), Place>;

/// How long a sync may take.
const SYNC_NS_MAX: u64 = 120_000_000_000;

/// One mount.
pub struct Guest {
    pub root: Root<SimStorage, Option<Cache>>,
    pub sample: &'static Sample,
    /// Which sample it is.
    pub number: usize,
    /// What was resident when the region had been opened; the mount itself may give slots up.
    pub opened: Residents,
    /// Why there is no region.
    pub refused: Option<Refused>,
}

/// Why an operation stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Wrong bytes: L1 is broken.
    Wrong(String),
    /// An error, which may be right or break L2.
    Failed(String),
}

impl Stop {
    pub fn text(&self) -> &str {
        match self {
            Self::Wrong(text) | Self::Failed(text) => text,
        }
    }
}

impl Guest {
    /// Boots a guest that mounts sample `number`.
    pub fn boot(machine: &mut Machine, number: usize) -> Result<Self, Stop> {
        let failed = |what: String| Stop::Failed(format!("the mount failed: {what}"));
        let mut storage = machine.world.attach();
        let options = machine.next_options();
        let image = Image::read(&mut storage, machine.images[number]);
        let image = image.map_err(|error| failed(error.to_string()))?;
        let names: [(u16, SourceName<'_>); 0] = [];
        let parts = image.bind(&mut storage, &names).map_err(|error| failed(error.to_string()))?;
        let (cache, refused) = match Cache::open(&mut storage, &options) {
            Ok(cache) => (Some(cache), None),
            Err(refused) => (None, Some(refused)),
        };
        let opened = cache.as_ref().map(|cache| residents_in(cache, number)).unwrap_or_default();
        let root = Root::new(storage, cache, &image, &parts);
        let root = root.map_err(|error| failed(error.to_string()))?;
        Ok(Self { root, sample: &samples()[number], number, opened, refused })
    }

    /// Does one thing. A sync says whether it succeeded; all else is true.
    pub fn run(&self, machine: &Machine, op: &Op) -> Result<bool, Stop> {
        match *op {
            Op::Read { file, at, len } => self.read(file, at, len)?,
            Op::Sync => return Ok(self.sync()),
            Op::Progress(polls) => (0..polls).for_each(|_| self.root.progress()),
            Op::Wait(ns) => {
                machine.world.advance_ns(ns);
                self.root.progress();
            }
        }
        Ok(true)
    }

    /// Reads a part of a file and compares it.
    pub fn read(&self, file: usize, at: u64, len: usize) -> Result<(), Stop> {
        let of = &self.sample.files[file];
        let told = |what: String| format!("read of {len} at {at} of {}: {what}", of.path);
        let failed = |error: rootlet::Error| Stop::Failed(told(error.to_string()));
        let mut out = vec![0xcc; len];
        let opened = self.root.open(of.path.as_bytes()).map_err(failed)?;
        let got = opened.read_at(at, &mut out).map_err(failed)?;
        let end = of.bytes.len().min(at as usize + len);
        let right = &of.bytes[at as usize..end];
        match out[..got].iter().zip(right).position(|(got, right)| got != right) {
            Some(wrong) => Err(Stop::Wrong(told(format!("WRONG BYTES from {wrong} on")))),
            None if got != right.len() => Err(Stop::Wrong(told(format!("{got} bytes")))),
            None => Ok(()),
        }
    }

    /// Reads every file whole.
    pub fn read_all(&self) -> Result<(), Stop> {
        let files = self.sample.files.iter().enumerate();
        files.into_iter().try_for_each(|(file, of)| self.read(file, 0, of.bytes.len()))
    }

    /// Makes everything durable, if it can.
    pub fn sync(&self) -> bool {
        self.root.with_layer(|cache, storage| {
            let deadline_ns = storage.now_ns() + SYNC_NS_MAX;
            cache.as_mut().is_some_and(|cache| cache.sync(storage, deadline_ns))
        })
    }

    /// Looks at the region, if there is one.
    pub fn cache<T>(&self, look: impl FnOnce(&Cache) -> T) -> Option<T> {
        self.root.with_layer(|cache, _| cache.as_ref().map(look))
    }

    pub fn stats(&self) -> Stats {
        self.root.stats()
    }

    pub fn cache_stats(&self) -> CacheStats {
        self.cache(Cache::stats).unwrap_or_default()
    }

    pub fn mode(&self) -> Option<Mode> {
        self.cache(Cache::mode)
    }

    /// What is in the region and no longer on its way.
    pub fn residents(&self) -> Residents {
        self.cache(|cache| residents_in(cache, self.number)).unwrap_or_default()
    }

    /// Whether each slot is in one state.
    pub fn slots_sum_up(&self) -> bool {
        let states = [
            SlotState::Free,
            SlotState::Small,
            SlotState::Main,
            SlotState::Evicted,
            SlotState::Entombing,
            SlotState::Entombed,
            SlotState::Dead,
        ];
        let sum = |cache: &Cache| states.iter().map(|state| cache.slots(*state)).sum::<u32>();
        self.cache(|cache| sum(cache) == cache.superblock().geometry.slots).unwrap_or(true)
    }
}

/// How many blocks each slot of a sample's image has.
fn blocks(number: usize) -> Vec<u64> {
    let built = &samples()[number].built;
    let image = built.image.bytes().len() as u64;
    let blobs = built.blobs.iter().map(|blob| blob.bytes());
    std::iter::once(image).chain(blobs).map(|bytes| bytes.div_ceil(4096)).collect()
}

fn residents_in(cache: &Cache, number: usize) -> Residents {
    let mut all = Residents::new();
    let blocks = blocks(number);
    let uuid = [number as u8 + 1; 16];
    for (index, entry) in cache.blobs().filter(|(_, entry)| entry.identity.0[8..24] == uuid) {
        let slot = entry.identity.slot();
        let mut number = 0;
        while number < blocks[usize::from(slot)] {
            let (residence, run) = Layer::<SimStorage>::locate(cache, index, number);
            if let Residence::Resident { slot: place, block } = residence {
                for step in 0..run {
                    all.insert((slot, number + step as u64), (place, block + step));
                }
            }
            number += run as u64;
        }
    }
    all
}
