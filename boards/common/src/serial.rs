//! The serial port of the console.
//!
//! Always: sending keeps no state between calls, so a panic may send while a call is cut short; a
//! machine without a port runs as any other, and says nothing.

use core::sync::atomic::{AtomicBool, Ordering};

use spin::Once;
use uart_16550::Uart16550;
use uart_16550::backend::Backend;
#[cfg(target_arch = "x86_64")]
use uart_16550::{BaudRate, Config};

use crate::arch::{self, Kind};
use crate::board;
use crate::cmdline;
use crate::ram::Ram;
use crate::registers::Registers;
use crate::uart::{Serial, Wanted, Width};

/// Registers of a 16550.
const REGISTERS: usize = 8;

/// The port, once it is chosen; `None` for a machine without.
static PORT: Once<Option<Serial>> = Once::new();
/// Whether a 16550 takes several bytes at once.
static HAS_FIFO: AtomicBool = AtomicBool::new(false);

/// Chooses the port that the command line or the device tree names, else the tree's first, else the
/// board's, and sets it up where its clock is known: 115200 baud, 8 bits, no parity, FIFO on.
pub(crate) fn init(line: &str, ram: &Ram) {
    let port = match cmdline::serial(line) {
        Some(Wanted::At(port)) => Some(port),
        Some(Wanted::First(family)) => first_of(family).or_else(usual),
        None => usual(),
    };
    PORT.call_once(|| port.filter(|port| is_reached(*port, ram) && set_up(*port)));
}

#[cfg(not(target_arch = "x86_64"))]
fn first_of(family: crate::uart::Family) -> Option<Serial> {
    let tree = crate::device_tree::get()?;
    tree.ports.iter().find(|port| port.family() == family).copied()
}

#[cfg(target_arch = "x86_64")]
fn first_of(_: crate::uart::Family) -> Option<Serial> {
    None
}

/// The port of a machine whose command line names none.
fn usual() -> Option<Serial> {
    #[cfg(not(target_arch = "x86_64"))]
    if let Some(tree) = crate::device_tree::get() {
        return tree.console;
    }
    Some(board::BOARD.console)
}

/// Whether the processor reaches a port's registers, and they are no memory.
fn is_reached(port: Serial, ram: &Ram) -> bool {
    port.registers()
        .is_none_or(|range| !ram.overlaps(&range) && arch::map(&range, Kind::Registers).is_some())
}

/// Sets a port up; whether it is there.
fn set_up(port: Serial) -> bool {
    match port {
        #[cfg(target_arch = "x86_64")]
        Serial::Port(first) => io(first).is_some_and(|mut uart| {
            HAS_FIFO.store(true, Ordering::Relaxed);
            uart.init(Config { baud_rate: BaudRate::Baud115200, ..Config::DEFAULT }).is_ok()
        }),
        // A virtual one is ready; another has been set up by firmware, which knows its clock.
        Serial::Ns16550 { at, shift, width } => memory(at, shift, width).is_some_and(|mut uart| {
            HAS_FIFO.store(uart.isr().fifo_enabled(), Ordering::Relaxed);
            true
        }),
        Serial::Pl011(_) => true,
    }
}

/// Sends bytes, waiting for room.
pub(crate) fn send(bytes: &[u8]) {
    match PORT.get().copied().unwrap_or(Some(board::BOARD.console)) {
        #[cfg(target_arch = "x86_64")]
        Some(Serial::Port(first)) => send_16550(io(first), bytes),
        Some(Serial::Ns16550 { at, shift, width }) => send_16550(memory(at, shift, width), bytes),
        Some(Serial::Pl011(at)) => send_pl011(at, bytes),
        None => {}
    }
}

#[cfg(target_arch = "x86_64")]
fn io(first: u16) -> Option<Uart16550<uart_16550::backend::PioBackend>> {
    // SAFETY: the board or the command line says that the port is there, and only this module
    // drives it.
    unsafe { Uart16550::new_port(first) }.ok()
}

/// The registers of a 16550 in memory.
struct InMemory {
    block: Registers,
    shift: u8,
    width: Width,
}

impl Backend for InMemory {
    unsafe fn read(&mut self, register: u8) -> u8 {
        let at = usize::from(register) << self.shift;
        match self.width {
            Width::Byte => self.block.read8(at),
            Width::Word => self.block.read32(at) as u8,
        }
    }

    unsafe fn write(&mut self, register: u8, value: u8) {
        let at = usize::from(register) << self.shift;
        match self.width {
            Width::Byte => self.block.write8(at, value),
            Width::Word => self.block.write32(at, value.into()),
        }
    }
}

fn memory(at: usize, shift: u8, width: Width) -> Option<Uart16550<InMemory>> {
    // SAFETY: the board, its device tree or the command line says that the port is there, mapped
    // uncached, and only this module drives it.
    let block = unsafe { Registers::new(at, REGISTERS << shift) }?;
    // SAFETY: the block holds all registers, as far apart as they are.
    Some(unsafe { Uart16550::new_with_backend(InMemory { block, shift, width }) })
}

fn send_16550<B: Backend>(uart: Option<Uart16550<B>>, bytes: &[u8]) {
    let Some(mut uart) = uart else { return };
    if HAS_FIFO.load(Ordering::Relaxed) {
        return uart.send_bytes_exact(bytes);
    }
    for byte in bytes {
        while uart.try_send_byte(*byte).is_err() {
            core::hint::spin_loop();
        }
    }
}

/// Data and flags (Arm PL011 TRM, 3.3.1 and 3.3.3).
fn send_pl011(at: usize, bytes: &[u8]) {
    const DATA: usize = 0;
    const FLAGS: usize = 0x18;
    const TRANSMIT_FULL: u32 = 1 << 5;
    // SAFETY: as in `memory`.
    let Some(mut block) = (unsafe { Registers::new(at, FLAGS + 4) }) else { return };
    for byte in bytes {
        while block.read32(FLAGS) & TRANSMIT_FULL != 0 {
            core::hint::spin_loop();
        }
        block.write32(DATA, (*byte).into());
    }
}
