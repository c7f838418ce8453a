//! Mounting as a [`Config`] says: image, blobs and region found by their names.
//!
//! Always: an image or blob that cannot be had is an error; a region that cannot be had is a
//! notice, and the mount continues without it.

mod blame;
mod error;
mod memory;
mod objects;
mod partition;
mod region;
mod small;
mod trees;
mod verity;

pub use blame::{Blamed, Ending};
pub use error::{MountError, Proof};
pub use memory::{Memory, TooLarge};
pub use partition::PartitionError;
pub use region::{SYNC_TIME, open_region};
pub use trees::{keep_trees, root_verified};
pub use verity::open_verified;

use crate::command::GuestRoot;
use crate::config::{CacheName, Config, Part, SourceName, SourceWord};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use rootlet::Error;
use rootlet::blob::{BindError, Image, SourcePart, Sources};
use rootlet::cache::Cache;
use rootlet::read::Root;
use rootlet::storage::{DeviceId, Discover, Retry, Storage, serial};
use rootlet_base::num::{OrBug, low16, low32, wide};
use rootlet_trust::Subject;

/// An image whose slots are bound.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The name that the configuration gives the image.
    pub name: SourceName,
    /// The part of its disk that the image is.
    pub part: Part,
    /// The image.
    pub image: Box<Image>,
    /// The sources of its slots.
    pub sources: Sources,
    /// The slots whose sources are not there, and why.
    pub missing: Vec<(u16, BindError)>,
}

/// What is mounted: an image, or the images of a stack, the bottom first.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// At least one.
    pub images: Vec<Bound>,
    /// Whether they are those of a stack.
    pub is_stack: bool,
    /// The image that has the objects of the others.
    pub objects: Option<Bound>,
}

impl Mounted {
    /// Returns the images with their numbers: from 1 in a stack, 0 for an image alone.
    pub fn numbered(&self) -> impl Iterator<Item = (u16, &Bound)> {
        (u16::from(self.is_stack)..).zip(&self.images)
    }

    /// Returns all sources, in the order of the slots of the mount: the numbers of the image and of
    /// its slot, and the source.
    pub fn sources(&self) -> impl Iterator<Item = (u16, u16, &SourcePart)> {
        self.numbered().flat_map(|(number, bound)| {
            (0..=u16::MAX).zip(&bound.sources).map(move |(slot, source)| (number, slot, source))
        })
    }

