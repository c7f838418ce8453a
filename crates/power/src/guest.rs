//! A guest: one mount of an image over the region, and the oracle beside it.
//!
//! Always: what a read returned is compared with the file's bytes (L1), whatever else happens.

use std::cell::Cell;
use std::collections::BTreeMap;

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{BlockPlace, Cache, CacheStats, Layer, Mode, Refused};
use rootlet::read::{Root, Stats};
use rootlet::storage::{Parts, Storage};
use rootlet_sim::disk::SimStorage;

use crate::invariants::{Broken, bytes_are_right};
use crate::machine::{Machine, Sample, WINDOW};
use crate::script::Op;

/// Where a block of a blob lies in the region: slot and block.
pub type Place = (u32, usize);
/// What is resident: by device slot of the image and block of the blob.
pub type Residents = BTreeMap<(u16, u64), Place>;

thread_local! {
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// How many reads this thread has compared with the oracle.
pub fn reads_checked() -> u64 {
    READS.with(Cell::get)
}

/// Counts a read that is compared with the oracle.
pub fn count_read() {
    READS.with(|reads| reads.set(reads.get() + 1));
}

/// Does what many cases share, and counts none of its reads.
pub fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    let before = reads_checked();
    let done = work();
    READS.with(|reads| reads.set(before));
    done
}

/// How long a sync may take.
const SYNC_NS_MAX: u64 = 120_000_000_000;

/// One mount.
pub struct Guest {
    /// The mount that the guest reads through.
    pub root: Root<Parts<SimStorage>, Option<Cache>>,
    /// The bytes that it must read.
    pub sample: &'static Sample,
    other: &'static Sample,
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
    /// Something is broken that nothing excuses, such as wrong bytes (L1).
    Wrong(Broken),
    /// An error, which may be right or break L2.
    Failed(String),
}

impl Stop {
    /// What happened.
    pub fn text(&self) -> &str {
        match self {
            Self::Wrong(Broken { what: text, .. }) | Self::Failed(text) => text,
        }
    }
}

impl Guest {
    /// Boots a guest that mounts sample `number`.
    pub fn boot(machine: &mut Machine, number: usize) -> Result<Self, Stop> {
        Self::boot_as(machine, number, true)
    }

    /// As [`Guest::boot`], without a look at what is resident.
    pub fn boot_blind(machine: &mut Machine, number: usize) -> Result<Self, Stop> {
        Self::boot_as(machine, number, false)
    }

    fn boot_as(machine: &mut Machine, number: usize, looks: bool) -> Result<Self, Stop> {
        let failed = |what: String| Stop::Failed(format!("the mount failed: {what}"));
        let mut storage = Parts::new(machine.world.attach());
        let image = Image::read(&storage, machine.images[number]);
        let image = image.map_err(|error| failed(format!("{error:#}")))?;
        let names: [(u16, SourceName<&str>); 0] = [];
        let parts =
            image.bind(&mut storage, &names).map_err(|error| failed(format!("{error:#}")))?;
        let (mut cache, refused) = match machine.open(&mut storage) {
            Ok(cache) => (Some(cache), None),
            Err(refused) => (None, Some(refused)),
        };
        let sample = &machine.samples[number];
        if let Some(cache) = cache.as_mut().filter(|_| looks) {
            learn(cache, &mut storage, sample);
        }
        let opened = cache.as_ref().map(|cache| residents_in(cache, sample)).unwrap_or_default();
        let root = Root::new(storage, cache, &image, &parts);
        let root = root.map_err(|error| failed(format!("{error:#}")))?;
        let other = &machine.samples[1 - number];
        Ok(Self { root, sample, other, number, opened, refused })
    }

