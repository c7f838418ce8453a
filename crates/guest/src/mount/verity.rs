//! The pins of a mount: what a command line or a seal says of the image and its blobs, proven
//! before a byte of them is used.
//!
//! Always: the image is pinned before its superblock is read, each blob before the image is mounted;
//! a slot that nothing pins, and a pin that no slot has, is an error.

use super::{MountError, Mounted, Pinned, open_with};
use crate::config::{Config, SourceName, source_name};
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
    Words(&'c [(u16, alloc::string::String)]),
    Seal(Seal<'c>),
}

impl<'c> Statements<'c> {
    /// Returns what is said of a subject.
    fn of(&self, subject: Subject) -> Option<Spec<'c>> {
        match self {
            Self::Words(words) => {
                let word = words.iter().find(|(slot, _)| *slot == subject.slot());
                // The configuration has parsed them all.
                word.and_then(|(_, text)| Spec::parse(text).ok())
            }
            Self::Seal(seal) => seal.of(subject),
        }
    }

    /// Returns the last slot of which something is said.
    fn last(&self) -> Option<Subject> {
        match self {
            Self::Words(words) => words.iter().map(|(slot, _)| Subject::of_slot(*slot)).max(),
            Self::Seal(seal) => seal.entries().map(|(subject, _)| subject).max(),
        }
    }
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
        None if config.verity.is_empty() => return open_with(storage, config, None),
        None => Statements::Words(&config.verity),
        Some((name, root)) => {
            seal = read_seal(storage, name)?;
            Statements::Seal(Seal::open(&Software, &seal, root).map_err(MountError::Seal)?)
        }
    };
    let mut pin_said = |storage: &mut Verified<S>, asked: Pinned<'_>| {
        let subject = Subject::of_slot(asked.slot);
        let refused = |why: Reason| MountError::Verity(subject.refused(why).into());
        let spec = statements.of(subject).ok_or_else(|| refused(Reason::Unnamed))?;
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
    let slots = mounted.image.devices().len();
    match statements.last() {
        Some(last) if last.slot() > slots => {
            Err(MountError::Verity(last.refused(Reason::NoSlot { slots }).into()))
        }
        _ => Ok(mounted),
    }
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

/// Returns the device that a text names.
fn find<S: Discover>(storage: &mut S, name: &str) -> Result<DeviceId, MountError> {
    // Every text is the name of a source, but for a few that no source has.
    let source = source_name(name).unwrap_or_else(|_| SourceName::Disk(name.into()));
    Ok(source.find(storage)?)
}

/// Returns the device with the tree of a device: the disk with the serial and `.v`, or the shared
/// file with the name and `.verity`.
fn beside<S: Discover>(storage: &mut S, asked: &Pinned<'_>) -> Option<DeviceId> {
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
