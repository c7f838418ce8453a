//! Mounting as a [`Config`] says: image, blobs and region found by their names.
//!
//! Always: an image or blob that cannot be had is an error; a region that cannot be had is a
//! notice, and the mount goes on without it.

use crate::GuestRoot;
use crate::config::{self, CacheName, Config, Part, SourceName, SourceWord};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use rootlet::Error;
use rootlet::blob::{BindError, Image, Sources};
use rootlet::cache::{Cache, CacheOptions, Mode, Remedy};
use rootlet::read::{Budget, Root};
use rootlet::storage::{DeviceId, Discover, DiscoverError, Retry, Storage, serial};

/// How much memory the parts of a mount may take, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Ranges on their way to the region.
    pub pool: usize,
    /// Descriptor pages of the region.
    pub pages: usize,
    /// Tables of the region.
    pub tables: usize,
    /// The xattrs of a row of `manifest`, as text.
    pub row: usize,
    /// Metadata, decoders and decoded bytes.
    pub mount: Budget,
}

impl Memory {
    /// More than a row can take: 255 shared xattrs of 64 KiB in digits, and a body of 256 KiB that
    /// is all names.
    pub const ROW_MAX: usize = 64 << 20;

    /// A division of `heap` bytes, with what `config` says of it.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn of(heap: usize, config: &Config) -> Result<Self, TooLarge> {
        let mut memory = Self::of_heap(heap);
        if let Some(asked) = config.ram_cache_bytes {
            let most = heap >> 2;
            if asked > most {
                return Err(TooLarge { asked, most });
            }
            memory.mount.block_bytes = asked;
        }
        Ok(memory)
    }

    /// A division of `heap` bytes. At least half of them are free for an image without Zstandard
    /// or MicroLZMA.
    pub fn of_heap(heap: usize) -> Self {
        Self {
            pool: (heap >> 3).clamp(512 << 10, 4 << 20),
            pages: (heap >> 4).clamp(64 << 10, 2 << 20),
            tables: heap >> 3,
            row: (heap >> 6).clamp(64 << 10, Self::ROW_MAX),
            mount: Budget {
                metadata_bytes: (heap >> 6).clamp(192 << 10, 8 << 20),
                decoded_bytes: (heap >> 5).clamp(128 << 10, 8 << 20),
                decoder_bytes: (heap >> 3).saturating_mul(3),
                block_bytes: heap >> 4,
                stream_bytes: (heap >> 3).clamp(256 << 10, 2 << 20),
            },
        }
    }
}

/// More memory is asked for blocks in memory than a quarter of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Bytes that were asked for.
    pub asked: usize,
    /// Bytes that there may be.
    pub most: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, most } = self;
        write!(f, "ram-cache={asked}: this machine has memory for at most {most} bytes of it")
    }
}

impl core::error::Error for TooLarge {}

