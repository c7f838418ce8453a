//! A virtio device on a PCI bus, in the modern layout (virtio 1.2, 4.1).
//!
//! Always: every structure that the device names lies in one of its own memory ranges; a device
//! that names one elsewhere is not used. Unlike the transport of virtio-drivers this one takes any
//! device id, because that one refuses virtio-fs (26); it asks for a queue's doorbell once, not at
//! each kick; and it needs no interrupt status, because devices are polled.

use core::fmt;
use core::ops::Range;

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PCI_CAP_ID_VNDR};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{BLOCK, FILE_SYSTEM, Found, Place, Slot};
use crate::pci::{Bus, Capability, Fault};
use crate::registers::Registers;

const VENDOR: u16 = 0x1af4;
/// Devices that also have the layout before virtio 1.0; the subsystem says what they are.
const TRANSITIONAL: Range<u16> = 0x1000..0x1040;
/// Devices with the modern layout only: this plus the virtio device id.
const MODERN: Range<u16> = 0x1040..0x1080;

/// Kinds of structures (virtio 1.2, 4.1.4).
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;

/// Bytes of the common structure up to the last register used.
const COMMON_BYTES: usize = 56;
/// Queues whose doorbell is kept; no device here has more in use.
const QUEUES: usize = 2;

/// The common structure (virtio 1.2, 4.1.4.3).
const DEVICE_FEATURE_SELECT: usize = 0;
const DEVICE_FEATURE: usize = 4;
const DRIVER_FEATURE_SELECT: usize = 8;
const DRIVER_FEATURE: usize = 12;
const DEVICE_STATUS: usize = 20;
const CONFIG_GENERATION: usize = 21;
const QUEUE_SELECT: usize = 22;
const QUEUE_SIZE: usize = 24;
const QUEUE_ENABLE: usize = 28;
const QUEUE_NOTIFY_OFF: usize = 30;
const QUEUE_DESC: usize = 32;
const QUEUE_DRIVER: usize = 40;
const QUEUE_DEVICE: usize = 48;

/// Why a device on the bus cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PciError {
    /// No room for its memory: this many bytes.
    NoRoom(u64),
    /// A base address register is wrong.
    Register,
    /// The processor cannot reach its memory at this address.
    Unreachable(u64),
    /// A structure of this kind is missing, too short, or outside of the device's memory.
    Structure(u8),
}

impl fmt::Display for PciError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom(bytes) => write!(f, "there is no room for its {bytes:#x} bytes of memory"),
            Self::Register => f.write_str("a base address register is wrong"),
            Self::Unreachable(address) => {
                write!(f, "its memory at {address:#x} is beyond what the processor can reach")
            }
            Self::Structure(kind) => write!(
                f,
                "its {} structure is missing, too short, or outside of its memory",
                match *kind {
                    COMMON => "common configuration",
                    NOTIFY => "notification",
                    _ => "device configuration",
                }
            ),
        }
    }
}

impl From<Fault> for PciError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NoRoom { bytes } => Self::NoRoom(bytes),
            Fault::Register => Self::Register,
            Fault::Unreachable { address } => Self::Unreachable(address),
        }
    }
}

/// The registers of one device.
#[derive(Debug)]
pub struct Pci {
    device_id: u32,
    common: Registers,
    notify: Registers,
    config: Option<Registers>,
    notify_multiplier: u32,
    doorbells: [usize; QUEUES],
}

/// Where a structure is.
#[derive(Clone, Copy)]
struct Structure {
    bar: u8,
    offset: u32,
    length: u32,
    multiplier: u32,
}

