//! The region of a mount: found as the configuration names it, and opened.
//!
//! Always: a region that cannot be used is a notice that says how to make it usable, and the mount
//! continues without it.

use super::{Memory, Mounted};
use crate::config::{self, CacheName, Config, Part};
use alloc::format;
use core::fmt;
use core::time::Duration;
use rootlet::cache::{Cache, CacheOptions, Mode, Remedy};
use rootlet::storage::{Discover, DiscoverError};

/// How long a run waits for the region at its end.
pub const SYNC_TIME: Duration = Duration::from_secs(30);

/// Opens the region that `config` names. Returns `None`, after a notice, if there is none to use.
pub fn open_region<S: Discover>(
    storage: &mut S,
    config: &Config,
    mounted: &Mounted,
    entropy: [u8; 16],
    memory: &Memory,
    notice: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Option<Cache> {
    let Some(name @ CacheName { serial, part }) = &config.cache else {
        notice(format_args!("region  none given (cache=SERIAL)"));
        return None;
    };
    let device = match storage.disk(serial) {
        Ok(device) => device,
        Err(error @ (DiscoverError::NotFound | DiscoverError::Ambiguous(_))) => {
            notice(format_args!("region  not used: disk {serial}: {error:#}"));
            return None;
        }
        Err(error) => {
            notice(format_args!("region  not used: {error:#}"));
            return None;
        }
    };
    // Before its first byte is read.
    storage.set_expendable(device);
    let mut options = CacheOptions::new(device, entropy);
    (options.start, options.bytes) = match part.find(storage, device) {
        Ok(place) => place,
        Err(error) => {
            notice(format_args!("region  not used: {name}: {error:#}"));
            return None;
        }
    };
    if let Some(slot) = mounted.image.overlapped_slot(storage, &mounted.sources, &options) {
        notice(format_args!("region  not used: disk {serial} is the source of slot {slot}"));
        return None;
    }
    options.format = config.cache_format;
    options.slot_size = config.slot_size;
    options.pool_bytes = memory.pool;
    options.pages_bytes = memory.pages;
    options.tables_bytes = memory.tables;
    match Cache::open(storage, &options) {
        Ok(cache) => {
            let used = cache.used_slots();
            let geometry = cache.superblock().geometry;
            let kib = geometry.slot_size.bytes() >> 10;
            notice(format_args!(
                "region  disk {serial}: {used} of {} slots of {kib} KiB in use",
                geometry.slots
            ));
            if let Mode::ReadOnly(why) = cache.mode() {
                notice(format_args!("region  read-only: {why}"));
            }
            Some(cache)
        }
        Err(refused) => {
            notice(format_args!("region  not used: {refused:#}"));
            if let Some(remedy) = refused.remedy() {
                notice(format_args!("region  {}", Advice { remedy, config, part }));
            }
            None
        }
    }
}

/// How to make a region usable, in the words to be typed.
struct Advice<'c> {
    remedy: Remedy,
    config: &'c Config,
    part: &'c Part,
}

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (purpose, policy, force) = match self.remedy {
            Remedy::Overwrite => ("to overwrite it", "force", " --force"),
            Remedy::Format => ("to format it", "auto", ""),
            Remedy::Writable => return f.write_str("to format it: make its disk writable"),
            other => return write!(f, "to format it: {other:?}"),
        };
        match &self.config.cache_file {
            Some(file) => write!(f, "{purpose}: `rootlet region {file} format{force}`"),
            None => {
                let place = config::quote(&format!("FILE{}", self.part));
                write!(
                    f,
                    "{purpose}: `--guest-option cache-format={policy}`, or \
                     `rootlet region {place} format{force}`"
                )
            }
        }
    }
}
