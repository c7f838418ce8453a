//! Binding: every slot of an image gets a source, by configuration or by its tag.
//!
//! Always: a source is at least as long as its slot says; what cannot be bound is an error that
//! names the slot and what was looked for.

use super::image::Image;
use crate::erofs::{DEVICES_MAX, DeviceSlot};
use crate::storage::{DeviceId, DeviceInfo, Discover, DiscoverError, Storage, Unfit};
use core::fmt;

/// Bytes of a virtio-blk serial that count.
const SERIAL_BYTES: usize = 20;
/// The errno of a share that has no such file.
const ENOENT: u32 = 2;
/// Slots and the primary.
pub const SOURCES_MAX: usize = DEVICES_MAX + 1;

/// How a machine names a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceName<'n> {
    /// The disk with this serial.
    Disk(&'n str),
    /// A file of a share; without a mount tag, of any share.
    File {
        /// The share's mount tag.
        mount_tag: Option<&'n str>,
        /// The file's path on the share.
        name: &'n str,
    },
}

impl SourceName<'_> {
    /// Finds the device of this name.
    pub fn find<D: Discover>(&self, storage: &mut D) -> Result<DeviceId, BindError> {
        let found = match self {
            Self::Disk(serial) => storage.disk(serial),
            Self::File { mount_tag, name } => storage.share_file(*mount_tag, name),
        };
        found.map_err(|cause| BindError::Source { slot: 0, name: self.to_name(), cause })
    }

    fn to_name(self) -> Name {
        let mut name = Name::new();
        let parts: [&str; 4] = match self {
            Self::Disk(serial) => ["disk ", serial, "", ""],
            Self::File { mount_tag, name } => {
                ["file ", name, " on share ", mount_tag.unwrap_or("(any)")]
            }
        };
        for c in parts.iter().flat_map(|part| part.chars()) {
            if name.push(c).is_err() {
                break;
            }
        }
        name
    }
}

/// A name in a message, cut to what fits.
pub type Name = heapless::String<72>;

/// Why a slot has no source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindError {
    /// The configured source of a slot (0: the image) cannot be had.
    Source {
        /// The slot.
        slot: u16,
        /// What was looked for.
        name: Name,
        /// Why it is not there.
        cause: DiscoverError,
    },
    /// Nothing was configured for the slot, and nothing has its tag.
    Missing {
        /// The slot.
        slot: u16,
        /// Its tag; often empty.
        tag: Name,
    },
    /// A source is configured for a slot that the image does not have.
    NoSlot {
        /// The slot.
        slot: u16,
        /// How many there are.
        slots: u16,
    },
    /// Nothing can be read from the device of a slot (0: the image).
    Unfit {
        /// The slot.
        slot: u16,
        /// The device.
        device: DeviceId,
        /// What is wrong with it.
        unfit: Unfit,
    },
    /// The slot's part of a flattened image does not begin at a sector of its disk.
    Unaligned {
        /// The slot.
        slot: u16,
        /// Where its part begins, in bytes.
        base: u64,
        /// Sector of the disk in bytes.
        sector: u32,
    },
    /// A source ends before its slot does.
    Short {
        /// The slot.
        slot: u16,
        /// Bytes that the slot says it has.
        need: u64,
        /// Bytes that the source has.
        got: u64,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { slot: 0, name, cause } => write!(f, "the image ({name}): {cause}"),
            Self::Source { slot, name, cause } => {
                write!(f, "blob of slot {slot} ({name}): {cause}")
            }
            Self::Missing { slot, tag } if tag.is_empty() => write!(
                f,
                "blob of slot {slot}: none given (blob{slot}=...), and the slot has no tag to find it by"
            ),
            Self::Missing { slot, tag } => write!(
                f,
                "blob of slot {slot}: none given (blob{slot}=...), and no disk or shared file is called \"{tag}\""
            ),
            Self::NoSlot { slot, slots } => {
                write!(f, "a blob is given for slot {slot}, the image has {slots} device slots")
            }
            Self::Unfit { slot: 0, device, unfit } => write!(f, "the image ({device}): {unfit}"),
            Self::Unfit { slot, device, unfit } => {
                write!(f, "blob of slot {slot} ({device}): {unfit}")
            }
            Self::Unaligned { slot, base, sector } => write!(
                f,
                "slot {slot} begins at byte {base} of the image, inside a sector of {sector} bytes"
            ),
            Self::Short { slot, need, got } => {
                write!(f, "blob of slot {slot} is too short: {got} bytes, the slot needs {need}")
            }
        }
    }
}