impl Pci {
    /// Looks at the function `at`, and enables it if it is a virtio device.
    ///
    /// # Safety
    ///
    /// No other [`Pci`] uses the function.
    pub unsafe fn probe<C: ConfigurationAccess>(
        bus: &mut Bus<C>,
        at: DeviceFunction,
    ) -> Slot<Self> {
        let (vendor, device) = bus.id(at);
        let id = match device {
            device if vendor != VENDOR => return Slot::Other(device),
            device if MODERN.contains(&device) => u32::from(device - MODERN.start),
            device if TRANSITIONAL.contains(&device) => u32::from(bus.subsystem(at).1),
            device => return Slot::Other(device),
        };
        // What nobody wants stays as it is.
        if !matches!(id, BLOCK | FILE_SYSTEM) {
            return Slot::Other(device);
        }
        // SAFETY: the caller promises what this asks for.
        match unsafe { Self::start(bus, at, id) } {
            Ok(transport) => {
                let place = Place::Pci(at.bus, at.device, at.function);
                Slot::Device(Found { id, transport, place })
            }
            // Without one structure it can only have the old layout, which lies in I/O ports.
            Err(PciError::Structure(COMMON)) if TRANSITIONAL.contains(&device) => Slot::Legacy,
            Err(error) => Slot::Broken(error),
        }
    }

    /// # Safety
    ///
    /// As for [`Pci::probe`].
    unsafe fn start<C: ConfigurationAccess>(
        bus: &mut Bus<C>,
        at: DeviceFunction,
        device_id: u32,
    ) -> core::result::Result<Self, PciError> {
        let found = |kind| structure(bus, at, kind);
        let (common, notify, config) = (found(COMMON), found(NOTIFY), found(DEVICE));
        let common = common.ok_or(PciError::Structure(COMMON))?;
        let notify = notify.ok_or(PciError::Structure(NOTIFY))?;
        let bars = bus.enable(at)?;
        let block = |structure: Structure, kind| {
            let place = inside(&bars, structure).ok_or(PciError::Structure(kind))?;
            bus.map(&place)?;
            let start = usize::try_from(place.start).map_err(|_| PciError::Structure(kind))?;
            // SAFETY: the structure lies in memory of this device alone, which is enabled and
            // mapped uncached.
            let block = unsafe { Registers::new(start, structure.length as usize) };
            block.ok_or(PciError::Structure(kind))
        };
        let multiplier = notify.multiplier;
        let (common, notify) = (block(common, COMMON)?, block(notify, NOTIFY)?);
        if common.len() < COMMON_BYTES {
            return Err(PciError::Structure(COMMON));
        }
        let config = config.map(|config| block(config, DEVICE)).transpose()?;
        bus.give_memory(at);
        Ok(Self {
            device_id,
            common,
            notify,
            config,
            notify_multiplier: multiplier,
            doorbells: [usize::MAX; QUEUES],
        })
    }

    /// Writes a 64-bit address as two words (virtio 1.2, 4.1.3.1).
    fn write_pair(&mut self, at: usize, value: u64) {
        self.common.write32(at, value as u32);
        self.common.write32(at + 4, (value >> 32) as u32);
    }

    fn select(&mut self, queue: u16) {
        self.common.write16(QUEUE_SELECT, queue);
    }

    /// Returns the `len` bytes of configuration at `offset`.
    fn config(&self, offset: usize, len: usize) -> Result<&Registers> {
        let config = self.config.as_ref().ok_or(Error::ConfigSpaceMissing)?;
        match offset.checked_add(len) {
            Some(end) if end <= config.len() => Ok(config),
            _ => Err(Error::ConfigSpaceTooSmall),
        }
    }
}

/// Returns the first structure of a kind that has a sound form; the bounded list of capabilities
/// names it (virtio 1.2, 4.1.4: the device may offer several, the driver takes the first that it
/// can use).
fn structure<C: ConfigurationAccess>(
    bus: &Bus<C>,
    at: DeviceFunction,
    kind: u8,
) -> Option<Structure> {
    let mut all = bus.capabilities(at).filter(|capability| capability.id == PCI_CAP_ID_VNDR);
    all.find_map(|Capability { at: place, .. }| {
        let [_, _, len, of] = bus.word(at, place).to_le_bytes();
        let needed = if kind == NOTIFY { 20 } else { 16 };
        if of != kind || len < needed || place.checked_add(len).is_none() {
            return None;
        }
        Some(Structure {
            bar: bus.word(at, place + 4) as u8,
            offset: bus.word(at, place + 8),
            length: bus.word(at, place + 12),
            multiplier: if kind == NOTIFY { bus.word(at, place + 16) } else { 0 },
        })
    })
}

