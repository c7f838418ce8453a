//! Reading and writing PCI configuration.
//!
//! Always: a bus, device or register that the way does not reach reads as nothing, and writes to
//! it are dropped.

use core::ptr::{null_mut, with_exposed_provenance_mut};

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

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
    fn in_memory(base: usize, buses: u16, at: DeviceFunction, register: u8) -> *mut u32 {
        if u16::from(at.bus) >= buses {
            return null_mut();
        }
        let function = usize::from(at.bus) * BUS_FUNCTIONS
            + usize::from(at.device) * 8
            + usize::from(at.function);
        let place = base + function * FUNCTION_BYTES + usize::from(register & !3);
        with_exposed_provenance_mut(place)
    }
}

impl ConfigurationAccess for Access {
    fn read_word(&self, at: DeviceFunction, register: u8) -> u32 {
        match *self {
            #[cfg(all(target_arch = "x86_64", target_os = "none"))]
            Self::Ports => crate::arch::pci_read(at.bus, at.device << 3 | at.function, register),
            #[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
            Self::Ports => u32::MAX,
            Self::Memory { base, buses } => {
                let place = Self::in_memory(base, buses, at, register);
                if place.is_null() {
                    return u32::MAX;
                }
                // SAFETY: `Bus::new`'s caller promised the configuration of `buses` buses.
                u32::from_le(unsafe { place.read_volatile() })
            }
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
                let place = Self::in_memory(base, buses, at, register);
                if !place.is_null() {
                    // SAFETY: as in `read_word`.
                    unsafe { place.write_volatile(value.to_le()) }
                }
            }
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}
