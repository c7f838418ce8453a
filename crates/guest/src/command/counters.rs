//! The counters of a run, as its last line gives them.
//!
//! Always: on one line; `key=value` pairs, each key once.

use super::run::GuestRoot;
use core::fmt;
use rootlet::cache::{Cache, CacheStats};
use rootlet::read::Stats;
use rootlet::storage::Storage;
use rootlet_base::units::count;

/// The counters of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Those of the read path.
    pub read: Stats,
    /// Those of the region; `None` without one.
    pub cache: Option<CacheStats>,
    /// Regular files that the command read to their end.
    pub files: u64,
}

impl Counters {
    /// Returns the counters of a root.
    pub fn of<S: Storage>(root: &GuestRoot<S>) -> Self {
        let read = root.stats();
        let cache = root.with_layer(|layer, _| layer.as_ref().map(Cache::stats));
        Self { read, cache, ..Self::default() }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats {
            reads,
            asked_bytes,
            batches,
            fetches,
            fetched_bytes,
            hits,
            hit_bytes,
            joins,
            block_hits,
            ..
        } = self.read;
        write!(
            f,
            "files={} reads={reads} asked_bytes={asked_bytes} batches={batches}",
            self.files
        )?;
        write!(
            f,
            " fetches={fetches} fetched_bytes={fetched_bytes} hits={hits} hit_bytes={hit_bytes} joins={joins} ram_hits={block_hits}"
        )?;
        write!(f, " mount_bytes={} meta_hits={}", self.read.mount_bytes, self.read.meta_hits)?;
        write!(f, " copied_bytes={}", self.read.copied_bytes)?;
        // Without a region, all its counters are 0.
        let cache = self.cache.unwrap_or_default();
        write!(f, " region={}", if self.cache.is_some() { "yes" } else { "no" })?;
        write!(f, " kept_bytes={} dropped_bytes={}", cache.kept_bytes, cache.dropped_bytes)?;
        write!(f, " written_bytes={} flushes={}", cache.written_bytes, cache.flushes)?;
        write!(
            f,
            " region_faults={} check_failures={}",
            cache.region_faults, cache.check_failures
        )?;
        let mut stray_jobs = self.read.stray_jobs;
        count(&mut stray_jobs, cache.stray_jobs);
        write!(f, " stray_jobs={stray_jobs}")?;
        let first_byte_us = self.read.first_byte_ns.wrapping_div(1000);
        write!(f, " culled_slots={} first_byte_us={first_byte_us}", cache.culled_slots)
    }
}