    /// Writes to `notice` a line for each image and for each of its slots, with their names in
    /// `config`.
    pub fn describe(&self, config: &Config, notice: &mut dyn FnMut(fmt::Arguments<'_>)) {
        for (number, bound) in self.numbered() {
            bound.describe(number, config, notice);
        }
        if let Some(Bound { name, part, image, .. }) = &self.objects {
            let (name, bytes) = (SourceWord(name), image.bytes());
            notice(format_args!("objects {name}{part}: {bytes} bytes"));
        }
    }

    /// Mounts the images over `storage` and `region`, in `memory`. A slot whose source is not there
    /// is read from the region, as far as that holds it.
    ///
    /// # Errors
    /// When a root cannot be read, decoding needs more memory than there is, or a source is not
    /// there and the region holds nothing of its blob.
    pub fn root<S: Storage>(
        &self,
        storage: S,
        region: Option<Cache>,
        memory: &Memory,
    ) -> Result<GuestRoot<S>, Error> {
        self.root_over(storage, region, None, memory)
    }

    /// Mounts as [`Mounted::root`] does, the topmost image over the sources `top_sources`.
    fn root_over<S: Storage>(
        &self,
        storage: S,
        region: Option<Cache>,
        top_sources: Option<&Sources>,
        memory: &Memory,
    ) -> Result<GuestRoot<S>, Error> {
        let (top, below) = self.images.split_last().or_bug()?;
        let mut held = Vec::with_capacity(below.len());
        for bound in below {
            held.push((&*bound.image, bound.held(region.as_ref())?));
        }
        let own;
        let sources = match top_sources {
            Some(sources) => sources,
            None => {
                own = top.held(region.as_ref())?;
                &own
            }
        };
        let mut images: Vec<(&Image, &Sources)> =
            held.iter().map(|(image, sources)| (*image, sources.as_ref())).collect();
        images.push((&top.image, sources));
        self.stack(storage, region, &images, memory)
    }

    /// Mounts some of the images as a stack, over the objects that there are.
    ///
    /// # Errors
    /// Those of [`Root::stack`].
    pub fn stack<S: Storage>(
        &self,
        storage: S,
        region: Option<Cache>,
        images: &[(&Image, &Sources)],
        memory: &Memory,
    ) -> Result<GuestRoot<S>, Error> {
        Ok(match &self.objects {
            None => Root::stack(storage, region, images, &memory.mount)?,
            Some(Bound { image, sources, .. }) => {
                let objects = (&**image, sources);
                Root::stack_over_objects(storage, region, images, objects, &memory.mount)?
            }
        })
    }
}

impl Bound {
    fn describe(&self, number: u16, config: &Config, notice: &mut dyn FnMut(fmt::Arguments<'_>)) {
        let Self { name, part, image, sources, missing } = self;
        let (block, slots) = (image.superblock().block_size(), image.devices().len());
        let (name, bytes) = (SourceWord(name), image.bytes());
        let what = format_args!("{bytes} bytes, blocks of {block}, {slots} device slots");
        match number {
            0 => notice(format_args!("image   {name}{part}: {what}")),
            _ => notice(format_args!("layer {number:<2}{name}{part}: {what}")),
        }
        for (slot, error) in missing {
            notice(format_args!("slot {slot:2} only in the region, if there: {error:#}"));
        }
        for (slot, source) in (0..=u16::MAX).zip(sources).skip(1) {
            if missing.iter().any(|(of, _)| *of == slot) {
                continue;
            }
            let bytes = source.bytes;
            match config.blob(number, slot) {
                Some(name) => {
                    let part = config.part_of(number, slot);
                    notice(format_args!("slot {slot:2} {}{part}: {bytes} bytes", SourceWord(name)))
                }
                None if source.base > 0 => notice(format_args!(
                    "slot {slot:2} in the image, from byte {}: {bytes} bytes",
                    source.base
                )),
                None => notice(format_args!("slot {slot:2} found by its tag: {bytes} bytes")),
            }
        }
    }

    /// Returns the sources, in which those that are not there have the version that the region
    /// holds: the one that the configuration gives, or any.
    fn held(&self, region: Option<&Cache>) -> Result<Cow<'_, Sources>, Error> {
        if self.missing.is_empty() {
            return Ok(Cow::Borrowed(&self.sources));
        }
        let mut sources = self.sources.clone();
        let missing = match region {
            None => self.missing.first(),
            Some(region) => match self.image.hold(&mut sources, region) {
                Ok(()) => return Ok(Cow::Owned(sources)),
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
    /// The image in its stack, and the device slot; 0 is the image itself.
    subject: Subject,
    /// The device.
    device: DeviceId,
    /// The length of the slot in bytes, if the image says it.
    bytes: Option<u64>,
    /// The name that the configuration gives the source.
    name: Option<&'m SourceName>,
    /// The part of its disk that the source is.
    part: &'m Part,
    /// The tag by which the source was found if it has no such name.
    tag: &'m str,
}

/// Finds the images and their blobs, and checks their lengths and heads.
///
/// # Errors
/// [`MountError`]: an image cannot be used, or a blob is not there and the configuration names no
/// region that could hold it; the configuration pins digests.
pub fn open<S: Discover>(storage: &mut S, config: &Config) -> Result<Mounted, MountError> {
    let is_pinned = config.seal.is_some() || !config.verity.is_empty();
    if is_pinned || !config.layer_verity.is_empty() || config.objects.is_some() {
        return Err(MountError::Unverified);
    }
    open_with(storage, config, None)
}

/// Pins devices, which no byte was read of. Returns each, or what stands for a source that is not
/// there, with the digest that names its content.
type PinFn<'f, S> =
    &'f mut dyn FnMut(&mut S, &[Pinned<'_>]) -> Result<Vec<(DeviceId, [u8; 32])>, MountError>;

/// Finds the images and their blobs, and has each device pinned, an image's before its first byte is
/// read. A slot that lies in the image's device is pinned with that.
fn open_with<S: Discover>(
    storage: &mut S,
    config: &Config,
    mut pin: Option<PinFn<'_, S>>,
) -> Result<Mounted, MountError> {
    let named = match &config.image {
        Some(name) => alloc::vec![(name, config.part_of(0, 0))],
        None => config.layers.iter().map(|(name, part)| (name, part)).collect(),
    };
    if named.is_empty() {
        let mut disks = String::new();
        storage.disks(&mut |serial, _| {
            disks.push_str(if disks.is_empty() { "" } else { ", " });
            disks.push_str(serial);
        });
        return Err(MountError::NoImage { disks });
    }
    let mut unused = Vec::new();
    for (source, version) in &config.versions {
        match source.find(storage) {
            Ok(device) => storage.set_version(device, *version),
            Err(error) => unused.push((source, error)),
        }
    }
    let is_stack = config.image.is_none();
    let mut found = Vec::new();
    for (name, part) in named {
        let number = if is_stack { low16(low32(wide(found.len()))).wrapping_add(1) } else { 0 };
        let device = name.find(storage);
        let device = device.map_err(|error| MountError::from(error).of_layer(number, name))?;
        let parts = part.open_all(storage, device);
        let parts = parts.map_err(|error| MountError::partition(name, part, error))?;
        found.extend(parts.into_iter().map(|(part, device)| (name, part, device)));
    }
    let mut images = Vec::with_capacity(found.len());
    for ((name, part, device), number) in found.into_iter().zip(u16::from(is_stack)..) {
        let asked = Asked { number, name, part, device };
        let bound = asked.bind(storage, config, pin.as_mut());
        images.push(bound.map_err(|error| error.of_layer(number, name))?);
    }
    let mounted = Mounted { images, is_stack, objects: None };
    mounted.check_blobs(config)?;
    // The version of a source that is not there chooses between the blobs that the region holds.
    let is_missing = |source: &SourceName| {
        mounted.numbered().any(|(number, bound)| {
            let mut missing = bound.missing.iter();
            missing.any(|(slot, _)| is_source(config, (number, &bound.image), *slot, source))
        })
    };
    unused.retain(|(source, _)| !is_missing(source));
    match unused.into_iter().next() {
        None => Ok(mounted),
        Some((_, error)) => Err(MountError::Version(error)),
    }
}

impl Mounted {
    /// Checks that the configuration names blobs of images that there are.
    fn check_blobs(&self, config: &Config) -> Result<(), MountError> {
        let layers = low32(wide(self.images.len()));
        let is_there = |number: u16| u32::from(number) <= layers;
        match config.layer_blobs.iter().find(|(number, _, _)| !is_there(*number)) {
            Some((layer, _, _)) => Err(MountError::NoLayer { layer: *layer, layers }),
            None => Ok(()),
        }
    }
}

/// An image that was found.
struct Asked<'c> {
    /// Its number in the stack, from 1; 0 for an image alone.
    number: u16,
    name: &'c SourceName,
    part: Part,
    device: DeviceId,
}

impl Asked<'_> {
    /// Reads the head of the image, and binds its slots.
    fn bind<S: Discover>(
        self,
        storage: &mut S,
        config: &Config,
        mut pin: Option<&mut PinFn<'_, S>>,
    ) -> Result<Bound, MountError> {
        let Self { number, name, part, device } = self;
        let content = match &mut pin {
            Some(pin) => {
                let subject = Subject::of_layer(number, 0);
                let (bytes, name, part) = (None, Some(name), &part);
                let image = Pinned { subject, device, bytes, name, part, tag: "" };
                Some(pin(storage, &[image])?.pop().or_bug().map_err(Error::Bug)?)
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
        let given = given(storage, config, number)?;
        let given = given.iter().map(|(slot, name)| (*slot, name.as_deref()));
        // A region that cannot be had is a notice later.
        let region = config.cache.as_ref().and_then(|cache| storage.disk(&cache.serial).ok());
        let mut note = |slot, error| missing.push((slot, error));
        let mut sources = image.bind_present(storage, given, region, &mut note)?;
        // What is packed in the blobs of Nydus is not read: names and attributes need none.
        if image.superblock().packed_by_nydus().is_some() {
            missing.clear();
        }
        // What a region holds of a slot is that of the digest, whatever image or source it is of.
        let (mut contents, mut asked) = (Vec::new(), Vec::new());
        for (slot, source) in (0..=u16::MAX).zip(&sources) {
            let Some(content) = content else { break };
            if source.device == device {
                contents.push((slot, device, content.1));
                continue;
            }
            let entry = image.devices().slot(slot);
            // A tag that is not text found no source.
            let tag = entry.map(|entry| core::str::from_utf8(entry.tag()));
            let tag = tag.and_then(Result::ok).map_or("", |tag| tag);
            let (subject, bytes) = (Subject::of_layer(number, slot), Some(source.bytes));
            let (name, part) = (config.blob(number, slot), config.part_of(number, slot));
            asked.push(Pinned { subject, device: source.device, bytes, name, part, tag });
        }
        if let Some(pin) = pin.as_mut().filter(|_| !asked.is_empty()) {
            let pinned = asked.iter().zip(pin(storage, &asked)?);
            let pinned = pinned.map(|(of, (device, content))| (of.subject.slot(), device, content));
            contents.extend(pinned);
        }
        for (slot, device, content) in contents {
            sources
                .set_content(slot, device, content)
                .then_some(())
                .or_bug()
                .map_err(Error::Bug)?;
        }
        for (slot, _) in missing.iter().filter(|_| pin.is_none()) {
            let version = given_version(config, (number, &image), *slot);
            let is_set = sources.set_absent_version(*slot, version);
            is_set.then_some(()).or_bug().map_err(Error::Bug)?;
        }
        if let (None, Some((_, error))) = (&config.cache, missing.first()) {
            return Err(error.clone().into());
        }
        Ok(Bound { name: name.clone(), part, image, sources, missing })
    }
}

/// Returns the sources that the configuration gives the slots of an image. A partition is found here.
fn given<S: Discover>(
    storage: &mut S,
    config: &Config,
    number: u16,
) -> Result<Vec<(u16, SourceName)>, MountError> {
    let alone = config.blobs.iter().map(|(slot, name)| (0, *slot, name));
    let stacked = config.layer_blobs.iter().map(|(layer, slot, name)| (*layer, *slot, name));
    let mut given = Vec::new();
    for (_, slot, name) in alone.chain(stacked).filter(|(layer, _, _)| *layer == number) {
        let part = config.part_of(number, slot);
        let source = match (part, name.find(storage)) {
            // Who binds it says what is wrong.
            (Part::Whole, _) | (_, Err(_)) => name.clone(),
            (part, Ok(device)) => {
                let device = part.open(storage, device);
                SourceName::Device(
                    device.map_err(|error| MountError::partition(name, part, error))?,
                )
            }
        };
        given.push((slot, source));
    }
    Ok(given)
}

/// Returns the version that the configuration gives of the source of a slot; 0 for none.
fn given_version(config: &Config, image: (u16, &Image), slot: u16) -> u64 {
    let of_slot = config.versions.iter().find(|(name, _)| is_source(config, image, slot, name));
    of_slot.map_or(0, |(_, version)| version.number())
}

/// Returns whether `name` is that of the source of a slot: the configured one, or the slot's tag.
fn is_source(
    config: &Config,
    (number, image): (u16, &Image),
    slot: u16,
    name: &SourceName,
) -> bool {
    let given = config.blob(number, slot);
    let tag = image.devices().slot(slot).and_then(|slot| core::str::from_utf8(slot.tag()).ok());
    match (given, name, tag) {
        (Some(given), name, _) => name == given,
        (None, SourceName::Disk(name), Some(tag)) => serial(name) == serial(tag),
        (None, SourceName::File { name, .. }, Some(tag)) => name == tag,
        (None, _, _) => false,
    }
}
