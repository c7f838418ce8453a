//! The pins of a mount: what a command line or a seal says of the image and its blobs, proven
//! before a byte of them is used.
//!
//! Always: the image is pinned before its superblock is read, each blob before the image is mounted;
//! a slot that nothing pins, and a pin that no slot has, is an error.

use super::small::{self, Unread};
use super::{MountError, Mounted, Pinned, Proof, objects, open_with};
use crate::config::{Config, Part, SourceName, source_name};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use rootlet::storage::{DeviceId, Discover, IoErrorKind, Storage as _};
use rootlet_base::num::OrBug;
use rootlet_trust::{Place, Reason, SEAL_BYTES_MAX, Seal, Software, Spec, Subject};
use rootlet_verity::{AHEAD_MAX, Ask, PinError, Verified};

/// What a configuration says of image and blobs.
enum Statements<'c> {
    Words(&'c Config),
    Seal(Seal<'c>),
}

impl<'c> Statements<'c> {
    /// Returns what is said of a subject.
    fn of(&self, subject: Subject) -> Option<Spec<'c>> {
        match self {
            Self::Words(config) => {
                let word = words(config).find(|(of, _)| *of == subject);
                // The configuration has parsed them all.
                word.and_then(|(_, text)| Spec::parse(text).ok())
            }
            Self::Seal(seal) => seal.of(subject),
        }
    }

    /// Returns all subjects of which something is said.
    fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Words(config) => words(config).map(|(subject, _)| subject).collect(),
            Self::Seal(seal) => seal.entries().map(|(subject, _)| subject).collect(),
        }
    }
}

/// Returns what a configuration says, and of what.
fn words(config: &Config) -> impl Iterator<Item = (Subject, &str)> {
    let is_alone = config.layers.is_empty();
    let numbered = config.verity.iter().map(move |(number, text)| match (is_alone, *number) {
        (true, slot) => (Subject::of_slot(slot), text.as_str()),
        (false, layer) => (Subject::of_layer(layer, 0), text.as_str()),
    });
    let blobs = config.layer_verity.iter();
    numbered
        .chain(blobs.map(|(layer, slot, text)| (Subject::of_layer(*layer, *slot), text.as_str())))
}

/// Finds the image and its blobs as [`open`](super::open) does. If `config` says what they are,
/// their devices are pinned to that, and whatever `config` does not pin is refused.
///
/// # Errors
/// [`MountError`].
pub fn open_verified<S: Discover>(
    storage: &mut Verified<S>,
    config: &Config,
) -> Result<Mounted, MountError> {
    let objects = config.objects.as_ref().map(|name| objects::open(storage, name)).transpose()?;
    let mut mounted = open_pinned(storage, config)?;
    mounted.objects = objects.flatten();
    Ok(mounted)
}

/// Finds image and blobs, and pins them.
fn open_pinned<S: Discover>(
    storage: &mut Verified<S>,
    config: &Config,
) -> Result<Mounted, MountError> {
    let seal;
    let statements = match &config.seal {
        None if config.verity.is_empty() && config.layer_verity.is_empty() => {
            return open_with(storage, config, None);
        }
        None => Statements::Words(config),
        Some((name, root)) => {
            seal = read_seal(storage, name)?;
            Statements::Seal(Seal::open(&Software, &seal, root).map_err(MountError::Seal)?)
        }
    };
    let mut pin_said = |storage: &mut Verified<S>, asked: &[Pinned<'_>]| {
        let said = asked.iter().map(|asked| {
            let subject = asked.subject;
            // A stack of one is its image, too.
            let alone = Subject::of_slot(subject.slot());
            let as_alone = || statements.of(alone).filter(|_| subject.layer() == 1);
            let spec = statements.of(subject).or_else(as_alone);
            spec.ok_or_else(|| MountError::Verity(subject.refused(Reason::Unnamed).into()))
        });
        let said = said.collect::<Result<Vec<_>, _>>()?;
        pin_all(storage, asked, &said, config.cache.is_some())
    };
    let opened = open_with(storage, config, Some(&mut pin_said));
    let mounted = opened.map_err(|error| named(storage, error))?;
    for subject in statements.subjects() {
        let layer = subject.layer().max(u16::from(mounted.is_stack));
        let mut images = mounted.numbered().filter(|(number, _)| *number == layer);
        let why = match images.next() {
            None => Reason::NoSlot { slots: low16(mounted.images.len())? },
            Some((_, bound)) => match bound.image.devices().len() {
                slots if subject.slot() > slots => Reason::NoSlot { slots },
                _ => continue,
            },
        };
        return Err(MountError::Verity(subject.refused(why).into()));
    }
    Ok(mounted)
}

