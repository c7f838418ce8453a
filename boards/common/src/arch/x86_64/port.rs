//! The console and log ports, and the interrupt flag.
//!
//! Always: sending keeps no state between calls, so a panic may send while a call is cut short.

use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550};
use x86_64::instructions::interrupts;
use x86_64::instructions::port::Port;

/// The first serial port of a PC.
const SERIAL: u16 = 0x3f8;
/// isa-debugcon's usual port.
const DEBUGCON: u16 = 0xe9;

const fn serial() -> Uart16550<PioBackend> {
    // SAFETY: 0x3f8..0x400 is the first serial port of every board here, and only this module
    // drives it.
    match unsafe { Uart16550::new_port(SERIAL) } {
        Ok(uart) => uart,
        Err(_) => panic!("0x3f8 is a port"),
    }
}

/// Sets the serial port up: 8 bits, no parity, FIFO on. An absent port is left alone.
pub(crate) fn serial_init() {
    let _ = serial().init(Config::DEFAULT);
}

/// Sends bytes to the serial line, waiting for room.
pub(crate) fn send(bytes: &[u8]) {
    serial().send_bytes_exact(bytes);
}

/// Sends bytes to the log channel. Where there is none, they are lost.
pub(crate) fn log_bytes(bytes: &[u8]) {
    let mut port = Port::<u8>::new(DEBUGCON);
    for &byte in bytes {
        // SAFETY: the port is isa-debugcon's, or nobody's, where a write does nothing.
        unsafe { port.write(byte) };
    }
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