/// Returns where a structure is that lies in the device's memory.
fn inside(bars: &[Option<Range<u64>>], structure: Structure) -> Option<Range<u64>> {
    let range = bars.get(usize::from(structure.bar))?.as_ref()?;
    let start = range.start.checked_add(structure.offset.into())?;
    let end = start.checked_add(structure.length.into())?;
    (end <= range.end).then_some(start..end)
}

impl Transport for Pci {
    /// Returns a type for virtio-drivers, which has no name for a share; [`Found::id`] is the true
    /// one.
    fn device_type(&self) -> DeviceType {
        DeviceType::try_from(self.device_id).unwrap_or(DeviceType::_9P)
    }

    fn read_device_features(&mut self) -> u64 {
        self.common.write32(DEVICE_FEATURE_SELECT, 0);
        let low = self.common.read32(DEVICE_FEATURE);
        self.common.write32(DEVICE_FEATURE_SELECT, 1);
        (u64::from(self.common.read32(DEVICE_FEATURE)) << 32) | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.common.write32(DRIVER_FEATURE_SELECT, 0);
        self.common.write32(DRIVER_FEATURE, features as u32);
        self.common.write32(DRIVER_FEATURE_SELECT, 1);
        self.common.write32(DRIVER_FEATURE, (features >> 32) as u32);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select(queue);
        self.common.read16(QUEUE_SIZE).into()
    }

    fn notify(&mut self, queue: u16) {
        if let Some(&at) = self.doorbells.get(usize::from(queue))
            && at < self.notify.len()
        {
            self.notify.write16(at, queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.common.read8(DEVICE_STATUS).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common.write8(DEVICE_STATUS, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    /// A queue whose doorbell lies outside of the device's memory stays off, as
    /// [`Transport::queue_used`] then tells.
    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.select(queue);
        let offset = u64::from(self.common.read16(QUEUE_NOTIFY_OFF));
        // Both have at most 32 bits.
        let at = usize::try_from(offset * u64::from(self.notify_multiplier)).ok();
        let Some(doorbell) = self.doorbells.get_mut(usize::from(queue)) else { return };
        // The whole of it, or the queue stays off: a structure may be shorter than one doorbell.
        let is_whole = |at: &usize| at.checked_add(2).is_some_and(|end| end <= self.notify.len());
        let Some(at) = at.filter(|at| at.is_multiple_of(2) && is_whole(at)) else { return };
        *doorbell = at;
        self.common.write16(QUEUE_SIZE, size as u16);
        self.write_pair(QUEUE_DESC, descriptors);
        self.write_pair(QUEUE_DRIVER, driver_area);
        self.write_pair(QUEUE_DEVICE, device_area);
        self.common.write16(QUEUE_ENABLE, 1);
    }

    /// Does nothing: a reset alone takes a queue back (virtio 1.2, 4.1.4.3.2).
    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.select(queue);
        self.common.read16(QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.common.read8(CONFIG_GENERATION).into()
    }

    fn read_config_space<V: FromBytes + IntoBytes>(&self, offset: usize) -> Result<V> {
        Ok(self.config(offset, size_of::<V>())?.read_field(offset))
    }

    fn write_config_space<V: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: V,
    ) -> Result<()> {
        self.config(offset, size_of::<V>())?;
        let Some(config) = &mut self.config else { return Err(Error::ConfigSpaceMissing) };
        config.write_field(offset, &value);
        Ok(())
    }
}
