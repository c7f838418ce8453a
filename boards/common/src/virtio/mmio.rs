//! A virtio device with memory-mapped registers (virtio 1.2, 4.2), in the modern layout or in
//! the one from before virtio 1.0 (4.2.4), which is what QEMU gives unless told otherwise.
//!
//! Always: only blocks with the magic and version 1 or 2 become transports. Unlike the transport
//! of virtio-drivers this one takes any device id, because that one refuses virtio-fs (26).

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PAGE_SIZE, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Found, Place, Slot};
use crate::registers::Registers;

/// Bytes of one block: 256 of registers, then the device's configuration.
pub(crate) const BLOCK_BYTES: usize = 512;
/// "virt", little-endian.
const MAGIC: u32 = 0x7472_6976;

/// Registers, by their offset (virtio 1.2, table 4.1).
#[derive(Clone, Copy)]
#[repr(usize)]
enum Register {
    Magic = 0x00,
    Version = 0x04,
    DeviceId = 0x08,
    DeviceFeatures = 0x10,
    DeviceFeaturesSel = 0x14,
    DriverFeatures = 0x20,
    DriverFeaturesSel = 0x24,
    /// Only in the old layout, as the other two of its kind (virtio 1.2, table 4.2).
    GuestPageSize = 0x28,
    QueueSel = 0x30,
    QueueNumMax = 0x34,
    QueueNum = 0x38,
    /// Only in the old layout.
    QueueAlign = 0x3c,
    /// Only in the old layout.
    QueuePfn = 0x40,
    QueueReady = 0x44,
    QueueNotify = 0x50,
    InterruptStatus = 0x60,
    InterruptAck = 0x64,
    Status = 0x70,
    QueueDescLow = 0x80,
    QueueDriverLow = 0x90,
    QueueDeviceLow = 0xa0,
    ConfigGeneration = 0xfc,
    Config = 0x100,
}

/// The registers of one device.
#[derive(Debug)]
pub struct Mmio {
    block: Registers,
    device_id: u32,
    is_legacy: bool,
}

impl Mmio {
    /// Looks at the block at address `base`.
    ///
    /// # Safety
    ///
    /// `base` is mapped, uncached, 512 bytes long, is not RAM, and no other [`Mmio`] uses it. Reads
    /// of it have no effect if there is no virtio device.
    pub unsafe fn probe(base: usize) -> Slot<Self> {
        // SAFETY: the caller promises what a block of registers asks for.
        let Some(block) = (unsafe { Registers::new(base, BLOCK_BYTES) }) else {
            return Slot::Absent;
        };
        let mut mmio = Self { block, device_id: 0, is_legacy: false };
        if mmio.read(Register::Magic) != MAGIC {
            return Slot::Absent;
        }
        mmio.device_id = mmio.read(Register::DeviceId);
        match (mmio.device_id, mmio.read(Register::Version)) {
            (0, _) => Slot::Empty,
            (id, version @ (1 | 2)) => {
                mmio.is_legacy = version == 1;
                Slot::Device(Found { id, transport: mmio, place: Place::Address(base as u64) })
            }
            (_, version) => Slot::Unknown(version),
        }
    }

    fn read(&self, register: Register) -> u32 {
        self.block.read32(register as usize)
    }

    fn write(&mut self, register: Register, value: u32) {
        self.block.write32(register as usize, value);
    }

    /// Writes a 64-bit address to a pair of registers.
    fn write_pair(&mut self, low: Register, value: u64) {
        self.block.write32(low as usize, value as u32);
        self.block.write32(low as usize + 4, (value >> 32) as u32);
    }

    /// Returns where the `len` bytes of configuration at `offset` are, if they lie in the block.
    fn config(&self, offset: usize, len: usize) -> Result<usize> {
        let end = offset.checked_add(len).ok_or(Error::ConfigSpaceTooSmall)?;
        if end > BLOCK_BYTES - Register::Config as usize {
            return Err(Error::ConfigSpaceTooSmall);
        }
        Ok(Register::Config as usize + offset)
    }
}

impl Transport for Mmio {
    /// Returns a type for virtio-drivers, which has no name for a share; [`Found::id`] is the true
    /// one.
    fn device_type(&self) -> DeviceType {
        DeviceType::try_from(self.device_id).unwrap_or(DeviceType::_9P)
    }

    fn read_device_features(&mut self) -> u64 {
        self.write(Register::DeviceFeaturesSel, 0);
        let low = u64::from(self.read(Register::DeviceFeatures));
        if self.is_legacy {
            return low;
        }
        self.write(Register::DeviceFeaturesSel, 1);
        (u64::from(self.read(Register::DeviceFeatures)) << 32) | low
    }

    fn write_driver_features(&mut self, features: u64) {
        self.write(Register::DriverFeaturesSel, 0);
        self.write(Register::DriverFeatures, features as u32);
        if !self.is_legacy {
            self.write(Register::DriverFeaturesSel, 1);
            self.write(Register::DriverFeatures, (features >> 32) as u32);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.write(Register::QueueSel, queue.into());
        self.read(Register::QueueNumMax)
    }

    fn notify(&mut self, queue: u16) {
        self.write(Register::QueueNotify, queue.into());
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.read(Register::Status))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.write(Register::Status, status.bits());
    }

    fn set_guest_page_size(&mut self, bytes: u32) {
        if self.is_legacy {
            self.write(Register::GuestPageSize, bytes);
        }
    }

    fn requires_legacy_layout(&self) -> bool {
        self.is_legacy
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.write(Register::QueueSel, queue.into());
        self.write(Register::QueueNum, size);
        if self.is_legacy {
            // The other areas follow from this one (virtio 1.2, 2.7.2).
            self.write(Register::QueueAlign, PAGE_SIZE as u32);
            let frame = descriptors / PAGE_SIZE as PhysAddr;
            self.write(Register::QueuePfn, u32::try_from(frame).expect("memory below 16 TiB"));
            return;
        }
        self.write_pair(Register::QueueDescLow, descriptors);
        self.write_pair(Register::QueueDriverLow, driver_area);
        self.write_pair(Register::QueueDeviceLow, device_area);
        self.write(Register::QueueReady, 1);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.write(Register::QueueSel, queue.into());
        let register = if self.is_legacy { Register::QueuePfn } else { Register::QueueReady };
        self.write(register, 0);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.write(Register::QueueSel, queue.into());
        let register = if self.is_legacy { Register::QueuePfn } else { Register::QueueReady };
        self.read(register) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let pending = self.read(Register::InterruptStatus);
        self.write(Register::InterruptAck, pending);
        InterruptStatus::from_bits_retain(pending)
    }

    /// Returns 0 for the old layout, which has no generation: two reads that differ are not noticed.
    fn read_config_generation(&self) -> u32 {
        if self.is_legacy { 0 } else { self.read(Register::ConfigGeneration) }
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        let at = self.config(offset, size_of::<V>())?;
        Ok(self.block.read_field(at))
    }

    fn write_config_space<V: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: V,
    ) -> Result<()> {
        let at = self.config(offset, size_of::<V>())?;
        self.block.write_field(at, &value);
        Ok(())
    }
}
