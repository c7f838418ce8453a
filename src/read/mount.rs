//! The head of a mounted image: its superblock and its device slots.
//!
//! Always: constant from the mount on.

use crate::blob::Image;
use crate::erofs::{Devices, Origin, Superblock};

/// The head of a mounted image.
#[derive(Debug)]
pub struct Mount {
    superblock: Superblock,
    devices: Devices,
}

impl Mount {
    /// Returns the head of `image`, whose inodes have this origin.
    pub fn new(image: &Image, origin: Origin) -> Self {
        let superblock = image.superblock().with_origin(origin);
        Self { superblock, devices: image.devices().clone() }
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
