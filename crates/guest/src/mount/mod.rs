//! Mounting as a [`Config`] says: image, blobs and region found by their names.
//!
//! Always: an image or blob that cannot be had is an error; a region that cannot be had is a
//! notice, and the mount continues without it.

mod blame;
mod memory;
mod partition;
mod region;
mod trees;
mod verity;

pub use blame::{Blamed, Ending};
pub use memory::{Memory, TooLarge};
pub use partition::PartitionError;
pub use region::{SYNC_TIME, open_region};
pub use trees::{keep_trees, root_verified};
pub use verity::open_verified;

use crate::command::GuestRoot;
use crate::config::{CacheName, Config, SourceName, SourceWord};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use rootlet::Error;
use rootlet::blob::{BindError, Image, Sources};
use rootlet::cache::Cache;
use rootlet::read::Root;
use rootlet::storage::{DeviceId, Discover, Retry, Storage, Unfit, serial};
use rootlet_base::num::OrBug;
use rootlet_trust::SealError;
use rootlet_verity::PinError;

/// Why nothing was mounted.
#[derive(Clone, Debug)]
pub enum MountError {
    /// The configuration names no image.
    NoImage {
        /// The serials of the disks that there are.
        disks: String,
    },
    /// The image or a blob cannot be used.
    Image(Error),
    /// The configuration gives the version of a source that is not there.
    Version(BindError),
    /// The image or a blob is not what the configuration says, or nobody can tell.
    Verity(PinError),
    /// The seal is not the one that is pinned, or is wrong.
    Seal(SealError),
    /// The disk of the seal cannot be read from.
    SealDisk(Unfit),
    /// The configuration pins digests, and this storage verifies none.
    Unverified,
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
            Self::Image(error) => write!(f, "{error:#}"),
            Self::Version(BindError::Source { name, cause, .. }) => {
                write!(f, "a version is given for {name}: {cause:#}")
            }
            Self::Version(error) => write!(f, "{error:#}"),
            Self::Verity(error) => error.fmt(f),
            Self::Seal(error) => error.fmt(f),
            Self::SealDisk(unfit) => write!(f, "the disk of the seal cannot be read from: {unfit}"),
            Self::Unverified => f.write_str(
                "verity=, seal= or objects= is given, and this program verifies no digests",
            ),
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
    /// The slots whose sources are not there, and why.
    pub missing: Vec<(u16, BindError)>,
}