/// Returns a number of images.
fn low16(images: usize) -> Result<u16, MountError> {
    Ok(u16::try_from(images).ok().or_bug().map_err(rootlet::Error::from)?)
}

/// Returns the refusal of the bytes that a mount has failed by, which names the block and both
/// digests, or the error.
fn named<S: Discover>(storage: &Verified<S>, error: MountError) -> MountError {
    let is_untrue = |cause: &rootlet::Error| match cause {
        rootlet::Error::Io(io) => io.kind == IoErrorKind::Untrue,
        _ => false,
    };
    match (&error, storage.take_refusals().pop()) {
        (MountError::Image(cause), Some(refused)) if is_untrue(cause) => {
            MountError::Verity(refused.into())
        }
        _ => error,
    }
}

/// Pins a source that is not there to what is said of it: a region may have its bytes. Returns the
/// device that stands for it.
fn pin_absent<S: Discover>(
    storage: &mut Verified<S>,
    subject: Subject,
    asked: &Pinned<'_>,
    spec: &Spec<'_>,
    has_region: bool,
) -> Result<DeviceId, MountError> {
    let bytes = asked.bytes.filter(|bytes| *bytes > 0 && has_region);
    let bytes = bytes.ok_or(MountError::Verity(PinError::Absent(subject)))?;
    storage.pin_absent(subject, spec, bytes).map_err(MountError::Verity)
}

/// Pins devices to what is said of each. What their proofs read comes in one batch for all of them.
fn pin_all<S: Discover>(
    storage: &mut Verified<S>,
    asked: &[Pinned<'_>],
    said: &[Spec<'_>],
    has_region: bool,
) -> Result<Vec<(DeviceId, [u8; 32])>, MountError> {
    let mut pinned = Vec::with_capacity(asked.len());
    let mut rest = asked.iter().zip(said);
    loop {
        let part: Vec<_> = rest.by_ref().take(AHEAD_MAX).collect();
        if part.is_empty() {
            return Ok(pinned);
        }
        let trees = part.iter().map(|(asked, spec)| find_tree(storage, asked, spec));
        let trees = trees.collect::<Result<Vec<_>, _>>()?;
        let asks = part.iter().zip(&trees).map(|((asked, spec), tree)| asked.ask(spec, *tree));
        let asks: Vec<Ask<'_>> = asks.collect();
        if asks.len() > 1 {
            storage.read_ahead(&asks);
        }
        for ((asked, _), ask) in part.into_iter().zip(&asks) {
            let device = if asked.device == DeviceId::NONE {
                pin_absent(storage, ask.subject, asked, ask.spec, has_region)?
            } else {
                pin(storage, asked, ask)?;
                asked.device
            };
            let content = storage.content(device).or_bug().map_err(rootlet::Error::from)?;
            pinned.push((device, content));
        }
        storage.forget_ahead();
    }
}

impl Pinned<'_> {
    /// Returns what is asked for: the device, pinned to `spec`, with its tree on the device `tree`.
    fn ask<'a>(&'a self, spec: &'a Spec<'a>, tree: Option<DeviceId>) -> Ask<'a> {
        let mut ask = Ask::new(self.subject, self.device, spec);
        (ask.tree, ask.lengths) = (tree, self.bytes.as_slice());
        ask
    }
}

