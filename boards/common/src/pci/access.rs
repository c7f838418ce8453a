//! Reading and writing PCI configuration.
//!
//! Always: a bus, device or register that the way does not reach reads as nothing, and writes to
//! it are dropped.

use core::ops::Range;

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

use crate::ram::{self, Beyond};
use crate::registers::Registers;

/// Bytes of configuration of one function in memory.
const FUNCTION_BYTES: usize = 4096;
/// Functions of one bus.
const BUS_FUNCTIONS: usize = 256;

/// A way to configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Through the ports 0xcf8 and 0xcfc (PCI Local Bus 3.0, 3.2.2.3.2).
    #[cfg(target_arch = "x86_64")]
    Ports,
    /// In memory, 4 KiB a function (PCI Express 3.0, 7.2.2).
    Memory {
        /// Address of bus 0.
        base: usize,
        /// How many buses there are.
        buses: u16,
    },
}

impl Access {
    /// Returns where configuration lies in memory; `None` for ports.
    ///
    /// # Errors
    ///
    /// [`Beyond`], within.
    pub fn range(&self) -> Option<Result<Range<u64>, Beyond>> {
        match *self {
            #[cfg(target_arch = "x86_64")]
            Self::Ports => None,
            Self::Memory { base, buses } => Some(ram::range(base as u64, bytes_of(buses) as u64)),
        }
    }
}

/// Returns the bytes of the configuration of `buses` buses.
fn bytes_of(buses: u16) -> usize {
    usize::from(buses) * BUS_FUNCTIONS * FUNCTION_BYTES
}

/// Returns the register of a function, in the memory of a bridge with *n* buses, and its place
/// there.
fn in_memory(
    base: usize,
    buses: u16,
    at: DeviceFunction,
    register: u8,
) -> Option<(Registers, usize)> {
    let function =
        usize::from(at.bus) * BUS_FUNCTIONS + usize::from(at.device) * 8 + usize::from(at.function);
    let place = function * FUNCTION_BYTES + usize::from(register & !3);
    let bytes = bytes_of(buses);
    // SAFETY: `Bus::new`'s caller promised the configuration of `buses` buses.
    let block = unsafe { Registers::new(base, bytes) }?;
    (place < bytes).then_some((block, place))
}

impl ConfigurationAccess for Access {
    fn read_word(&self, at: DeviceFunction, register: u8) -> u32 {
        match *self {
            #[cfg(all(target_arch = "x86_64", target_os = "none"))]
            Self::Ports => crate::arch::pci_read(at.bus, at.device << 3 | at.function, register),
            #[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
            Self::Ports => u32::MAX,
            Self::Memory { base, buses } => in_memory(base, buses, at, register)
                .map_or(u32::MAX, |(block, place)| block.read32(place)),
        }
    }

    fn write_word(&mut self, at: DeviceFunction, register: u8, value: u32) {
        match *self {
            #[cfg(all(target_arch = "x86_64", target_os = "none"))]
            Self::Ports => {
                crate::arch::pci_write(at.bus, at.device << 3 | at.function, register, value);
            }
            #[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
            Self::Ports => {}
            Self::Memory { base, buses } => {
                if let Some((mut block, place)) = in_memory(base, buses, at, register) {
                    block.write32(place, value);
                }
            }
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}