impl Mounted {
    /// Writes to `notice` a line for the image and for each of its slots, with their names in
    /// `config`.
    pub fn describe(&self, config: &Config, notice: &mut dyn FnMut(fmt::Arguments<'_>)) {
        let Self { image, sources, missing } = self;
        let (block, slots) = (image.superblock().block_size(), image.devices().len());
        if let Some(name) = &config.image {
            let bytes = image.bytes();
            notice(format_args!(
                "image   {}: {bytes} bytes, blocks of {block}, {slots} device slots",
                SourceWord(name)
            ));
        }
        for (slot, error) in missing {
            notice(format_args!("slot {slot:2} only in the region, if there: {error:#}"));
        }
        for (slot, source) in (0..=u16::MAX).zip(sources).skip(1) {
            if missing.iter().any(|(of, _)| *of == slot) {
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

    /// Mounts the image over `storage` and `region`, in `memory`. A slot whose source is not there
    /// is read from the region, as far as that holds it.
    ///
    /// # Errors
    /// When the root cannot be read, decoding needs more memory than there is, or a source is not
    /// there and the region holds nothing of its blob.
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
        self.root_over(storage, region, sources, memory)
    }

    /// Mounts the image over these sources.
    fn root_over<S: Storage>(
        &self,
        storage: S,
        region: Option<Cache>,
        sources: &Sources,
        memory: &Memory,
    ) -> Result<GuestRoot<S>, Error> {
        Ok(Root::with_budget(storage, region, &self.image, sources, &memory.mount)?)
    }

    /// Returns the sources, in which those that are not there have the version that the region
    /// holds: the one that the configuration gives, or any.
    fn held(&self, region: Option<&Cache>) -> Result<Sources, Error> {
        let mut sources = self.sources.clone();
        let missing = match region {
            None => self.missing.first(),
            Some(region) => match self.image.hold(&mut sources, region) {
                Ok(()) => return Ok(sources),
                Err(slot) => self.missing.iter().find(|(missing, _)| *missing == slot),
            },
        };
        let (_, error) = missing.or_bug()?;
        Err(Error::Bind(error.clone()))
    }
}

/// For how long a failed read of a source is repeated, unless the configuration says otherwise.
const SOURCE_RETRY_S: u32 = 5;

/// Returns `storage` such that failed reads and openings of sources are repeated for as long as
/// `config` says.
pub fn retrying<S: Discover>(mut storage: S, config: &Config) -> Retry<S> {
    // Without a region that is found: `open_region` gives the notice.
    let region = config.cache.as_ref().and_then(|CacheName { serial, part }| {
        let device = storage.disk(serial).ok()?;
        let (start, bytes) = part.find(&mut storage, device).ok()?;
        let end = bytes.map_or(Some(u64::MAX), |bytes| start.checked_add(bytes));
        Some((device, start..end?))
    });
    Retry::new(storage, config.source_retry_s.unwrap_or(SOURCE_RETRY_S), region)
}

/// A device that is to be pinned before it is used.
#[derive(Clone, Copy, Debug)]
struct Pinned<'m> {
    /// The device slot; 0 is the image.
    slot: u16,
    /// The device.
    device: DeviceId,
    /// The length of the slot in bytes, if the image says it.
    bytes: Option<u64>,
    /// The name that the configuration gives the source.
    name: Option<&'m SourceName>,
    /// The tag by which the source was found if it has no such name.
    tag: &'m str,
}

/// Finds the image and its blobs, and checks their lengths and heads.
///
/// # Errors
/// [`MountError`]: the image cannot be used, or a blob is not there and the configuration names no
/// region that could hold it; the configuration pins digests.
pub fn open<S: Discover>(storage: &mut S, config: &Config) -> Result<Mounted, MountError> {
    if config.seal.is_some() || !config.verity.is_empty() || config.objects.is_some() {
        return Err(MountError::Unverified);
    }
    open_with(storage, config, None)
}

/// Pins a device, which no byte was read of, and returns it, or what stands for a source that is not
/// there, with the digest that names its content.
type PinFn<'f, S> =
    &'f mut dyn FnMut(&mut S, Pinned<'_>) -> Result<(DeviceId, [u8; 32]), MountError>;

/// Finds the image and its blobs, and has each device pinned, the image's before its first byte is
/// read. A slot that lies in the image's device is pinned with that.
fn open_with<S: Discover>(
    storage: &mut S,
    config: &Config,
    mut pin: Option<PinFn<'_, S>>,
) -> Result<Mounted, MountError> {
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
    let content = match &mut pin {
        Some(pin) => {
            let image = Pinned { slot: 0, device, bytes: None, name: Some(name), tag: "" };
            Some(pin(storage, image)?)
        }
        None => None,
    };
    // An image is large: it is moved once, out of the result and onto the heap.
    let image = match Image::read(storage, device) {
        Ok(image) => Box::new(image),
        Err(error) => return Err(error.into()),
    };
    let (mut image, mut missing) = (image, Vec::new());
    image.set_domain(config.domain.clone());
    let given = config.blobs.iter().map(|(slot, name)| (*slot, name.as_deref()));
    // A region that cannot be had is a notice later.
    let region = config.cache.as_ref().and_then(|cache| storage.disk(&cache.serial).ok());
    let mut note = |slot, error| missing.push((slot, error));
    let mut sources = image.bind_present(storage, given, region, &mut note)?;
    // What is packed in the blobs of Nydus is not read: names and attributes need none.
    if image.superblock().packed_by_nydus().is_some() {
        missing.clear();
    }
    // What a region holds of a slot is that of the digest, whatever image or source it is of.
    let mut contents = Vec::new();
    for (slot, part) in (0..=u16::MAX).zip(&sources) {
        let (Some(pin), Some(content)) = (&mut pin, content) else { break };
        if part.device == device {
            contents.push((slot, device, content.1));
            continue;
        }
        let name = config.blobs.iter().find(|(of, _)| *of == slot).map(|(_, name)| name);
        let entry = image.devices().slot(slot);
        // A tag that is not text found no source.
        let tag = entry.map(|entry| core::str::from_utf8(entry.tag()));
        let tag = tag.and_then(Result::ok).map_or("", |tag| tag);
        let bytes = Some(part.bytes);
        let pinned = Pinned { slot, device: part.device, bytes, name, tag };
        let (device, content) = pin(storage, pinned)?;
        contents.push((slot, device, content));
    }
    for (slot, device, content) in contents {
        sources.set_content(slot, device, content).then_some(()).or_bug().map_err(Error::Bug)?;
    }
    for (slot, _) in missing.iter().filter(|_| pin.is_none()) {
        let is_set = sources.set_absent_version(*slot, given_version(config, &image, *slot));
        is_set.then_some(()).or_bug().map_err(Error::Bug)?;
    }
    if let (None, Some((_, error))) = (&config.cache, missing.first()) {
        return Err(error.clone().into());
    }
    // The version of a source that is not there chooses between the blobs that the region holds.
    unused.retain(|(source, _)| {
        !missing.iter().any(|(slot, _)| is_source(config, &image, *slot, source))
    });
    match unused.into_iter().next() {
        None => Ok(Mounted { image, sources, missing }),
        Some((_, error)) => Err(MountError::Version(error)),
    }
}

/// Returns the version that the configuration gives of the source of a slot; 0 for none.
fn given_version(config: &Config, image: &Image, slot: u16) -> u64 {
    let of_slot = config.versions.iter().find(|(name, _)| is_source(config, image, slot, name));
    of_slot.map_or(0, |(_, version)| version.number())
}

/// Returns whether `name` is that of the source of a slot: the configured one, or the slot's tag.
fn is_source(config: &Config, image: &Image, slot: u16, name: &SourceName) -> bool {
    let given = config.blobs.iter().find(|(of, _)| *of == slot).map(|(_, name)| name);
    let tag = image.devices().slot(slot).and_then(|slot| core::str::from_utf8(slot.tag()).ok());
    match (given, name, tag) {
        (Some(given), name, _) => name == given,
        (None, SourceName::Disk(name), Some(tag)) => serial(name) == serial(tag),
        (None, SourceName::File { name, .. }, Some(tag)) => name == tag,
        (None, _, _) => false,
    }
}