    /// Does one thing. A sync says whether it succeeded; all else is true.
    pub fn run(&self, machine: &Machine, op: &Op) -> Result<bool, Stop> {
        match *op {
            Op::Read { file, at, len } => self.read(file, at, len)?,
            Op::Sync => return Ok(self.sync()),
            Op::Leave => return Ok(self.leave()),
            Op::Prefetch => self.root.prefetch(),
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
        let failed = |error: rootlet::Error| Stop::Failed(told(format!("{error:#}")));
        let mut out = vec![0xcc; len];
        let opened = self.root.open(of.path.as_bytes()).map_err(failed)?;
        let got = opened.read_at(at, &mut out).map_err(failed)?;
        let end = of.bytes.len().min(at as usize + len);
        let right = of.bytes.get(at as usize..end).unwrap_or_default();
        let other = self.other.files[file].bytes.get(at as usize..).unwrap_or_default();
        count_read();
        let told = format!("read of {len} at {at} of {}", of.path);
        bytes_are_right(&out[..got], right, &[other], &told).map_err(Stop::Wrong)
    }

    /// Reads every file, whole or a part at each edge of a window.
    pub fn read_all(&self) -> Result<(), Stop> {
        if !self.sample.is_large() {
            return self.read_edges();
        }
        let files = self.sample.files.iter().enumerate();
        files.into_iter().try_for_each(|(file, of)| match file % 2 {
            0 => self.read(file, 0, of.bytes.len()),
            _ => self.stream(file),
        })
    }

    /// Reads a file from front to back, as it is lent, and compares it.
    pub fn stream(&self, file: usize) -> Result<(), Stop> {
        let of = &self.sample.files[file];
        let failed =
            |error: rootlet::Error| Stop::Failed(format!("stream of {}: {error:#}", of.path));
        let mut stream = self.root.stream(of.path.as_bytes()).map_err(failed)?;
        let mut out = Vec::new();
        loop {
            let lent = stream.lend().map_err(failed)?;
            out.extend_from_slice(lent);
            match lent.len() {
                0 => break,
                len => stream.advance(len),
            }
        }
        count_read();
        let told = format!("stream of {}", of.path);
        bytes_are_right(&out, &of.bytes, &[&self.other.files[file].bytes], &told)
            .map_err(Stop::Wrong)
    }

    fn read_edges(&self) -> Result<(), Stop> {
        for (file, of) in self.sample.files.iter().enumerate() {
            let ends = (0..of.bytes.len() as u64).step_by(WINDOW as usize);
            ends.into_iter().try_for_each(|at| self.read(file, at.saturating_sub(4096), 12_288))?;
        }
        Ok(())
    }

    /// As [`Guest::sync`], and leaves a hint for the next mount.
    pub fn leave(&self) -> bool {
        self.root.with_layer(|cache, storage| {
            let deadline_ns = storage.now_ns() + SYNC_NS_MAX;
            cache.as_mut().is_some_and(|cache| cache.leave(storage, deadline_ns))
        })
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

    /// Counters of its reads.
    pub fn stats(&self) -> Stats {
        self.root.stats()
    }

    /// Counters of its region.
    pub fn cache_stats(&self) -> CacheStats {
        self.cache(Cache::stats).unwrap_or_default()
    }

    /// How far its region is used.
    pub fn mode(&self) -> Option<Mode> {
        self.cache(Cache::mode)
    }

    /// What is in the region and no longer on its way.
    pub fn residents(&self) -> Residents {
        self.cache(|cache| residents_in(cache, self.sample)).unwrap_or_default()
    }
}

/// A region with a hint learns where blocks are when they are asked for.
fn learn(cache: &mut Cache, storage: &mut Parts<SimStorage>, sample: &Sample) {
    if cache.superblock().geometry.hint_pages() == 0 {
        return;
    }
    let blobs: Vec<_> = cache
        .blobs()
        .filter(|(_, entry)| entry.identity.0[8..24] == sample.uuid)
        .filter_map(|(index, entry)| Some((index, entry.identity.slot()?.get())))
        .collect();
    for (index, slot) in blobs {
        let blocks = sample.blocks.get(usize::from(slot)).copied().unwrap_or(0);
        cache.prepare(storage, index, 0..blocks, rootlet::cache::Why::Read);
    }
}

fn residents_in(cache: &Cache, sample: &Sample) -> Residents {
    let mut all = Residents::new();
    for (index, entry) in cache.blobs().filter(|(_, entry)| entry.identity.0[8..24] == sample.uuid)
    {
        let Some(slot) = entry.identity.slot() else { continue };
        let slot = slot.get();
        let mut number = 0;
        // A mutated identity may name any slot.
        while number < sample.blocks.get(usize::from(slot)).copied().unwrap_or(0) {
            let (found, run) = cache.find_block(index, number);
            if let BlockPlace::Resident { slot: place, block } = found {
                for step in 0..run {
                    all.insert((slot, number + step as u64), (place.get(), block + step));
                }
            }
            number += run as u64;
        }
    }
    all
}
