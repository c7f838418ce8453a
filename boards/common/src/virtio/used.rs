//! What a device writes when it gives a request back, as wide as it is written.
//!
//! Always: read through raw memory, each field once; nothing here is believed, it is compared.
//!
//! virtio-drivers looks at the lower 16 bits of a number of 32, so that a device which names
//! request 0x7fff0005 would give back request 5.

use core::ptr::with_exposed_provenance;

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The entries begin after flags and index (virtio 1.2, 2.7.8).
const ENTRIES_AT: usize = 4;
/// Bytes of one entry: number and length.
const ENTRY_BYTES: usize = 8;

/// The used ring of one queue.
#[derive(Debug)]
pub(super) struct Used {
    entries: usize,
    count: u16,
    /// Entries that have been taken.
    taken: u16,
}

impl Used {
    /// Returns the used ring at `at` of a queue of `count` entries, a power of two.
    pub(super) fn new(at: PhysAddr, count: usize) -> Self {
        assert!(count.is_power_of_two(), "virtio 1.2, 2.7");
        Self { entries: at as usize + ENTRIES_AT, count: count as u16, taken: 0 }
    }

    /// Returns number and length of the next entry, which the device has written.
    pub(super) fn next(&self) -> (u32, u32) {
        let at = self.entries + ENTRY_BYTES * usize::from(self.taken & (self.count - 1));
        let at = with_exposed_provenance::<[u32; 2]>(at);
        // SAFETY: the entry lies in the queue's memory, which `Hal::dma_alloc` exposed and the ring
        // keeps; it is aligned as its ring is, and a volatile read bears that the device writes.
        let [number, length] = unsafe { at.read_volatile() };
        (u32::from_le(number), u32::from_le(length))
    }

    /// Notes that the next entry has been taken.
    pub(super) fn take(&mut self) {
        self.taken = self.taken.wrapping_add(1);
    }
}

/// A transport that remembers where the used ring of the last queue is.
pub(super) struct Noting<'t, T> {
    inner: &'t mut T,
    pub(super) used_at: PhysAddr,
}

impl<'t, T> Noting<'t, T> {
    pub(super) fn new(inner: &'t mut T) -> Self {
        Self { inner, used_at: 0 }
    }
}

impl<T: Transport> Transport for Noting<'_, T> {
    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.inner.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        self.inner.notify(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }

    fn set_guest_page_size(&mut self, bytes: u32) {
        self.inner.set_guest_page_size(bytes);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.used_at = device_area;
        self.inner.queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<V: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: V,
    ) -> Result<()> {
        self.inner.write_config_space(offset, value)
    }
}
