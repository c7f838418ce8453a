//! The serial port of the console.
//!
//! Always: sending keeps no state between calls, so a panic may send while a call is cut short.

use core::num::NonZeroUsize;
#[cfg(target_arch = "aarch64")]
use core::ptr::with_exposed_provenance_mut;

use uart_16550::backend::{Backend, MmioBackend};
use uart_16550::{Config, Uart16550};

use crate::board::{self, Serial};

/// Sets the port up: 8 bits, no parity, FIFO on. An absent one is left alone.
pub(crate) fn init() {
    match port() {
        #[cfg(target_arch = "x86_64")]
        Serial::Port(first) => init_16550(io(first)),
        Serial::Ns16550(at) => init_16550(memory(at)),
        // A virtual one is ready; another has been set up by firmware, which knows its clock.
        Serial::Pl011(_) => {}
    }
}

/// Sends bytes, waiting for room.
pub(crate) fn send(bytes: &[u8]) {
    match port() {
        #[cfg(target_arch = "x86_64")]
        Serial::Port(first) => send_16550(io(first), bytes),
        Serial::Ns16550(at) => send_16550(memory(at), bytes),
        #[cfg(target_arch = "aarch64")]
        Serial::Pl011(at) => bytes.iter().for_each(|&byte| send_pl011(at, byte)),
        #[cfg(not(target_arch = "aarch64"))]
        Serial::Pl011(_) => {}
    }
}

/// The port that the device tree names for the console, else the board's.
fn port() -> Serial {
    #[cfg(not(target_arch = "x86_64"))]
    if let Some(named) = crate::device_tree::get().and_then(|tree| tree.console) {
        return named;
    }
    board::BOARD.console
}

#[cfg(target_arch = "x86_64")]
fn io(first: u16) -> Option<Uart16550<uart_16550::backend::PioBackend>> {
    // SAFETY: the board says that the port is there, and only this module drives it.
    unsafe { Uart16550::new_port(first) }.ok()
}

fn memory(at: usize) -> Option<Uart16550<MmioBackend>> {
    // SAFETY: the board or its device tree says that the port is there, mapped uncached, and only
    // this module drives it.
    unsafe { Uart16550::new_mmio_from_address(NonZeroUsize::new(at)?, 1) }.ok()
}

fn init_16550<B: Backend>(uart: Option<Uart16550<B>>) {
    if let Some(mut uart) = uart {
        let _ = uart.init(Config::DEFAULT);
    }
}

fn send_16550<B: Backend>(uart: Option<Uart16550<B>>, bytes: &[u8]) {
    if let Some(mut uart) = uart {
        uart.send_bytes_exact(bytes);
    }
}

/// Data and flags (Arm PL011 TRM, 3.3.1 and 3.3.3).
#[cfg(target_arch = "aarch64")]
fn send_pl011(at: usize, byte: u8) {
    const FLAGS: usize = 0x18;
    const TRANSMIT_FULL: u32 = 1 << 5;
    let (data, flags) = (with_exposed_provenance_mut(at), with_exposed_provenance_mut(at + FLAGS));
    // SAFETY: the board or its device tree says that the port is there, mapped as device memory,
    // and only this module drives it.
    while unsafe { crate::arch::load32(flags) } & TRANSMIT_FULL != 0 {
        core::hint::spin_loop();
    }
    // SAFETY: as above.
    unsafe { crate::arch::store32(data, byte.into()) }
}
