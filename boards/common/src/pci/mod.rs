//! A PCI bus: what is on it, and addresses for what has none.
//!
//! Always: a device is enabled only when each of its memory ranges has a place of its own; a range
//! that somebody has placed stays there; every walk has a bound, whatever the devices say.
//!
//! Source: PCI Local Bus 3.0, 6; virtio-drivers sizes the ranges and knows the registers.

mod access;
#[cfg(test)]
mod tests;
mod window;

use core::ops::Range;

use virtio_drivers::transport::pci::bus::{
    BarInfo, Command, ConfigurationAccess, DeviceFunction, MemoryBarType, PciRoot,
};

pub use access::Access;
use window::Free;
pub use window::Window;

const DEVICES: u8 = 32;
const FUNCTIONS: u8 = 8;
/// Longest list of capabilities: each has 4 bytes at least, of the 192 after the header.
const CAPABILITIES_MAX: usize = 48;
/// Base address registers of a device.
const BARS: usize = 6;

/// Registers by their offset (PCI Local Bus 3.0, 6.1).
const ID: u8 = 0x00;
const HEADER_TYPE: u8 = 0x0c;
const BUS_NUMBERS: u8 = 0x18;
const SUBSYSTEM: u8 = 0x2c;
const CAPABILITIES: u8 = 0x34;
/// A register that no device answers for.
const NOBODY: u32 = u32::MAX;
const MULTI_FUNCTION: u8 = 0x80;

/// Where the configuration of a bus's devices is, and where their memory may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// How configuration is read and written.
    pub access: Access,
    /// Addresses for devices that have none yet.
    pub window: Window,
}

/// A device's capability.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capability {
    /// Its offset in the configuration.
    pub(crate) at: u8,
    /// Its kind; 9 is a vendor's own.
    pub(crate) id: u8,
}

/// A PCI bus and what hangs below it.
pub struct Bus<C: ConfigurationAccess> {
    access: C,
    root: PciRoot<C>,
    free: Free,
    /// Whether what firmware placed in the window has been taken out of it.
    settled: bool,
    /// Maps registers to themselves; whether that can be.
    map: fn(&Range<u64>) -> bool,
}

/// Why a device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The window is used up, or a range is larger than it.
    NoRoom {
        /// Bytes that were wanted.
        bytes: u64,
    },
    /// A register says something that no device may say.
    Register,
    /// The processor cannot reach its memory at this address.
    Unreachable {
        /// Where it is.
        address: u64,
    },
}

impl<C: ConfigurationAccess> Bus<C> {
    /// Returns the bus that `access` reaches. Ranges that have an address keep it, and ranges that
    /// are placed here lie beside them.
    ///
    /// # Safety
    ///
    /// `access` reaches a host bridge's configuration, or reads as nothing, and nobody else uses
    /// it; nothing lies in the window but devices of this bus. `map` maps registers uncached.
    pub unsafe fn new(access: C, window: Window, map: fn(&Range<u64>) -> bool) -> Self {
        // SAFETY: both copies live in this value, whose methods take turns.
        let root = PciRoot::new(unsafe { access.unsafe_clone() });
        Self { access, root, free: Free::new(window), settled: false, map }
    }

    /// Takes addresses out of the window that are something else's.
    pub fn keep(&mut self, used: Range<u64>) {
        self.free.keep(used);
    }

    /// Takes what firmware has placed out of the window.
    fn settle(&mut self) {
        let mut free = self.free.clone();
        self.each(&mut |bus, at| {
            let command = bus.turn_off(at);
            // A device whose ranges make no sense is not enabled.
            for bar in bus.root.bars(at).into_iter().flatten().flatten() {
                if let Some((address, bytes)) = bar.memory_address_size()
                    && let Some(end) = address.checked_add(bytes)
                {
                    free.keep(address..end);
                }
            }
            bus.root.set_command(at, command);
        });
        (self.free, self.settled) = (free, true);
    }

    /// Returns whether the first function of bus 0, where a host bridge has its own configuration,
    /// is there.
    pub fn has_bridge(&self) -> bool {
        self.is_there(DeviceFunction { bus: 0, device: 0, function: 0 })
    }

    /// Returns whether a function is there: an absent one reads as all ones, or as zeros where no
    /// bus is at all.
    fn is_there(&self, at: DeviceFunction) -> bool {
        !matches!(self.access.read_word(at, ID), 0 | NOBODY)
    }

    /// Calls `with` for each device that is not a bridge. Buses below a bridge are those that
    /// firmware has numbered.
    pub fn each(&mut self, with: &mut dyn FnMut(&mut Self, DeviceFunction)) {
        let mut last = 0;
        let mut bus = 0;
        // Ends: numbers of buses only grow.
        while bus <= last {
            for device in 0..DEVICES {
                last = last.max(self.each_function(bus, device, with));
            }
            match bus.checked_add(1) {
                Some(next) => bus = next,
                None => return,
            }
        }
    }