impl core::error::Error for BindError {}

impl BindError {
    /// Whether a source is not there, or does not answer; not one that is there and wrong.
    fn is_absence(&self) -> bool {
        match self {
            Self::Source { cause, .. } => matches!(
                cause,
                DiscoverError::NotFound | DiscoverError::Share(ENOENT) | DiscoverError::Daemon(_)
            ),
            Self::Missing { .. } => true,
            _ => false,
        }
    }
}

/// The source of one slot: a device, and which part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePart {
    /// The device.
    pub device: DeviceId,
    /// First byte on it.
    pub base: u64,
    /// Length of the slot in bytes.
    pub bytes: u64,
    /// Version of the source, 0 for a disk.
    pub version: u64,
}

/// The sources of all slots; index 0 is the primary.
#[cfg(feature = "alloc")]
pub type Sources = alloc::vec::Vec<SourcePart>;
/// The sources of all slots; index 0 is the primary.
#[cfg(not(feature = "alloc"))]
pub type Sources = heapless::Vec<SourcePart, SOURCES_MAX>;

impl Image {
    /// Binds every slot: to what `configured` names for it, else to a disk with its tag as the
    /// serial, else to a shared file called by its tag, else to its part of the primary device
    /// if that holds the slot's place in the unified address space.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind<D: Discover>(
        &self,
        storage: &mut D,
        configured: &[(u16, SourceName<'_>)],
    ) -> Result<Sources, BindError> {
        let mut first = None;
        let configured = configured.iter().copied();
        let sources = self.bind_present(storage, configured, &mut |_, error| {
            first.get_or_insert(error);
        })?;
        first.map_or(Ok(sources), Err)
    }

    /// As [`Image::bind`], but a slot whose length the image states and whose source is not there
    /// is told to `missing`, and has [`DeviceId::NONE`] for a source: what a region holds of it
    /// can be read.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind_present<'n, D: Discover>(
        &self,
        storage: &mut D,
        configured: impl Iterator<Item = (u16, SourceName<'n>)> + Clone,
        missing: &mut dyn FnMut(u16, BindError),
    ) -> Result<Sources, BindError> {
        let slots = self.devices.len();
        if let Some((slot, _)) = configured.clone().find(|(slot, _)| *slot == 0 || *slot > slots) {
            return Err(BindError::NoSlot { slot, slots });
        }
        #[cfg(feature = "alloc")]
        let mut sources = Sources::with_capacity(usize::from(slots).saturating_add(1));
        #[cfg(not(feature = "alloc"))]
        let mut sources = Sources::new();
        let version = version_of(storage, self.device);
        let part = SourcePart { device: self.device, base: 0, bytes: self.bytes, version };
        keep(&mut sources, part);
        for (number, slot) in self.devices.iter() {
            let bytes = self.superblock.block_size.at(slot.blocks).unwrap_or(u64::MAX);
            let given = configured.clone().find(|(of, _)| *of == number).map(|(_, name)| name);
            let part = match self.bind_slot(storage, number, slot, given) {
                Err(error) if slot.blocks > 0 && error.is_absence() => {
                    missing(number, error);
                    SourcePart { device: DeviceId::NONE, base: 0, bytes, version: 0 }
                }
                bound => bound?,
            };
            keep(&mut sources, part);
        }
        Ok(sources)
    }

    fn bind_slot<D: Discover>(
        &self,
        storage: &mut D,
        number: u16,
        slot: &DeviceSlot,
        given: Option<SourceName<'_>>,
    ) -> Result<SourcePart, BindError> {
        let need = self.superblock.block_size.at(slot.blocks).unwrap_or(u64::MAX);
        let device = match given {
            Some(name) => Some(name.find(storage).map_err(|error| at_slot(error, number))?),
            None => by_tag(storage, number, slot)?,
        };
        let Some(device) = device else { return self.flattened(storage, number, slot, need) };
        let info = fit(storage, number, device)?;
        let got = info.map_or(0, |info| info.bytes);
        if got < need {
            return Err(BindError::Short { slot: number, need, got });
        }
        let bytes = if slot.blocks == 0 { got } else { need };
        Ok(SourcePart { device, base: 0, bytes, version: version_of(storage, device) })
    }

    fn flattened<D: Discover>(
        &self,
        storage: &D,
        number: u16,
        slot: &DeviceSlot,
        need: u64,
    ) -> Result<SourcePart, BindError> {
        let base = self.superblock.block_size.at(slot.uniaddr).unwrap_or(u64::MAX);
        let bytes = if slot.blocks == 0 { self.room_of(number, slot, base) } else { need };
        let end = base.saturating_add(bytes);
        if slot.uniaddr == 0 || bytes == 0 || end > self.bytes {
            return Err(BindError::Missing { slot: number, tag: text(slot.tag()) });
        }
        let sector = storage.info(self.device).map_or(1, |info| info.sector_bytes);
        if base & u64::from(sector).wrapping_sub(1) != 0 {
            return Err(BindError::Unaligned { slot: number, base, sector });
        }
        let version = version_of(storage, self.device);
        Ok(SourcePart { device: self.device, base, bytes, version })
    }

    /// How long a slot at byte `base` of the primary device is that states no length: as far as
    /// the next slot, or the end of the device. 0 where no part of the device is its own: inside
    /// the image or another slot, or where several slots begin (merged images have such, over
    /// separate blobs).
    fn room_of(&self, number: u16, slot: &DeviceSlot, base: u64) -> u64 {
        let mut end = u64::MAX;
        for (_, other) in self.devices.iter().filter(|(of, _)| *of != number) {
            let other_end = other.uniaddr.saturating_add(other.blocks.max(1));
            if (other.uniaddr..other_end).contains(&slot.uniaddr) {
                return 0;
            }
            if other.uniaddr > slot.uniaddr {
                end = end.min(other.uniaddr);
            }
        }
        if self.superblock.blocks == 0 || slot.uniaddr < self.superblock.blocks {
            return 0;
        }
        let end = self.superblock.block_size.at(end).unwrap_or(u64::MAX).min(self.bytes);
        let whole = self.superblock.block_size.bytes().wrapping_sub(1);
        end.saturating_sub(base) & !whole
    }
}

/// The table has at most DEVICES_MAX slots, so there is room for all.
fn keep(sources: &mut Sources, part: SourcePart) {
    #[cfg(feature = "alloc")]
    sources.push(part);
    #[cfg(not(feature = "alloc"))]
    let _ = sources.push(part);
}

/// Returns what the device of a slot can do, if the storage has it.
///
/// # Errors
/// [`BindError::Unfit`].
pub(crate) fn fit<S: Storage>(
    storage: &S,
    slot: u16,
    device: DeviceId,
) -> Result<Option<DeviceInfo>, BindError> {
    let info = storage.info(device);
    let checked = info.as_ref().map_or(Ok(()), DeviceInfo::check);
    checked.map_err(|unfit| BindError::Unfit { slot, device, unfit })?;
    Ok(info)
}

fn version_of<D: Discover>(storage: &D, device: DeviceId) -> u64 {
    storage.info(device).map_or(0, |info| info.version)
}

fn at_slot(error: BindError, slot: u16) -> BindError {
    match error {
        BindError::Source { name, cause, .. } => BindError::Source { slot, name, cause },
        other => other,
    }
}

/// What has the slot's tag for a name; `None` if nothing has.
fn by_tag<D: Discover>(
    storage: &mut D,
    number: u16,
    slot: &DeviceSlot,
) -> Result<Option<DeviceId>, BindError> {
    let Ok(tag) = core::str::from_utf8(slot.tag()) else { return Ok(None) };
    if tag.is_empty() {
        return Ok(None);
    }
    let serial = tag.get(..SERIAL_BYTES).unwrap_or(tag);
    let file = SourceName::File { mount_tag: None, name: tag };
    for name in [SourceName::Disk(serial), file] {
        match name.find(storage) {
            Ok(device) => return Ok(Some(device)),
            Err(BindError::Source {
                cause: DiscoverError::NotFound | DiscoverError::Share(ENOENT),
                ..
            }) => {}
            Err(error) => return Err(at_slot(error, number)),
        }
    }
    Ok(None)
}

fn text(bytes: &[u8]) -> Name {
    let mut name = Name::new();
    for byte in bytes {
        let c = if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
        if name.push(c).is_err() {
            break;
        }
    }
    name
}
