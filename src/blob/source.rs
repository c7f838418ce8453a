//! Sources: their names on a machine, and the part of a device that each one is.

use super::bind_error::{BindError, Name};
use crate::erofs::{DEVICES_MAX, Origin};
use crate::storage::{DeviceId, Discover, DiscoverError, SERIAL_BYTES, Storage, Version};
use core::fmt::Write;

/// The most sources: one a device slot, and the primary device.
pub const SOURCES_MAX: usize = DEVICES_MAX + 1;

/// The name of a source on a machine; `N` is a text, borrowed or owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceName<N> {
    /// The disk with this serial.
    Disk(N),
    /// A file of a share; without a mount tag, of any share.
    File {
        /// The share's mount tag.
        mount_tag: Option<N>,
        /// The file's path on the share.
        name: N,
    },
    /// The device with this number, which the caller has found: a partition.
    Device(DeviceId),
}

impl<N: AsRef<str>> SourceName<N> {
    /// Returns the same name, borrowed.
    pub fn as_deref(&self) -> SourceName<&str> {
        match self {
            Self::Disk(serial) => SourceName::Disk(serial.as_ref()),
            Self::File { mount_tag, name } => SourceName::File {
                mount_tag: mount_tag.as_ref().map(AsRef::as_ref),
                name: name.as_ref(),
            },
            Self::Device(device) => SourceName::Device(*device),
        }
    }

    /// Finds the device with this name.
    ///
    /// # Errors
    /// [`BindError::Source`], of slot 0.
    pub fn find<D: Discover>(&self, storage: &mut D) -> Result<DeviceId, BindError> {
        let found = match self.as_deref() {
            SourceName::Disk(serial) => storage.disk(serial),
            SourceName::File { mount_tag, name } => storage.share_file(mount_tag, name),
            SourceName::Device(device) => match storage.info(device) {
                Some(_) => Ok(device),
                None => Err(DiscoverError::NotFound),
            },
        };
        found.map_err(|cause| BindError::Source { slot: 0, name: self.as_deref().to_name(), cause })
    }
}

impl SourceName<&str> {
    /// Returns the name in the words of a message, cut to the room of a [`Name`].
    pub(super) fn to_name(self) -> Name {
        let mut number = heapless::String::<16>::new();
        let parts: [&str; 4] = match self {
            Self::Disk(serial) => {
                // A disk's serial ends here, whatever the configuration says.
                let counts = (0..=SERIAL_BYTES).rev().find_map(|end| serial.get(..end));
                ["disk ", counts.unwrap_or(serial), "", ""]
            }
            Self::File { mount_tag, name } => {
                ["file ", name, " on share ", mount_tag.unwrap_or("(any)")]
            }
            Self::Device(device) => {
                // A number of 16 bits has room.
                let _ = write!(number, "{}", device.0);
                ["device ", &number, "", ""]
            }
        };
        parts.iter().flat_map(|part| part.chars()).collect()
    }
}

/// The key of a source: equal for devices that are known to be one file, as a disk and a file of a
/// share may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SourceKey {
    Device(DeviceId),
    /// The version of the file.
    File(u64),
}

impl SourceKey {
    pub(crate) fn of<S: Storage>(storage: &S, device: DeviceId) -> Self {
        match storage.info(device).map(|info| info.version) {
            Some(Version::File(number)) => Self::File(number),
            _ => Self::Device(device),
        }
    }
}

/// The source of one device slot: a device, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourcePart {
    /// The device.
    pub device: DeviceId,
    /// The byte of the device that is byte 0 of the slot.
    pub base: u64,
    /// The length of the slot in bytes.
    pub bytes: u64,
    /// The version of the source; 0 for a disk without one.
    pub version: u64,
    /// The digest that names what the device holds, if every read of it is checked against that.
    #[cfg(feature = "alloc")]
    pub content: Option<[u8; 32]>,
}

