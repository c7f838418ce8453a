//! From a machine to a mounted root: the settings, the devices, the image, the region.
//!
//! Always: each step ends the run if it fails, and says why; a region that cannot be had is a line
//! on standard error.

use core::fmt;

use rootlet::cache::{Cache, CacheStats};
use rootlet::storage::{Parts, Storage as _};
use rootlet_guest::config::{self, Config};
use rootlet_guest::timeline::{Marks, Stage};
use rootlet_guest::{self as guest, Memory, Mounted};
use rootlet_verity::Verified;

use super::end::{fail, tell};
use super::{Root, Storage};
use crate::{Machine, console, entropy, heap, sha256};

/// What buffers, tables and the least caches of a mount take together, with some to spare.
const HEAP_BYTES_MIN: usize = 1 << 20;

/// Reads the settings of the command line.
pub(crate) fn configured(machine: &Machine) -> Config {
    // Before the first allocation: there may be room for none.
    let heap_bytes = heap::usage().total;
    if heap_bytes < HEAP_BYTES_MIN {
        let (have, need) = (heap_bytes >> 10, HEAP_BYTES_MIN >> 10);
        fail(&format_args!("memory: {have} KiB beside the firmware, mounting needs {need}"), None);
    }
    let config = match Config::parse(machine.cmdline) {
        Ok(config) => config,
        Err(error) => fail(&error, None),
    };
    for word in config::passed_over(machine.cmdline) {
        tell(&format_args!("command line: {word:?} is no setting, and passed over"));
    }
    config
}

/// An image whose blobs are bound, before it is mounted.
pub(crate) struct Bound {
    pub(crate) storage: Storage,
    pub(crate) mounted: Mounted,
    pub(crate) memory: Memory,
    pub(crate) marks: Marks,
}

/// Starts the devices, and binds the image and its blobs.
pub(crate) fn bound(machine: &mut Machine, config: &Config) -> Bound {
    let mut storage = machine.storage(|problem| tell(problem));
    let mut marks = Marks::default();
    marks.reach(Stage::Devices, storage.now_ns());
    defmt::debug!("devices up");
    console::progress(format_args!("stage=devices"));
    if let Some(seconds) = config.deadline_s {
        storage.set_timeout_ns(u64::from(seconds) * 1_000_000_000);
    }
    let memory = match Memory::of(heap::usage().total, config) {
        Ok(memory) => memory,
        Err(error) => fail(&error, None),
    };
    let storage = Parts::new(guest::retrying(storage, config));
    let mut storage = Verified::new(storage, sha256::hasher(), memory.nodes);
    storage.set_readers(config.cpus.map_or(1, |cpus| cpus));
    let mounted = match guest::open_verified(&mut storage, config) {
        Ok(mounted) => mounted,
        Err(error) => fail(&error, None),
    };
    marks.reach(Stage::Bound, storage.now_ns());
    defmt::debug!("image and blobs bound");
    console::progress(format_args!("stage=bound"));
    Bound { storage, mounted, memory, marks }
}

/// A mounted root, and what is known of it.
pub(crate) struct Ready {
    pub(crate) root: Root,
    pub(crate) mounted: Mounted,
    pub(crate) memory: Memory,
    pub(crate) marks: Marks,
    /// The counters of the region right after it was opened.
    pub(crate) before: CacheStats,
}

/// Opens the region, and mounts.
pub(crate) fn ready(bound: Bound, config: &Config) -> Ready {
    let Bound { mut storage, mounted, memory, mut marks } = bound;
    let notice = &mut |line: fmt::Arguments<'_>| tell(&line);
    mounted.describe(config, notice);
    let region =
        guest::open_region(&mut storage, config, &mounted, entropy::bytes(), &memory, notice);
    marks.reach(Stage::Region, storage.now_ns());
    let before = region.as_ref().map_or_else(CacheStats::default, Cache::stats);
    let root = match guest::root_verified(&mounted, storage, region, &memory, notice) {
        Ok(root) => root,
        Err(error) => fail(&error, None),
    };
    // Before a seal: it keeps a list.
    root.prefetch();
    Ready { root, mounted, memory, marks, before }
}
