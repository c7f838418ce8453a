//! A virtio device behind memory-mapped registers, in the modern layout (virtio 1.2, 4.2).
//!
//! Always: only blocks with the magic and version 2 become transports. Unlike the transport of
//! virtio-drivers this one takes any device id, because that one refuses virtio-fs (26).

use core::ptr::{NonNull, with_exposed_provenance_mut};

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Found;

/// Bytes of one block: 256 of registers, then the device's configuration.
const BLOCK_BYTES: usize = 512;
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
    QueueSel = 0x30,
    QueueNumMax = 0x34,
    QueueNum = 0x38,
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

/// What stands at a place where a device may be.
#[derive(Debug)]
pub enum Slot {
    /// No registers, or no device behind them.
    Empty,
    /// A device with the layout before virtio 1.0 (QEMU's default for mmio; the option
    /// `-global virtio-mmio.force-legacy=false` gives the modern one).
    Legacy,
    /// Registers of a version that does not exist yet.
    Unknown(u32),
    /// A device.
    Device(Found<Mmio>),
}

/// The registers of one device.
#[derive(Debug)]
pub struct Mmio {
    base: NonNull<u8>,
    device_id: u32,
}

// SAFETY: the registers belong to this value alone and may be accessed from any thread.
unsafe impl Send for Mmio {}

impl Mmio {
    /// Looks at the block at address `base`.
    ///
    /// # Safety
    ///
    /// `base` is mapped, uncached, 512 bytes long, is no RAM, and no other [`Mmio`] uses it. Reads
    /// of it have no effect if there is no virtio device.
    pub unsafe fn probe(base: usize) -> Slot {
        let Some(at) = NonNull::new(with_exposed_provenance_mut::<u8>(base)) else {
            return Slot::Empty;
        };
        let mut mmio = Self { base: at, device_id: 0 };
        if !base.is_multiple_of(4) || mmio.read(Register::Magic) != MAGIC {
            return Slot::Empty;
        }
        mmio.device_id = mmio.read(Register::DeviceId);
        match (mmio.device_id, mmio.read(Register::Version)) {
            (0, _) => Slot::Empty,
            (_, 1) => Slot::Legacy,
            (id, 2) => Slot::Device(Found { id, transport: mmio, place: base as u64 }),
            (_, version) => Slot::Unknown(version),
        }
    }

    fn read(&self, register: Register) -> u32 {
        let at = self.base.as_ptr().wrapping_add(register as usize).cast::<u32>();
        // SAFETY: `probe`'s caller promised the block; registers are aligned 32-bit words in it.
        u32::from_le(unsafe { at.read_volatile() })
    }

    fn write(&mut self, register: Register, value: u32) {
        self.write_at(register as usize, value);
    }

    fn write_at(&mut self, offset: usize, value: u32) {
        let at = self.base.as_ptr().wrapping_add(offset).cast::<u32>();
        // SAFETY: as in `read`; what a write makes the device do with memory is the concern of
        // whoever set the queue's addresses.
        unsafe { at.write_volatile(value.to_le()) }
    }

    /// Writes a 64-bit address to a pair of registers.
    fn write_pair(&mut self, low: Register, value: u64) {
        self.write_at(low as usize, value as u32);
        self.write_at(low as usize + 4, (value >> 32) as u32);
    }

    /// The bytes of configuration at `offset`, if they lie in the block.
    fn config(&self, offset: usize, len: usize) -> Result<*mut u8> {
        let end = offset.checked_add(len).ok_or(Error::ConfigSpaceTooSmall)?;
        if end > BLOCK_BYTES - Register::Config as usize {
            return Err(Error::ConfigSpaceTooSmall);
        }
        Ok(self.base.as_ptr().wrapping_add(Register::Config as usize + offset))
    }
}

impl Transport for Mmio {
    /// virtio-drivers has no name for a share; [`Found::id`] tells the truth.
    fn device_type(&self) -> DeviceType {
        DeviceType::try_from(self.device_id).unwrap_or(DeviceType::_9P)
    }

    fn read_device_features(&mut self) -> u64 {
        self.write(Register::DeviceFeaturesSel, 0);
        let low = self.read(Register::DeviceFeatures);
        self.write(Register::DeviceFeaturesSel, 1);
        (u64::from(self.read(Register::DeviceFeatures)) << 32) | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.write(Register::DriverFeaturesSel, 0);
        self.write(Register::DriverFeatures, features as u32);
        self.write(Register::DriverFeaturesSel, 1);
        self.write(Register::DriverFeatures, (features >> 32) as u32);
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

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
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
        self.write_pair(Register::QueueDescLow, descriptors);
        self.write_pair(Register::QueueDriverLow, driver_area);
        self.write_pair(Register::QueueDeviceLow, device_area);
        self.write(Register::QueueReady, 1);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.write(Register::QueueSel, queue.into());
        self.write(Register::QueueReady, 0);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.write(Register::QueueSel, queue.into());
        self.read(Register::QueueReady) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let pending = self.read(Register::InterruptStatus);
        self.write(Register::InterruptAck, pending);
        InterruptStatus::from_bits_retain(pending)
    }

    fn read_config_generation(&self) -> u32 {
        self.read(Register::ConfigGeneration)
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        let at = self.config(offset, size_of::<V>())?;
        let mut value = V::new_zeroed();
        // Byte by byte: a device must allow it for its configuration (virtio 1.2, 4.2.2.2), and
        // it serves every width and alignment.
        for (index, byte) in value.as_mut_bytes().iter_mut().enumerate() {
            // SAFETY: `config` checked that the bytes lie in the block.
            *byte = unsafe { at.wrapping_add(index).read_volatile() };
        }
        Ok(value)
    }

    fn write_config_space<V: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: V,
    ) -> Result<()> {
        let at = self.config(offset, size_of::<V>())?;
        for (index, &byte) in value.as_bytes().iter().enumerate() {
            // SAFETY: as in `read_config_space`; nothing here writes configuration that makes a
            // device touch memory.
            unsafe { at.wrapping_add(index).write_volatile(byte) };
        }
        Ok(())
    }
}
