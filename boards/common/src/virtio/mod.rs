//! Virtio devices: finding them, starting them, and moving requests through their queues.
//!
//! Always: a device is not trusted. Every number it reports is checked against what was lent, and
//! memory that was lent comes back only when the device gave it back or was reset.
//!
//! The layers: a transport (registers) below a `device` (start and reset), a `ring` (one
//! queue with its requests in flight), a `port` (a device with its rings, as disk or share).

pub mod any;
pub(crate) mod aside;
pub(crate) mod blk;
pub(crate) mod chain;
pub(crate) mod device;
pub(crate) mod fs;
mod hal;
pub mod mmio;
pub mod pci;
pub(crate) mod port;
pub(crate) mod ring;
mod used;

use core::fmt;

use virtio_drivers::transport::Transport;

/// A device that was found, before it is started.
#[derive(Debug)]
pub struct Found<T: Transport> {
    /// Its virtio device id (virtio 1.2, 5): 2 is a disk, 26 a share.
    pub id: u32,
    /// Its registers.
    pub transport: T,
    /// Where it is, for messages.
    pub place: Place,
}

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its registers begin at this address.
    Address(u64),
    /// Bus, device and function on PCI.
    Pci(u8, u8, u8),
}

impl Place {
    /// Returns the place that `BB:DD.F` names, in hex digits.
    pub(crate) fn pci(text: &str) -> Option<Self> {
        let (bus, rest) = text.split_once(':')?;
        let (device, function) = rest.split_once('.')?;
        let number = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u8::from_str_radix(digits, 16).ok().filter(|_| plain)
        };
        Some(Self::Pci(number(bus)?, number(device)?, number(function)?))
    }

    /// Returns one number for the log: the address, or PCI's own numbering (bus << 8, device << 3,
    /// function).
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Address(address) => address,
            Self::Pci(bus, device, function) => {
                u64::from(bus) << 8 | u64::from(device) << 3 | u64::from(function)
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address:#x}"),
            Self::Pci(bus, device, function) => {
                write!(f, "PCI {bus:02x}:{device:02x}.{function}")
            }
        }
    }
}

/// What stands at a place where a device may be.
#[derive(Debug)]
pub enum Slot<T: Transport> {
    /// Nobody answers there as a virtio device does.
    Absent,
    /// Registers without a device.
    Empty,
    /// Something else than a virtio device; the number is its device id on its bus.
    Other(u16),
    /// A device with the layout before virtio 1.0 alone, on a bus where that is not supported.
    Legacy,
    /// Registers of a version that does not exist yet.
    Unknown(u32),
    /// A virtio device that names its registers wrongly.
    Broken(pci::PciError),
    /// A device.
    Device(Found<T>),
}

/// A disk (virtio 1.2, 5.2).
pub const BLOCK: u32 = 2;
/// A share (virtio 1.2, 5.11).
pub const FILE_SYSTEM: u32 = 26;
