//! Sources: how a machine names them, and which part of a device one is.

use super::bind_error::{BindError, Name};
use crate::erofs::DEVICES_MAX;
use crate::storage::{DeviceId, Discover, SERIAL_BYTES, Storage, Version};

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

    /// Returns the name as a message shows it.
    pub(super) fn to_name(self) -> Name {
        let mut name = Name::new();
        let parts: [&str; 4] = match self {
            Self::Disk(serial) => {
                // A disk has no more of its name.
                let counts = serial.get(..serial.floor_char_boundary(SERIAL_BYTES));
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

/// Which source a device is: equal for devices that are known to be one file, as a disk and a file
/// of a share may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SourceKey {
    Device(DeviceId),
    /// By its version.
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
