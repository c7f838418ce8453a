//! The head of a mounted image: its superblock and its device slots.
//!
//! Always: constant from the mount on.

use crate::blob::Image;
use crate::erofs::{Devices, Superblock};

/// The head of a mounted image.
#[derive(Debug)]
pub struct Mount {
    superblock: Superblock,
    devices: Devices,
}

impl Mount {
    /// Returns the head of `image`.
    pub fn new(image: &Image) -> Self {
        Self { superblock: image.superblock, devices: image.devices.clone() }
    }

    /// Returns the superblock.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Returns the table of device slots.
    pub fn devices(&self) -> &Devices {
        &self.devices
    }
}
