//! The pins of a mount: what a command line or a seal says of the image and its blobs, proven
//! before a byte of them is used.
//!
//! Always: the image is pinned before its superblock is read, each blob before the image is mounted;
//! a slot that nothing pins, and a pin that no slot has, is an error.

use super::{MountError, Mounted, Pinned, open_with};
use crate::config::{Config, Part, SourceName, source_name};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use rootlet::storage::{DeviceId, Discover, IoErrorKind, Storage as _, Transfer};
use rootlet_base::num::{OrBug, index, narrow, wide};
use rootlet_base::units::ByteRange;
use rootlet_trust::{Place, Reason, SEAL_BYTES_MAX, Seal, Software, Spec, Subject};
use rootlet_verity::{PinError, Verified};

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
    if let Some((mount_tag, folder)) = &config.objects {
        storage.set_objects(mount_tag, folder).map_err(MountError::Verity)?;
    }
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
    let mut pin_said = |storage: &mut Verified<S>, asked: Pinned<'_>| {
        let subject = asked.subject;
        let refused = |why: Reason| MountError::Verity(subject.refused(why).into());
        // A stack of one is its image, too.
        let alone = Subject::of_slot(subject.slot());
        let as_alone = || statements.of(alone).filter(|_| subject.layer() == 1);
        let spec = statements.of(subject).or_else(as_alone);
        let spec = spec.ok_or_else(|| refused(Reason::Unnamed))?;
        let device = if asked.device == DeviceId::NONE {
            pin_absent(storage, subject, &asked, &spec, config.cache.is_some())?
        } else {
            pin(storage, subject, &asked, &spec)?;
            asked.device
        };
        let content = storage.content(device).or_bug().map_err(rootlet::Error::from)?;
        Ok((device, content))
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

/// Pins a device to what is said of it.
fn pin<S: Discover>(
    storage: &mut Verified<S>,
    subject: Subject,
    asked: &Pinned<'_>,
    spec: &Spec<'_>,
) -> Result<(), MountError> {
    let Pinned { device, bytes, .. } = *asked;
    let lengths = bytes.as_slice();
    let tree = match spec.tree() {
        Place::Source(name) => Some(find(storage, name)?),
        Place::Data => None,
        Place::Unsaid => match storage.pin(subject, device, spec, None, lengths) {
            Ok(()) => return Ok(()),
            // The tree may lie beside the data.
            Err(error) => {
                let Some(tree) = beside(storage, asked) else {
                    // composefs hands the image over without a tree.
                    return match storage.objects() {
                        Some(_) if subject == Subject::IMAGE => storage
                            .pin_whole(subject, device, spec, lengths)
                            .map_err(MountError::Verity),
                        _ => Err(MountError::Verity(error)),
                    };
                };
                return storage.pin(subject, device, spec, Some(tree), lengths).map_err(|other| {
                    // Bytes after the data that are too few for a tree are not one.
                    MountError::Verity(if is_short(&error) { other } else { error })
                });
            }
        },
    };
    storage.pin(subject, device, spec, tree, lengths).map_err(MountError::Verity)
}

/// Returns whether there is no room for a tree after the data.
fn is_short(error: &PinError) -> bool {
    matches!(error, PinError::Refused(refused) if matches!(refused.why, Reason::ShortTree { .. }))
}

/// Returns the device that a text names, or the part of it.
fn find<S: Discover>(storage: &mut S, name: &str) -> Result<DeviceId, MountError> {
    let (disk, part) = Part::split(name).unwrap_or((name, Part::Whole));
    // Every text is the name of a source, but for a few that no source has.
    let source = source_name(disk).unwrap_or_else(|_| SourceName::Disk(disk.into()));
    let device = source.find(storage)?;
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

/// Returns the bytes of a seal: those of a file, or of a disk up to the zeros that fill its last
/// sector.
fn read_seal<S: Discover>(storage: &mut S, name: &SourceName) -> Result<Vec<u8>, MountError> {
    let device = name.find(storage)?;
    let info = storage.info(device).or_bug().map_err(rootlet::Error::from)?;
    info.check().map_err(MountError::SealDisk)?;
    // A byte more than a seal may have shows that there are more.
    let most = wide(SEAL_BYTES_MAX).checked_add(u64::from(info.sector_bytes));
    let range = ByteRange::first(info.bytes.min(most.or_bug().map_err(rootlet::Error::from)?));
    let mut bytes = vec![0; narrow(range.len()).map_err(rootlet::Error::from)?];
    let mut at = 0_u64;
    for part in bytes.chunks_mut(index(info.transfer_bytes_max)) {
        let len = wide(part.len());
        let mut batch = [Transfer::read(device, at, part)];
        storage.run(&mut batch, &mut |_, _| {});
        let [transfer] = &batch;
        transfer.outcome().map_err(rootlet::Error::from)?;
        at = at.checked_add(len).or_bug().map_err(rootlet::Error::from)?;
    }
    let text = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.wrapping_add(1));
    bytes.truncate(text);
    Ok(bytes)
}
