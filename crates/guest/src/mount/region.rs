//! The region of a mount: found as the configuration names it, and opened.
//!
//! Always: a region that cannot be used is a notice that says how to make it usable, and the mount
//! continues without it.

use super::{Bound, Memory, Mounted, PartitionError, small};
use crate::config::{self, CacheName, Config, Part, SourceName, SourceWord};
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;
use rootlet::cache::{Cache, CacheOptions, Mode, Refused, Remedy};
use rootlet::storage::{DeviceId, Discover, DiscoverError};
use rootlet_crypt::{KEY_BYTES_MAX, Key};
use rootlet_trust::Subject;

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
    let Some(name) = &config.cache else {
        notice(format_args!("region  none given (cache=SERIAL)"));
        return None;
    };
    let place = match find(storage, name, mounted) {
        Ok(place) => place,
        Err(why) => {
            notice(format_args!("region  not used: {why}"));
            return None;
        }
    };
    let mut options = place.options(entropy);
    options.format = config.cache_format;
    options.slot_size = config.slot_size;
    // What is written with a key waits in buffers of its own.
    options.pool_bytes = memory.pool >> u32::from(config.cache_key.is_some());
    options.pages_bytes = memory.pages;
    options.tables_bytes = memory.tables;
    let opened = match &config.cache_key {
        None => Cache::open(storage, &options),
        Some(source) => match read_key(storage, source) {
            Ok(key) => rootlet_crypt::open(storage, &options, &key)
                .and_then(|options| Cache::open(storage, &options)),
            Err(why) => {
                notice(format_args!("region  not used: cache-key={}: {why}", SourceWord(source)));
                return None;
            }
        },
    };
    match opened {
        Ok(cache) => {
            describe(&cache, &name.serial, notice);
            Some(cache)
        }
        Err(refused) => {
            notice(format_args!("region  not used: {refused:#}{}", next(&refused)));
            if let Some(remedy) = refused.remedy() {
                notice(format_args!("region  {}", Advice { remedy, config, part: &name.part }));
            }
            None
        }
    }
}

/// Returns the key that a source holds, or why it holds none.
fn read_key<S: Discover>(storage: &mut S, source: &SourceName) -> Result<Key, String> {
    let bytes = small::read(storage, source, KEY_BYTES_MAX);
    let bytes = bytes.map_err(|unread| format!("{unread}"))?;
    Key::new(&bytes).map_err(|error| format!("{error}"))
}

/// Tells how full the region on the disk `serial` is, and why nothing is written to it if so.
fn describe(cache: &Cache, serial: &str, notice: &mut dyn FnMut(fmt::Arguments<'_>)) {
    let used = cache.used_slots();
    let geometry = cache.superblock().geometry;
    let kib = geometry.slot_size().bytes() >> 10;
    notice(format_args!(
        "region  disk {serial}: {used} of {} slots of {kib} KiB in use",
        geometry.slots()
    ));
    if let Mode::ReadOnly(why) = cache.mode() {
        notice(format_args!("region  read-only: {why}"));
    }
}

/// Returns what to give, in the words of a command line, to use a region that is refused.
fn next(refused: &Refused) -> &'static str {
    match refused {
        Refused::Encrypted => " (cache-key=)",
        Refused::NotEncrypted => " (leave cache-key= out to use it)",
        _ => "",
    }
}

/// A part of a disk.
struct Place {
    device: DeviceId,
    /// The first byte.
    start: u64,
    /// The length in bytes; `None` for all that is left of the disk.
    bytes: Option<u64>,
}

impl Place {
    /// Returns the options of a region there.
    fn options(&self, entropy: [u8; 16]) -> CacheOptions {
        let mut options = CacheOptions::new(self.device, entropy);
        (options.start, options.bytes) = (self.start, self.bytes);
        options
    }
}

/// Why a region is not used, before its first byte is looked at.
enum Unused<'c> {
    /// There is no such disk, or more than one.
    NoDisk(&'c str, DiscoverError),
    /// The disk cannot be used.
    Disk(DiscoverError),
    /// The disk has no such partition.
    Part(&'c CacheName, PartitionError),
    /// The region would overwrite the source of this slot.
    Source(&'c str, Subject),
    /// The region would overwrite the image of objects.
    Objects(&'c str),
}

impl fmt::Display for Unused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDisk(serial, error) => write!(f, "disk {serial}: {error:#}"),
            Self::Disk(error) => write!(f, "{error:#}"),
            Self::Part(name, error) => write!(f, "{name}: {error:#}"),
            // As for any other slot, 0 is the image.
            Self::Source(serial, of) if of.layer() == 0 => {
                write!(f, "disk {serial} is the source of slot {}", of.slot())
            }
            Self::Source(serial, of) => write!(f, "disk {serial} is the source of {of}"),
            Self::Objects(serial) => write!(f, "disk {serial} has the objects"),
        }
    }
}

/// Returns the place of the region `name`, which is not that of a source of `mounted`.
fn find<'c, S: Discover>(
    storage: &mut S,
    name: &'c CacheName,
    mounted: &Mounted,
) -> Result<Place, Unused<'c>> {
    let CacheName { serial, part } = name;
    let device = storage.disk(serial).map_err(|error| match error {
        DiscoverError::NotFound | DiscoverError::Ambiguous(_) => Unused::NoDisk(serial, error),
        error => Unused::Disk(error),
    })?;
    // Before its first byte is read.
    storage.set_expendable(device);
    let found = part.find(storage, device);
    let (start, bytes) = found.map_err(|error| Unused::Part(name, error))?;
    let place = Place { device, start, bytes };
    let options = place.options([0; 16]);
    for (number, bound) in mounted.numbered() {
        if let Some(slot) = bound.image.overlapped_slot(storage, &bound.sources, &options) {
            return Err(Unused::Source(serial, Subject::of_layer(number, slot)));
        }
    }
    let mut objects = mounted.objects.iter();
    let is_over = |Bound { image, sources, .. }: &Bound| {
        image.overlapped_slot(storage, sources, &options).is_some()
    };
    if objects.any(is_over) {
        return Err(Unused::Objects(serial));
    }
    Ok(place)
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
        // Without it the region would be one that anybody reads.
        let key = if self.config.cache_key.is_some() { " --cache-key FILE" } else { "" };
        match &self.config.cache_file {
            Some(file) => write!(f, "{purpose}: `rootlet region {file} format{force}{key}`"),
            None => {
                let place = config::quote(&format!("FILE{}", self.part));
                write!(
                    f,
                    "{purpose}: `--guest-option cache-format={policy}`, or \
                     `rootlet region {place} format{force}{key}`"
                )
            }
        }
    }
}