/// Why nothing was mounted.
#[derive(Clone, Debug)]
pub enum MountError {
    /// The configuration names no image; the disks that there are.
    NoImage {
        /// Their serials.
        disks: String,
    },
    /// The image or a blob cannot be used.
    Image(Error),
    /// A version is said of a source that is not there, and so of nothing.
    Version(BindError),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoImage { disks } if disks.is_empty() => {
                f.write_str("no image given (image=SERIAL), and the machine has no disk")
            }
            Self::NoImage { disks } => {
                write!(f, "no image given (image=SERIAL); the disks are {disks}")
            }
            Self::Image(error) => error.fmt(f),
            Self::Version(BindError::Source { name, cause, .. }) => {
                write!(f, "a version is said of {name}: {cause}")
            }
            Self::Version(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for MountError {}

impl From<Error> for MountError {
    #[cold]
    fn from(error: Error) -> Self {
        Self::Image(error)
    }
}

impl From<BindError> for MountError {
    #[cold]
    fn from(error: BindError) -> Self {
        Self::Image(error.into())
    }
}

/// An image whose slots are bound.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// The image.
    pub image: Box<Image>,
    /// The sources of its slots.
    pub sources: Sources,
    /// The slots whose sources are not there, and what was looked for.
    pub missing: Vec<(u16, BindError)>,
}

impl Mounted {
    /// A line for the image and for each of its slots, under the names that `config` has for them.
    pub fn describe(&self, config: &Config, notice: &mut dyn FnMut(fmt::Arguments<'_>)) {
        let Self { image, sources, missing } = self;
        let (block, slots) = (image.superblock.block_size, image.devices.len());
        if let Some(name) = &config.image {
            let bytes = image.bytes;
            notice(format_args!(
                "image   {}: {bytes} bytes, blocks of {block}, {slots} device slots",
                SourceWord(name)
            ));
        }
        for (slot, error) in missing {
            notice(format_args!("slot {slot:2} only in the region, if there: {error}"));
        }
        for (slot, source) in (0..=u16::MAX).zip(sources).skip(1) {
            if source.device == DeviceId::NONE {
                continue;
            }
            let bytes = source.bytes;
            match config.blobs.iter().find(|(of, _)| *of == slot) {
                Some((_, name)) => {
                    notice(format_args!("slot {slot:2} {}: {bytes} bytes", SourceWord(name)))
                }
                None if source.base > 0 => notice(format_args!(
                    "slot {slot:2} in the image, from byte {}: {bytes} bytes",
                    source.base
                )),
                None => notice(format_args!("slot {slot:2} found by its tag: {bytes} bytes")),
            }
        }
    }

    /// Mounts the image over `storage` and `region`, with so much memory.
    /// A slot whose source is not there is read from the region, which must hold all of it.
    ///
    /// # Errors
    /// When the root cannot be read, decoding needs more memory than there is, or a source is not
    /// there and the region does not hold its blob.
    pub fn root<S: Storage>(
        &self,
        storage: S,
        region: Option<Cache>,
        memory: &Memory,
    ) -> Result<GuestRoot<S>, Error> {
        let held;
        let sources = if self.missing.is_empty() {
            &self.sources
        } else {
            held = self.held(region.as_ref())?;
            &held
        };
        Ok(Root::with_budget(storage, region, &self.image, sources, &memory.mount)?)
    }

    /// The sources, where those that are not there have the versions that the region holds: the one
    /// that was said, or any.
    fn held(&self, region: Option<&Cache>) -> Result<Sources, Error> {
        let mut sources = self.sources.clone();
        let missing = match region {
            None => self.missing.first(),
            Some(region) => match self.image.hold(&mut sources, region) {
                Ok(()) => None,
                Err(slot) => self.missing.iter().find(|(missing, _)| *missing == slot),
            },
        };
        missing.map_or(Ok(sources), |(_, error)| Err(Error::Bind(error.clone())))
    }
}

/// How long a read that its source fails is tried again, unless the configuration says otherwise.
const SOURCE_RETRY_S: u32 = 5;

/// Wraps a storage such that reads and openings of sources are tried for as long as `config` says.
pub fn retrying<S: Discover>(mut storage: S, config: &Config) -> Retry<S> {
    // A region that cannot be found is not used, which is said where it is opened.
    let region = config.cache.as_ref().and_then(|CacheName { serial, part }| {
        let device = storage.disk(serial).ok()?;
        let (start, bytes) = part.find(&mut storage, device).ok()?;
        let end = bytes.map_or(Some(u64::MAX), |bytes| start.checked_add(bytes));
        Some((device, start..end?))
    });
    Retry::new(storage, config.source_retry_s.unwrap_or(SOURCE_RETRY_S), region)
}

/// Finds the image and its blobs, and checks what they say of themselves.
///
/// # Errors
/// [`MountError`]: the image cannot be used, or a blob is not there and there is no region that
/// could hold it.
pub fn open<S: Discover>(storage: &mut S, config: &Config) -> Result<Mounted, MountError> {
    let Some(name) = &config.image else {
        let mut disks = String::new();
        storage.disks(&mut |serial, _| {
            disks.push_str(if disks.is_empty() { "" } else { ", " });
            disks.push_str(serial);
        });
        return Err(MountError::NoImage { disks });
    };
    let mut unused = Vec::new();
    for (source, version) in &config.versions {
        match source.find(storage) {
            Ok(device) => storage.set_version(device, *version),
            Err(error) => unused.push((source, error)),
        }
    }
    let device = name.find(storage)?;
    // It is large: moved once, out of its result and onto the heap.
    let image = match Image::read(storage, device) {
        Ok(image) => Box::new(image),
        Err(error) => return Err(error.into()),
    };
    let mut mounted = Mounted { image, sources: Sources::new(), missing: Vec::new() };
    let Mounted { image, sources, missing } = &mut mounted;
    image.domain = config.domain.clone();
    let given = config.blobs.iter().map(|(slot, name)| (*slot, name.as_deref()));
    // A region that cannot be had is a notice later on.
    let region = config.cache.as_ref().and_then(|cache| storage.disk(&cache.serial).ok());
    let mut note = |slot, error| missing.push((slot, error));
    *sources = image.bind_present(storage, given, region, &mut note)?;
    for (slot, _) in &*missing {
        if let Some(part) = sources.get_mut(usize::from(*slot)) {
            part.version = said(config, image, *slot);
        }
    }
    if let (None, Some((_, error))) = (&config.cache, missing.first()) {
        return Err(error.clone().into());
    }
    // What the region holds of a slot whose source is not there has the version that was said.
    unused.retain(|(source, _)| {
        !missing.iter().any(|(slot, _)| is_source(config, image, *slot, source))
    });
    match unused.into_iter().next() {
        None => Ok(mounted),
        Some((_, error)) => Err(MountError::Version(error)),
    }
}

/// The version that is said of the source of a slot, 0 if none is.
fn said(config: &Config, image: &Image, slot: u16) -> u64 {
    let of_slot = config.versions.iter().find(|(name, _)| is_source(config, image, slot, name));
    of_slot.map_or(0, |(_, version)| version.number())
}

/// Whether `name` is what is looked for as the source of a slot.
fn is_source(config: &Config, image: &Image, slot: u16, name: &SourceName) -> bool {
    let given = config.blobs.iter().find(|(of, _)| *of == slot).map(|(_, name)| name);
    let tag = image.devices.slot(slot).and_then(|slot| core::str::from_utf8(slot.tag()).ok());
    match (given, name, tag) {
        (Some(given), name, _) => name == given,
        (None, SourceName::Disk(name), Some(tag)) => serial(name) == serial(tag),
        (None, SourceName::File { name, .. }, Some(tag)) => name == tag,
        (None, _, None) => false,
    }
}

/// Opens the region that `config` names. `None`, with a notice, if there is none to use.
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
            notice(format_args!("region  not used: disk {serial}: {error}"));
            return None;
        }
        Err(error) => {
            notice(format_args!("region  not used: {error}"));
            return None;
        }
    };
    // Before its first byte is read.
    storage.set_expendable(device);
    let mut options = CacheOptions::new(device, entropy);
    (options.start, options.bytes) = match part.find(storage, device) {
        Ok(place) => place,
        Err(error) => {
            notice(format_args!("region  not used: {name}: {error}"));
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
            notice(format_args!("region  not used: {refused}"));
            if let Some(remedy) = refused.remedy() {
                notice(format_args!("region  {}", Words { remedy, config, part }));
            }
            None
        }
    }
}

/// How a region that is not used becomes one that is, in the words to be typed.
struct Words<'c> {
    remedy: Remedy,
    config: &'c Config,
    part: &'c Part,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (purpose, policy, force) = match self.remedy {
            Remedy::Overwrite => ("to overwrite it", "force", " --force"),
            Remedy::Format => ("to format it", "auto", ""),
            Remedy::Writable => return f.write_str("to format it: make its disk writable"),
        };
        match &self.config.cache_file {
            Some(file) => write!(f, "{purpose}: `region {file} format{force}`"),
            None => {
                let place = config::quote(&format!("FILE{}", self.part));
                write!(
                    f,
                    "{purpose}: `--guest-option cache-format={policy}`, or \
                     `region {place} format{force}`"
                )
            }
        }
    }
}

/// How long a run waits for the region at its end.
pub const SYNC_TIME: Duration = Duration::from_secs(30);
