//! A transport of either kind, so that disks of both buses make one storage.
//!
//! Always: nothing but a choice between the two.

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Found;
use super::mmio::Mmio;
use super::pci::Pci;

/// A device's registers, on whichever bus it is.
#[derive(Debug)]
pub enum Any {
    /// virtio-mmio.
    Mmio(Mmio),
    /// virtio-pci.
    Pci(Pci),
}

impl From<Found<Mmio>> for Found<Any> {
    fn from(Found { id, transport, place }: Found<Mmio>) -> Self {
        Self { id, transport: Any::Mmio(transport), place }
    }
}

impl From<Found<Pci>> for Found<Any> {
    fn from(Found { id, transport, place }: Found<Pci>) -> Self {
        Self { id, transport: Any::Pci(transport), place }
    }
}

/// The same of either.
macro_rules! either {
    ($any:expr, $name:ident => $what:expr) => {
        match $any {
            Any::Mmio($name) => $what,
            Any::Pci($name) => $what,
        }
    };
}

impl Transport for Any {
    fn device_type(&self) -> DeviceType {
        either!(self, inner => inner.device_type())
    }

    fn read_device_features(&mut self) -> u64 {
        either!(self, inner => inner.read_device_features())
    }

    fn write_driver_features(&mut self, features: u64) {
        either!(self, inner => inner.write_driver_features(features));
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        either!(self, inner => inner.max_queue_size(queue))
    }

    fn notify(&mut self, queue: u16) {
        either!(self, inner => inner.notify(queue));
    }

    fn get_status(&self) -> DeviceStatus {
        either!(self, inner => inner.get_status())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        either!(self, inner => inner.set_status(status));
    }

    fn set_guest_page_size(&mut self, bytes: u32) {
        either!(self, inner => inner.set_guest_page_size(bytes));
    }

    fn requires_legacy_layout(&self) -> bool {
        either!(self, inner => inner.requires_legacy_layout())
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        either!(self, inner => {
            inner.queue_set(queue, size, descriptors, driver_area, device_area);
        });
    }

    fn queue_unset(&mut self, queue: u16) {
        either!(self, inner => inner.queue_unset(queue));
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        either!(self, inner => inner.queue_used(queue))
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        either!(self, inner => inner.ack_interrupt())
    }

    fn read_config_generation(&self) -> u32 {
        either!(self, inner => inner.read_config_generation())
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        either!(self, inner => inner.read_config_space(offset))
    }

    fn write_config_space<V: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: V,
    ) -> Result<()> {
        either!(self, inner => inner.write_config_space(offset, value))
    }
}
