//! Sources: their names on a machine, and the part of a device that each one is.

use super::bind_error::{BindError, Name};
use crate::erofs::DEVICES_MAX;
use crate::storage::{DeviceId, Discover, SERIAL_BYTES, Storage, Version};

/// The most sources: one a device slot, and the primary device.
pub const SOURCES_MAX: usize = DEVICES_MAX + 1;

/// The name of a source on a machine; `N` is a text, borrowed or owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        };
        found.map_err(|cause| BindError::Source { slot: 0, name: self.as_deref().to_name(), cause })
    }
}

impl SourceName<&str> {
    /// Returns the name in the words of a message, cut to the room of a [`Name`].
    pub(super) fn to_name(self) -> Name {
        let mut name = Name::new();
        let parts: [&str; 4] = match self {
            Self::Disk(serial) => {
                // A disk's serial ends here, whatever the configuration says.
                let counts = (0..=SERIAL_BYTES).rev().find_map(|end| serial.get(..end));
                ["disk ", counts.unwrap_or(serial), "", ""]
            }
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
pub struct SourcePart {
    /// The device.
    pub device: DeviceId,
    /// The byte of the device that is byte 0 of the slot.
    pub base: u64,
    /// The length of the slot in bytes.
    pub bytes: u64,
    /// The version of the source; 0 for a disk without one.
    pub version: u64,
}

/// The sources of all device slots; index 0 is the primary device.
#[cfg(feature = "alloc")]
pub type Sources = alloc::vec::Vec<SourcePart>;
/// The sources of all device slots; index 0 is the primary device.
#[cfg(not(feature = "alloc"))]
pub type Sources = heapless::Vec<SourcePart, SOURCES_MAX>;