/// Returns the device of the tree of a device; `None` if that is the same.
fn find_tree<S: Discover>(
    storage: &mut Verified<S>,
    asked: &Pinned<'_>,
    spec: &Spec<'_>,
) -> Result<Option<DeviceId>, MountError> {
    match spec.tree() {
        _ if asked.device == DeviceId::NONE => Ok(None),
        Place::Source(name) => find(storage, asked.subject, name).map(Some),
        Place::Data => Ok(None),
        // Beside the data, where there is no room for a tree after it.
        Place::Unsaid if storage.has_tree(&asked.ask(spec, None)) => Ok(None),
        Place::Unsaid => Ok(beside(storage, asked)),
    }
}

/// Pins a device.
fn pin<S: Discover>(
    storage: &mut Verified<S>,
    asked: &Pinned<'_>,
    ask: &Ask<'_>,
) -> Result<(), MountError> {
    let first = match storage.pin(ask) {
        Ok(()) => return Ok(()),
        Err(error) if ask.spec.tree() != Place::Unsaid => return Err(MountError::Verity(error)),
        Err(error) => error,
    };
    let beside = match ask.tree {
        None => beside(storage, asked),
        Some(_) => return Err(MountError::Verity(first)),
    };
    match beside {
        // What comes after the data is not a tree.
        Some(tree) => {
            storage.pin(&Ask { tree: Some(tree), ..*ask }).map_err(|_| MountError::Verity(first))
        }
        // composefs hands the image over without a tree.
        None if storage.objects().is_some() && ask.subject == Subject::IMAGE => {
            storage.pin_whole(ask).map_err(MountError::Verity)
        }
        None => Err(MountError::Verity(first)),
    }
}

/// Returns the device that a text names, or the part of it, with the tree of `subject`.
fn find<S: Discover>(
    storage: &mut S,
    subject: Subject,
    name: &str,
) -> Result<DeviceId, MountError> {
    let (disk, part) = Part::split(name).unwrap_or((name, Part::Whole));
    // Every text is the name of a source, but for a few that no source has.
    let source = source_name(disk).unwrap_or_else(|_| SourceName::Disk(disk.into()));
    let device = source.find(storage);
    let device = device.map_err(|error| MountError::of_proof(Proof::Tree(subject), error))?;
    part.open(storage, device).map_err(|error| MountError::partition(&source, &part, error))
}

/// Returns the device with the tree of a device: the disk with the serial and `.v`, or the shared
/// file with the name and `.verity`. That of a partition is another one of its disk.
fn beside<S: Discover>(storage: &mut S, asked: &Pinned<'_>) -> Option<DeviceId> {
    if *asked.part != Part::Whole {
        let (tree, disk) = (asked.part.tree()?, asked.name?.find(storage).ok()?);
        return tree.open(storage, disk).ok();
    }
    let disk = |serial: &str| SourceName::Disk(format!("{serial}.v"));
    let names: Vec<SourceName> = match asked.name {
        Some(SourceName::Disk(serial)) => vec![disk(serial)],
        Some(SourceName::File { mount_tag, name }) => {
            let (mount_tag, name) = (mount_tag.clone(), format!("{name}.verity"));
            vec![SourceName::File { mount_tag, name }]
        }
        _ => {
            let name = format!("{}.verity", asked.tag);
            vec![disk(asked.tag), SourceName::File { mount_tag: None, name }]
        }
    };
    names.iter().find_map(|name| name.find(storage).ok())
}

/// Returns the bytes of a seal.
fn read_seal<S: Discover>(storage: &mut S, name: &SourceName) -> Result<Vec<u8>, MountError> {
    small::read(storage, name, SEAL_BYTES_MAX).map_err(|unread| match unread {
        Unread::Absent(error) => MountError::of_proof(Proof::Seal, error),
        Unread::Disk(unfit) => MountError::SealDisk(unfit),
        Unread::Failed(error) => error.into(),
    })
}
