//! I/O ports, and the interrupt flag.
//!
//! Always: a port that is written is one that the board or firmware names, or one that every PC has;
//! where nothing answers, a write does nothing.

use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;

/// Configuration of PCI: which register, and its value (PCI Local Bus 3.0, 3.2.2.3.2).
const PCI_ADDRESS: u16 = 0xcf8;
const PCI_DATA: u16 = 0xcfc;

/// Reads a byte; where nothing answers, all ones.
pub(crate) fn read_port8(port: u16) -> u8 {
    // SAFETY: the board or a table of firmware names the port, and reading it touches no memory.
    unsafe { Port::new(port).read() }
}

/// Reads a word of 32 bits; where nothing answers, all ones.
pub(super) fn read_port32(port: u16) -> u32 {
    // SAFETY: as in `read_port8`.
    unsafe { Port::new(port).read() }
}

/// Writes a byte.
pub(crate) fn write_port8(port: u16, value: u8) {
    // SAFETY: the board or a table of firmware names the port as one that touches no memory.
    unsafe { Port::new(port).write(value) };
}

/// Writes a word of 16 bits.
pub(super) fn write_port16(port: u16, value: u16) {
    // SAFETY: as in `write_port8`.
    unsafe { Port::new(port).write(value) };
}

/// Writes a word of 32 bits.
pub(crate) fn write_port32(port: u16, value: u32) {
    // SAFETY: as in `write_port8`, or the port is PCI's.
    unsafe { Port::new(port).write(value) };
}

/// Chooses a register of a function (device << 3 | function).
fn pci_select(bus: u8, function: u8, register: u8) {
    const ENABLE: u32 = 1 << 31;
    let function = u32::from(bus) << 16 | u32::from(function) << 8;
    write_port32(PCI_ADDRESS, ENABLE | function | u32::from(register & !3));
}

/// Reads a register of PCI configuration.
pub(crate) fn pci_read(bus: u8, function: u8, register: u8) -> u32 {
    pci_select(bus, function, register);
    // SAFETY: reading configuration has no effect on a device that is not driven yet, and without
    // a bus the port reads as all ones.
    unsafe { Port::new(PCI_DATA).read() }
}

/// Writes a register of PCI configuration.
pub(crate) fn pci_write(bus: u8, function: u8, register: u8, value: u32) {
    pci_select(bus, function, register);
    write_port32(PCI_DATA, value);
}

/// Turns interrupts off; the answer is whether they were on.
pub(crate) fn interrupts_off() -> bool {
    let on = interrupts::are_enabled();
    interrupts::disable();
    on
}

/// Turns interrupts on again if `on`.
pub(crate) fn interrupts_restore(on: bool) {
    if on {
        interrupts::enable();
    }
}
