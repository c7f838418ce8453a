//! A storage by a reference to it, or in a box: it stays whose it is.
//!
//! Always: each method is that of the storage itself; none falls back to a default.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;

use super::{
    DeviceId, DeviceInfo, Discover, DiscoverError, ObjectFault, ObjectPlace, Storage, Transfer,
    Version, Vouch,
};
#[cfg(feature = "alloc")]
use super::{Ended, Job};

macro_rules! forward {
    ($pointer:ty) => {
        impl<S: Storage + ?Sized> Storage for $pointer {
            fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
                (**self).info(device)
            }

            fn run<'b>(
                &self,
                batch: &mut [Transfer<'b>],
                done: &mut dyn FnMut(usize, &mut Transfer<'b>),
            ) {
                (**self).run(batch, done);
            }

            fn view(&self, device: DeviceId, at: u64, len: usize) -> Option<&[u8]> {
                (**self).view(device, at, len)
            }

            fn vouch(&self, device: DeviceId, at: u64, data: &[u8]) -> Vouch {
                (**self).vouch(device, at, data)
            }

            fn objects(&self) -> Option<DeviceId> {
                (**self).objects()
            }

            fn object(
                &self,
                digest: &[u8],
                bytes: u64,
                place: ObjectPlace<'_>,
            ) -> Result<u64, ObjectFault> {
                (**self).object(digest, bytes, place)
            }

            fn object_node(&self, at: u64) -> Option<u64> {
                (**self).object_node(at)
            }

            fn prove_object(&self, at: u64) -> Result<(), ObjectFault> {
                (**self).prove_object(at)
            }

            fn open_file(&self, mount_tag: &str, name: &str) -> Result<DeviceId, DiscoverError> {
                (**self).open_file(mount_tag, name)
            }

            fn close_file(&self, file: DeviceId) {
                (**self).close_file(file);
            }

            fn whole(&self, device: DeviceId) -> Option<(DeviceId, u64)> {
                (**self).whole(device)
            }

            fn set_deadline(&self, until_ns: Option<u64>) {
                (**self).set_deadline(until_ns);
            }

            fn now_ns(&self) -> u64 {
                (**self).now_ns()
            }

            fn clock(&self) -> Option<fn() -> u64> {
                (**self).clock()
            }

            fn unlocked(&self) {
                (**self).unlocked();
            }

            fn locking(&self) {
                (**self).locking();
            }

            #[cfg(feature = "alloc")]
            fn start(&self, job: Job) -> Result<(), Job> {
                (**self).start(job)
            }

            #[cfg(feature = "alloc")]
            fn poll(&self) -> Option<Ended> {
                (**self).poll()
            }

            #[cfg(feature = "alloc")]
            fn has_work(&self) -> bool {
                (**self).has_work()
            }

            #[cfg(feature = "alloc")]
            fn work(&self) {
                (**self).work();
            }

            #[cfg(feature = "alloc")]
            fn patience_ns(&self) -> u64 {
                (**self).patience_ns()
            }

            #[cfg(feature = "alloc")]
            fn rest(&self, ns: u32) {
                (**self).rest(ns);
            }

            #[cfg(feature = "alloc")]
            fn unique(&self) -> u64 {
                (**self).unique()
            }
        }

        impl<S: Discover + ?Sized> Discover for $pointer {
            fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
                (**self).disk(serial)
            }

            fn share_file(
                &mut self,
                mount_tag: Option<&str>,
                name: &str,
            ) -> Result<DeviceId, DiscoverError> {
                (**self).share_file(mount_tag, name)
            }

            fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
                (**self).disks(each);
            }

            fn part(
                &mut self,
                device: DeviceId,
                start: u64,
                bytes: u64,
            ) -> Result<DeviceId, DiscoverError> {
                (**self).part(device, start, bytes)
            }

            fn set_version(&mut self, device: DeviceId, version: Version) {
                (**self).set_version(device, version);
            }

            fn set_expendable(&mut self, device: DeviceId) {
                (**self).set_expendable(device);
            }
        }
    };
}

forward!(&mut S);
#[cfg(feature = "alloc")]
forward!(Box<S>);