    /// Visits one device with its functions, and returns the highest bus below the device.
    fn each_function(
        &mut self,
        bus: u8,
        device: u8,
        with: &mut dyn FnMut(&mut Self, DeviceFunction),
    ) -> u8 {
        let mut below = 0;
        for function in 0..FUNCTIONS {
            let at = DeviceFunction { bus, device, function };
            let here = self.is_there(at);
            let header = if here { self.access.read_word(at, HEADER_TYPE) } else { 0 };
            let kind = (header >> 16) as u8;
            match kind & !MULTI_FUNCTION {
                0 if here => with(self, at),
                1 => {
                    let numbers = self.access.read_word(at, BUS_NUMBERS).to_le_bytes();
                    let [_, secondary, subordinate, _] = numbers;
                    below = below.max(if secondary > bus { subordinate } else { 0 });
                }
                _ => {}
            }
            if function == 0 && kind & MULTI_FUNCTION == 0 {
                break;
            }
        }
        below
    }

    /// Returns vendor and device.
    pub(crate) fn id(&self, at: DeviceFunction) -> (u16, u16) {
        halves(self.access.read_word(at, ID))
    }

    /// Returns the subsystem's vendor and device.
    pub(crate) fn subsystem(&self, at: DeviceFunction) -> (u16, u16) {
        halves(self.access.read_word(at, SUBSYSTEM))
    }

    /// Returns a word of the configuration.
    pub(crate) fn word(&self, at: DeviceFunction, offset: u8) -> u32 {
        self.access.read_word(at, offset & !3)
    }

    /// Returns the capabilities, at most as many as fit.
    pub(crate) fn capabilities(&self, at: DeviceFunction) -> impl Iterator<Item = Capability> {
        let (status, _) = self.root.get_status_command(at);
        let has = status.contains(virtio_drivers::transport::pci::bus::Status::CAPABILITIES_LIST);
        let mut next = if has { self.access.read_word(at, CAPABILITIES) as u8 & !3 } else { 0 };
        core::iter::from_fn(move || {
            // Below it are the registers of the header.
            let place = (next >= 0x40).then_some(next)?;
            let word = self.access.read_word(at, place).to_le_bytes();
            next = word[1] & !3;
            Some(Capability { at: place, id: word[0] })
        })
        .take(CAPABILITIES_MAX)
    }

    /// Makes a device answer nowhere, and returns the command register's value from before. Sizing
    /// a range requires that: done once for all ranges of a device it need not be done for each,
    /// which takes an emulator a third of a millisecond every time.
    fn turn_off(&mut self, at: DeviceFunction) -> Command {
        let (_, command) = self.root.get_status_command(at);
        let off = command & !(Command::IO_SPACE | Command::MEMORY_SPACE);
        if off != command {
            self.root.set_command(at, off);
        }
        command
    }

    /// Gives every memory range of a device an address that has none, and lets the device answer
    /// there. The answer is where its ranges are, by the number of their register.
    pub(crate) fn enable(
        &mut self,
        at: DeviceFunction,
    ) -> Result<[Option<Range<u64>>; BARS], Fault> {
        let command = self.turn_off(at);
        let places = self.place(at);
        // Also one that cannot be used answers again where it did.
        let on = if places.is_ok() { Command::MEMORY_SPACE } else { Command::empty() };
        self.root.set_command(at, command | on);
        places
    }

    /// Places a device's memory ranges, which answer nowhere meanwhile, and returns their places.
    fn place(&mut self, at: DeviceFunction) -> Result<[Option<Range<u64>>; BARS], Fault> {
        let bars = self.root.bars(at).map_err(|_| Fault::Register)?;
        let mut places = [const { None }; BARS];
        for (index, bar) in bars.iter().enumerate() {
            let Some(BarInfo::Memory { address_type, address, size, .. }) = bar else { continue };
            let mut start = *address;
            if start == 0 {
                if !self.settled {
                    self.settle();
                }
                start = self.free.take(*size).ok_or(Fault::NoRoom { bytes: *size })?;
                match address_type {
                    MemoryBarType::Width64 => self.root.set_bar_64(at, index as u8, start),
                    // The window lies below 4 GiB.
                    _ => self.root.set_bar_32(at, index as u8, start as u32),
                }
            }
            places[index] = Some(start..start.checked_add(*size).ok_or(Fault::Register)?);
        }
        Ok(places)
    }

    /// Makes the processor reach a part of a device's memory.
    pub(crate) fn map(&self, range: &Range<u64>) -> Result<(), Fault> {
        if (self.map)(range) { Ok(()) } else { Err(Fault::Unreachable { address: range.start }) }
    }

    /// Lets a device that is used reach memory, and raise no interrupts.
    pub(crate) fn give_memory(&mut self, at: DeviceFunction) {
        let (_, command) = self.root.get_status_command(at);
        self.root.set_command(at, command | Command::BUS_MASTER | Command::INTERRUPT_DISABLE);
    }
}

fn halves(word: u32) -> (u16, u16) {
    (word as u16, (word >> 16) as u16)
}
