//! The head of a mounted image: its superblock and its device slots.
//!
//! Always: constant from the mount on. The slots of an image follow each other in the table of
//! sources, the primary device first.

use crate::blob::Image;
use crate::erofs::{Devices, FormatError, Origin, Superblock};
use crate::num::OrBug;
use crate::units::DeviceSlot;

/// The head of a mounted image.
#[derive(Clone, Debug)]
pub struct Mount {
    superblock: Superblock,
    devices: Devices,
    /// The place of the primary device in the table of sources.
    primary: DeviceSlot,
}

impl Mount {
    /// Returns the head of `image`, whose inodes have this origin.
    pub fn new(image: &Image, origin: Origin) -> Self {
        let superblock = image.superblock().with_origin(origin);
        Self { superblock, devices: image.devices().clone(), primary: DeviceSlot::PRIMARY }
    }

    /// Returns the head of the same image as the one with this number of a stack, whose sources
    /// begin with `primary`.
    ///
    /// # Errors
    /// Corrupt if an inode number of the superblock lies in no image.
    #[cfg(feature = "alloc")]
    pub fn in_layer(self, layer: u8, primary: DeviceSlot) -> Result<Self, FormatError> {
        Ok(Self { superblock: self.superblock.in_layer(layer)?, primary, ..self })
    }

    /// Returns the superblock.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Returns the table of device slots.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Returns the place of the primary device in the table of sources.
    pub fn primary(&self) -> DeviceSlot {
        self.primary
    }

    /// Returns the place of a device slot of the image in the table of sources.
    pub fn place_of(&self, slot: u16) -> Result<DeviceSlot, FormatError> {
        // The table has at most as many places as numbers of 16 bits.
        let place = self.primary.get().checked_add(slot).or_bug()?;
        Ok(DeviceSlot::new(place))
    }
}
