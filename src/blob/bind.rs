//! Binding: every slot of an image gets a source, by configuration or by its tag.
//!
//! Always: a source is at least as long as its slot says; it serves one slot, or several that are
//! known to be one blob; what cannot be bound is an error that names the slot and what was looked
//! for.

use super::bind_error::{BindError, ENOENT, Name, Own};
use super::image::Image;
use super::order::Order;
use super::served::{Found, Served};
use super::source::{SourceKey, SourceName, SourcePart, Sources};
use crate::erofs::DeviceSlot;
use crate::storage::{DeviceId, DeviceInfo, Discover, DiscoverError, SERIAL_BYTES, Storage};
use crate::units::ByteRange;
use core::cell::OnceCell;

/// Digits of a SHA-256, which fill a tag.
const DIGEST_DIGITS: usize = 64;

/// A device for a slot.
struct Candidate<'n> {
    device: DeviceId,
    name: SourceName<'n>,
    found: Found,
}

impl Image {
    /// Binds every slot: to what `configured` names for it, else to a disk with its tag as the
    /// serial, else to a shared file called by its tag, else to its part of the primary device
    /// if that holds the slot's place in the unified address space.
    ///
    /// One source serves one slot, and two devices that are known to be one file
    /// ([`crate::storage::Version::File`]) are one source. It serves several where they have one tag and length and it is
    /// known to be their blob: because `configured` names it for one of them, and for each other
    /// one or by the whole tag; or because the tag is a SHA-256 and a shared file has it for a name.
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
        let sources = self.bind_present(storage, configured, None, &mut |_, error| {
            first.get_or_insert(error);
        })?;
        first.map_or(Ok(sources), Err)
    }

    /// Binds as [`Image::bind`] does, but a slot whose length the image states and whose source is
    /// not there is reported to `missing`, and has [`DeviceId::NONE`] for a source: what a region
    /// holds of it can be read. The disk with the `region` is no slot's by its tag.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind_present<'n, D: Discover>(
        &self,
        storage: &mut D,
        configured: impl Iterator<Item = (u16, SourceName<'n>)> + Clone,
        region: Option<DeviceId>,
        missing: &mut dyn FnMut(u16, BindError),
    ) -> Result<Sources, BindError> {
        let slots = self.devices.len();
        if let Some((slot, _)) = configured.clone().find(|(slot, _)| *slot == 0 || *slot > slots) {
            return Err(BindError::NoSlot { slot, slots });
        }
        #[cfg(feature = "alloc")]
        let mut sources = Sources::with_capacity(usize::from(slots) + 1);
        #[cfg(not(feature = "alloc"))]
        let mut sources = Sources::new();
        let version = version_of(storage, self.device);
        let part = SourcePart { device: self.device, base: 0, bytes: self.bytes, version };
        keep(&mut sources, part);
        let placed = OnceCell::new();
        let mut served = Served::new(SourceKey::of(storage, self.device));
        for (number, slot) in self.devices.iter() {
            let given = configured.clone().find(|(of, _)| *of == number).map(|(_, name)| name);
            let mut own = None;
            let candidate = match given {
                Some(name) => configured_source(storage, number, name).map(Some),
                None => self.by_tag(storage, number, slot, region, &mut own),
            };
            let bound = candidate.and_then(|candidate| match candidate {
                Some(one) => self.whole_device(storage, &mut served, number, slot, one),
                None => self.flattened(storage, number, slot, own, &placed),
            });
            let part = match bound {
                Err(error) if slot.blocks > 0 && error.is_absence() => {
                    missing(number, error);
                    let bytes = slot.bytes().len();
                    SourcePart { device: DeviceId::NONE, base: 0, bytes, version: 0 }
                }
                bound => bound?,
            };
            keep(&mut sources, part);
        }
        Ok(sources)
    }

    fn whole_device<D: Discover>(
        &self,
        storage: &D,
        served: &mut Served,
        number: u16,
        slot: &DeviceSlot,
        candidate: Candidate<'_>,
    ) -> Result<SourcePart, BindError> {
        let Candidate { device, name, found } = candidate;
        let source = SourceKey::of(storage, device);
        if let Err(other) = served.claim(&self.devices, source, number, found) {
            return Err(BindError::Shared { slots: [other, number], name: name.to_name() });
        }
        let need = slot.bytes().len();
        let info = fit(storage, number, device)?;
        let got = info.map_or(0, |info| info.bytes);
        if got < need {
            return Err(BindError::Short { slot: number, need, got });
        }
        let bytes = if slot.blocks == 0 { got } else { need };
        Ok(SourcePart { device, base: 0, bytes, version: version_of(storage, device) })
    }

    /// Returns what has the slot's tag for a name, or `None` if nothing has, but perhaps what is the
    /// machine's `own`.
    fn by_tag<'t, D: Discover>(
        &self,
        storage: &mut D,
        number: u16,
        slot: &'t DeviceSlot,
        region: Option<DeviceId>,
        own: &mut Option<Own>,
    ) -> Result<Option<Candidate<'t>>, BindError> {
        let Ok(tag) = core::str::from_utf8(slot.tag()) else { return Ok(None) };
        if tag.is_empty() {
            return Ok(None);
        }
        let is_digest =
            tag.len() == DIGEST_DIGITS && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        let by_serial = if tag.len() > SERIAL_BYTES { Found::ByPartOfTag } else { Found::ByTag };
        let by_name = if is_digest { Found::ByDigest } else { Found::ByTag };
        let file = SourceName::File { mount_tag: None, name: tag };
        for (name, found) in [(SourceName::Disk(tag), by_serial), (file, by_name)] {
            match name.find(storage) {
                Ok(device) => {
                    let is = |own| SourceKey::of(storage, own) == SourceKey::of(storage, device);
                    match region {
                        _ if is(self.device) => *own = Some(Own::Image),
                        Some(region) if is(region) => *own = Some(Own::Region),
                        _ => return Ok(Some(Candidate { device, name, found })),
                    }
                }
                Err(BindError::Source {
                    cause: DiscoverError::NotFound | DiscoverError::Share(ENOENT),
                    ..
                }) => {}
                Err(error) => return Err(at_slot(error, number)),
            }
        }
        Ok(None)
    }

    fn flattened<D: Discover>(
        &self,
        storage: &D,
        number: u16,
        slot: &DeviceSlot,
        own: Option<Own>,
        placed: &OnceCell<Order>,
    ) -> Result<SourcePart, BindError> {
        let base = slot.bytes().start();
        let here = match slot.blocks {
            0 => ByteRange::sized(base, self.room_of(slot, placed)),
            _ => Some(slot.bytes()),
        };
        let here = here.filter(|here| here.within(ByteRange::first(self.bytes)));
        let bytes = here.map(ByteRange::len).filter(|bytes| *bytes > 0);
        let Some(bytes) = bytes.filter(|_| slot.uniaddr != 0) else {
            return Err(BindError::Missing { slot: number, tag: text(slot.tag()), own });
        };
        let sector = storage.info(self.device).map_or(1, |info| info.sector_bytes);
        if !base.is_multiple_of(u64::from(sector)) {
            return Err(BindError::Unaligned { slot: number, base, sector });
        }
        let version = version_of(storage, self.device);
        Ok(SourcePart { device: self.device, base, bytes, version })
    }

    /// Returns how many bytes of the primary device a slot has that states no length: whole blocks
    /// up to the next slot, or the end of the device. 0 where no part of the device is its own:
    /// inside the image or another slot, or where several slots begin (merged images have such,
    /// over separate blobs).
    fn room_of(&self, slot: &DeviceSlot, placed: &OnceCell<Order>) -> u64 {
        let superblock = &self.superblock;
        if superblock.blocks == 0 || slot.uniaddr < superblock.blocks {
            return 0;
        }
        // Slots that state a length hold their blocks, and no other slot begins at one of them.
        let of_another = self.devices.resolve(0, slot.uniaddr).is_ok_and(|place| place.slot != 0);
        let start = |number| self.devices.slot(number).map(|slot| slot.uniaddr);
        let placed = placed.get_or_init(|| {
            let slots = self.devices.iter().filter(|(_, slot)| slot.uniaddr != 0);
            Order::new(slots.map(|(number, _)| number), start)
        });
        let (here, after) = placed.at(&Some(slot.uniaddr), start);
        if of_another || here.len() != 1 {
            return 0;
        }
        let next = after.first().and_then(|number| self.devices.slot(*number));
        let end = next.map_or(self.bytes, |next| next.bytes().start().min(self.bytes));
        match ByteRange::new(slot.bytes().start(), end) {
            Some(room) => superblock.block_size.pow2().floor(room.len()),
            None => 0,
        }
    }
}

/// Adds a source. The table has at most DEVICES_MAX slots, so there is room for all.
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
    storage.info(device).map_or(0, |info| info.version.number())
}

fn at_slot(error: BindError, slot: u16) -> BindError {
    match error {
        BindError::Source { name, cause, .. } => BindError::Source { slot, name, cause },
        other => other,
    }
}

/// Returns the source that is configured for a slot.
fn configured_source<'n, D: Discover>(
    storage: &mut D,
    number: u16,
    name: SourceName<'n>,
) -> Result<Candidate<'n>, BindError> {
    let device = name.find(storage).map_err(|error| at_slot(error, number))?;
    Ok(Candidate { device, name, found: Found::Configured })
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
