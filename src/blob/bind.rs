//! Binding: finds a source for every device slot of an image, by configuration or by its tag.
//!
//! Always: a source is at least as long as its slot says; it serves one slot, or several slots that
//! are known to be one blob; a slot that cannot be bound is an error that names the slot and the
//! source that was looked for.

use super::bind_error::{BindError, ENOENT, Name, Own};
use super::fit::fit;
use super::image::Image;
use super::order::Order;
use super::served::{FoundBy, Served};
use super::source::{SourceKey, SourceName, SourcePart, Sources};
use crate::erofs::DeviceSlot;
use crate::storage::{DeviceId, DeviceInfo, Discover, DiscoverError, SERIAL_BYTES, Storage};
use crate::units::{ByteRange, Pow2};
use core::cell::OnceCell;

/// Digits of a SHA-256, which fill a tag.
const DIGEST_DIGITS: usize = 64;

/// A device that may be the source of a slot.
struct Candidate<'n> {
    device: DeviceId,
    name: SourceName<&'n str>,
    found_by: FoundBy,
}

impl Image {
    /// Returns a source for every device slot: the one that `configured` names for the slot, else
    /// the disk with the slot's tag as its serial, else the shared file with the tag as its name,
    /// else the part of the primary device at the slot's place in the unified address space, if the
    /// device is long enough.
    ///
    /// A source serves one slot. Two devices that are known to be one file
    /// ([`crate::storage::Version::File`]) are one source. A source serves several slots if these
    /// have the same tag and length, and each of them found it in a way that proves it to be their
    /// blob: `configured` names it for at least one of them, and the others found it by
    /// `configured` or by their whole tag; or the tag is a SHA-256 that a shared file has for a
    /// name.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind<D: Discover>(
        &self,
        storage: &mut D,
        configured: &[(u16, SourceName<&str>)],
    ) -> Result<Sources, BindError> {
        let mut first = None;
        let configured = configured.iter().copied();
        let sources = self.bind_present(storage, configured, None, &mut |_, error| {
            first.get_or_insert(error);
        })?;
        first.map_or(Ok(sources), Err)
    }

    /// Binds as [`Image::bind`] does, but tolerates an absent source: it calls `missing` and returns
    /// [`DeviceId::NONE`] for the slot, whose blob can then be read as far as a region holds it. Such
    /// a source has 0 bytes where the image does not state the slot's length. Never binds the disk `region` to a slot by its tag.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind_present<'n, D: Discover>(
        &self,
        storage: &mut D,
        configured: impl Iterator<Item = (u16, SourceName<&'n str>)> + Clone,
        region: Option<DeviceId>,
        missing: &mut dyn FnMut(u16, BindError),
    ) -> Result<Sources, BindError> {
        let slots = self.devices().len();
        if let Some((slot, _)) = configured.clone().find(|(slot, _)| *slot == 0 || *slot > slots) {
            return Err(BindError::NoSlot { slot, slots });
        }
        let mut sources = self.primary(storage);
        let placed = OnceCell::new();
        let mut served = Served::new(SourceKey::of(storage, self.device()));
        for (number, slot) in self.devices().iter() {
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
                Err(error) if error.is_absence() => {
                    missing(number, error);
                    let bytes = slot.bytes().len();
                    SourcePart::new(DeviceId::NONE, 0, bytes, 0)
                }
                bound => bound?,
            };
            sources.push(part);
        }
        Ok(sources)
    }

    /// Binds every slot to its part of the primary device: those of an image that was flattened into
    /// one file. An image without slots needs nothing else.
    ///
    /// # Errors
    /// [`BindError::Missing`] names the first slot that lies elsewhere; [`BindError::Unaligned`].
    pub fn alone<S: Storage>(&self, storage: &S) -> Result<Sources, BindError> {
        let mut sources = self.primary(storage);
        let placed = OnceCell::new();
        for (number, slot) in self.devices().iter() {
            sources.push(self.flattened(storage, number, slot, None, &placed)?);
        }
        Ok(sources)
    }

    /// Returns the source of the primary device, with room for all others.
    fn primary<S: Storage>(&self, storage: &S) -> Sources {
        let mut sources =
            Sources::new(self.superblock().origin(), usize::from(self.devices().len()) + 1);
        let version = version_of(storage, self.device());
        sources.push(SourcePart::new(self.device(), 0, self.bytes(), version));
        sources
    }

    fn whole_device<D: Discover>(
        &self,
        storage: &D,
        served: &mut Served,
        number: u16,
        slot: &DeviceSlot,
        candidate: Candidate<'_>,
    ) -> Result<SourcePart, BindError> {
        let Candidate { device, name, found_by } = candidate;
        let source = SourceKey::of(storage, device);
        if let Err(other) = served.claim(self.devices(), source, number, found_by) {
            return Err(BindError::Shared { slots: [other, number], name: name.to_name() });
        }
        let need = slot.bytes().len();
        let Some(info) = fit(storage, number, device)? else {
            let (name, cause) = (name.to_name(), DiscoverError::NotFound);
            return Err(BindError::Source { slot: number, name, cause });
        };
        let got = info.bytes;
        if got < need {
            return Err(BindError::Short { slot: number, need, got });
        }
        let bytes = if slot.blocks() == 0 { got } else { need };
        Ok(SourcePart::new(device, 0, bytes, version_of(storage, device)))
    }

    /// Returns the device that has the slot's tag for a name; `None` if there is none. The image
    /// and the region's disk do not count, and are noted in `own`.
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
        let by_serial = if tag.len() > SERIAL_BYTES { FoundBy::PartOfTag } else { FoundBy::Tag };
        let by_name = if is_digest { FoundBy::Digest } else { FoundBy::Tag };
        let file = SourceName::File { mount_tag: None, name: tag };
        for (name, found_by) in [(SourceName::Disk(tag), by_serial), (file, by_name)] {
            match name.find(storage) {
                Ok(device) => {
                    let is = |own| SourceKey::of(storage, own) == SourceKey::of(storage, device);
                    match region {
                        _ if is(self.device()) => *own = Some(Own::Image),
                        Some(region) if is(region) => *own = Some(Own::Region),
                        _ => return Ok(Some(Candidate { device, name, found_by })),
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

    fn flattened<S: Storage>(
        &self,
        storage: &S,
        number: u16,
        slot: &DeviceSlot,
        own: Option<Own>,
        placed: &OnceCell<Order>,
    ) -> Result<SourcePart, BindError> {
        let base = slot.bytes().start();
        let here = match slot.blocks() {
            0 => ByteRange::sized(base, self.room_of(slot, placed)),
            _ => Some(slot.bytes()),
        };
        let here = here.filter(|here| here.within(ByteRange::first(self.bytes())));
        let bytes = here.map(ByteRange::len).filter(|bytes| *bytes > 0);
        let Some(bytes) = bytes.filter(|_| slot.uniaddr() != 0) else {
            return Err(BindError::Missing { slot: number, tag: text(slot.tag()), own });
        };
        // Reads of a device that is gone fail, and say so.
        if let Some(DeviceInfo { sector_bytes: sector, .. }) = storage.info(self.device())
            && Pow2::of(sector.into()).is_none_or(|sector| sector.offset(base) != 0)
        {
            return Err(BindError::Unaligned { slot: number, base, sector });
        }
        let version = version_of(storage, self.device());
        Ok(SourcePart::new(self.device(), base, bytes, version))
    }

    /// Returns the length in bytes of the part of the primary device that belongs to a slot without
    /// a stated length: whole blocks up to the next slot, or to the end of the device. Returns 0 if
    /// the slot begins inside the image or another slot, or where other slots begin too (as in
    /// merged images over separate blobs).
    fn room_of(&self, slot: &DeviceSlot, placed: &OnceCell<Order>) -> u64 {
        let superblock = &self.superblock();
        if superblock.blocks() == 0 || slot.uniaddr() < superblock.blocks() {
            return 0;
        }
        // Whether a slot with a stated length covers the place.
        let of_another =
            self.devices().resolve(0, slot.uniaddr()).is_ok_and(|place| place.slot != 0);
        let start = |number| self.devices().slot(number).map(|slot| slot.uniaddr());
        let placed = placed.get_or_init(|| {
            let slots = self.devices().iter().filter(|(_, slot)| slot.uniaddr() != 0);
            Order::new(slots.map(|(number, _)| number), start)
        });
        let (here, after) = placed.at(&Some(slot.uniaddr()), start);
        if of_another || here.len() != 1 {
            return 0;
        }
        let next = after.first().and_then(|number| self.devices().slot(*number));
        let end = next.map_or(self.bytes(), |next| next.bytes().start().min(self.bytes()));
        match ByteRange::new(slot.bytes().start(), end) {
            Some(room) => superblock.block_size().pow2().floor(room.len()),
            None => 0,
        }
    }
}

fn version_of<S: Storage>(storage: &S, device: DeviceId) -> u64 {
    storage.info(device).map_or(0, |info| info.version.number())
}

fn at_slot(error: BindError, slot: u16) -> BindError {
    match error {
        BindError::Source { name, cause, .. } => BindError::Source { slot, name, cause },
        other => other,
    }
}

/// Finds the source that is configured for a slot.
fn configured_source<'n, D: Discover>(
    storage: &mut D,
    number: u16,
    name: SourceName<&'n str>,
) -> Result<Candidate<'n>, BindError> {
    let device = name.find(storage).map_err(|error| at_slot(error, number))?;
    Ok(Candidate { device, name, found_by: FoundBy::Configuration })
}

fn text(bytes: &[u8]) -> Name {
    let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    bytes.iter().map(shown).collect()
}