impl SourcePart {
    /// Returns a part whose content nothing names.
    pub(super) fn new(device: DeviceId, base: u64, bytes: u64, version: u64) -> Self {
        #[cfg(feature = "alloc")]
        let part = Self { device, base, bytes, version, content: None };
        #[cfg(not(feature = "alloc"))]
        let part = Self { device, base, bytes, version };
        part
    }
}

#[cfg(feature = "alloc")]
type Parts = alloc::vec::Vec<SourcePart>;
#[cfg(not(feature = "alloc"))]
type Parts = heapless::Vec<SourcePart, SOURCES_MAX>;

/// The sources of all device slots of one image, as a slice in the order of the slots; slot 0 is the
/// primary device. [`Image::bind`](super::Image::bind) and its siblings make them.
#[derive(Clone, Debug)]
pub struct Sources {
    parts: Parts,
    /// The origin of the image's superblock.
    origin: Origin,
}

impl Sources {
    /// Returns the table for the image of this origin, without sources, with room for `len`.
    pub(super) fn new(origin: Origin, len: usize) -> Self {
        #[cfg(feature = "alloc")]
        let parts = Parts::with_capacity(len);
        #[cfg(not(feature = "alloc"))]
        let (parts, _) = (Parts::new(), len);
        Self { parts, origin }
    }

    /// Appends the source of the next slot. A device table has at most [`DEVICES_MAX`] slots.
    pub(super) fn push(&mut self, part: SourcePart) {
        #[cfg(feature = "alloc")]
        self.parts.push(part);
        #[cfg(not(feature = "alloc"))]
        assert!(self.parts.push(part).is_ok(), "more sources than a device table has slots");
    }

    /// Returns the origin of the image that the sources are bound to.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns for each slot its source if that is not there ([`DeviceId::NONE`]).
    #[cfg(feature = "alloc")]
    pub(super) fn absent(&mut self) -> impl Iterator<Item = Option<&mut SourcePart>> {
        self.parts.iter_mut().map(|part| Some(part).filter(|part| part.device == DeviceId::NONE))
    }

    /// Names what the source of a slot holds, in place of image, slot and version: a digest that
    /// every read of `device`, which is its source, is checked against. Images share the blobs that
    /// are named alike in a region. Returns whether there is such a slot.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn set_content(&mut self, slot: u16, device: DeviceId, content: [u8; 32]) -> bool {
        let part = self.parts.get_mut(usize::from(slot));
        part.map(|part| (part.device, part.content) = (device, Some(content))).is_some()
    }

    /// Appends a source that no slot of the image refers to: `bytes` bytes of `device`, which
    /// `content` names; a region keeps them as it keeps blobs. Returns its number for
    /// [`Root::read_source`](crate::read::Root::read_source); `None` if there is no room for more.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn add(&mut self, device: DeviceId, bytes: u64, content: [u8; 32]) -> Option<u16> {
        let number = u16::try_from(self.parts.len()).ok()?;
        if self.parts.len() >= SOURCES_MAX {
            return None;
        }
        self.parts
            .push(SourcePart { content: Some(content), ..SourcePart::new(device, 0, bytes, 0) });
        Some(number)
    }

    /// Sets the version of the source of a slot that is not there ([`DeviceId::NONE`]), which says
    /// what a region may hold of the blob. Returns whether there is such a slot without a source.
    #[must_use]
    pub fn set_absent_version(&mut self, slot: u16, version: u64) -> bool {
        let part = self.parts.get_mut(usize::from(slot));
        match part.filter(|part| part.device == DeviceId::NONE) {
            Some(part) => {
                part.version = version;
                true
            }
            None => false,
        }
    }
}

impl core::ops::Deref for Sources {
    type Target = [SourcePart];

    fn deref(&self) -> &[SourcePart] {
        &self.parts
    }
}

impl<'s> IntoIterator for &'s Sources {
    type Item = &'s SourcePart;
    type IntoIter = core::slice::Iter<'s, SourcePart>;

    fn into_iter(self) -> Self::IntoIter {
        self.parts.iter()
    }
}
