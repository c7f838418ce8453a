//! The search for devices, which the storage below does.
//!
//! Always: what is found is pinned later, before its first byte is read.

use rootlet_storage::{DeviceId, Discover, DiscoverError, Version};

use crate::Verified;

impl<S: Discover> Discover for Verified<S> {
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        self.storage.disk(serial)
    }

    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        self.storage.share_file(mount_tag, name)
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        self.storage.disks(each);
    }

    fn part(
        &mut self,
        device: DeviceId,
        start: u64,
        bytes: u64,
    ) -> Result<DeviceId, DiscoverError> {
        self.storage.part(device, start, bytes)
    }

    fn set_version(&mut self, device: DeviceId, version: Version) {
        self.storage.set_version(device, version);
    }

    fn set_expendable(&mut self, device: DeviceId) {
        self.storage.set_expendable(device);
    }
}
