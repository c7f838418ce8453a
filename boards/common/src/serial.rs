//! The serial port of the console.
//!
//! Always: a port is used that answered as one of its kind; every wait for a transmitter ends, after
//! which the port is given up, and the machine runs and ends as one without; a panic may send while
//! a call is cut short. Bytes of one call are not mixed with those of another processor, unless that
//! one does not end.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use spin::Once;
use spin::mutex::{SpinMutex, SpinMutexGuard};
use uart_16550::backend::Backend;
use uart_16550::spec::registers::{LSR, offsets};
use uart_16550::{BaudRate, Config, Uart16550};

use crate::arch::{self, Kind};
use crate::board;
use crate::clock::Wait;
use crate::cmdline;
use crate::ram::Ram;
use crate::registers::Registers;
use crate::uart::{Serial, Wanted, Width};

/// Registers of a 16550.
const REGISTERS: usize = 8;

/// Seconds that a port may take whose transmitter was never seen to send anything.
const NEW_S: u64 = 1;
/// Seconds that a port may take which has sent: its reader may pause, and a host tool waits as
/// long.
const KNOWN_S: u64 = 600;

/// The port, once it is chosen; `None` for a machine without.
static PORT: Once<Option<Serial>> = Once::new();
/// Whether a 16550 takes several bytes at once.
static HAS_FIFO: AtomicBool = AtomicBool::new(false);
/// One of the following.
static STATE: AtomicU8 = AtomicU8::new(NEW);
/// Nothing was sent yet.
const NEW: u8 = 0;
/// Something waits in the port to be sent.
const FILLED: u8 = 1;
/// The transmitter was empty again after that.
const KNOWN: u8 = 2;
/// The port is given up.
const GIVEN_UP: u8 = 3;

/// Chooses the port that the command line or the device tree names, else the tree's first, else the
/// board's, and sets it up where its clock is known: 115200 baud, 8 bits, no parity, FIFO on.
/// Returns the port that the command line names if it does not answer.
pub(crate) fn init(line: &str, ram: &Ram) -> Option<Serial> {
    let wanted = match cmdline::serial(line) {
        Some(Wanted::At(port)) => Some(port),
        Some(Wanted::First(family)) => first_of(family),
        None => None,
    };
    let is_there = |port: &Serial| is_reached(*port, ram) && set_up(*port);
    let found = wanted.filter(is_there);
    PORT.call_once(|| found.or_else(|| usual().filter(is_there)));
    wanted.filter(|_| found.is_none())
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

/// Returns the port of a machine whose command line names none.
fn usual() -> Option<Serial> {
    #[cfg(not(target_arch = "x86_64"))]
    if let Some(tree) = crate::device_tree::get() {
        return tree.console;
    }
    Some(board::BOARD.console)
}

/// Returns whether the processor reaches a port's registers, and they are not memory.
fn is_reached(port: Serial, ram: &Ram) -> bool {
    port.registers().is_none_or(|range| {
        range.is_ok_and(|range| {
            !ram.overlaps(&range) && arch::map(&range, Kind::Registers).is_some()
        })
    })
}

/// Sets a port up; whether it is there, and its transmitter is empty.
fn set_up(port: Serial) -> bool {
    answers(port)
        && match port {
            Serial::Pl011(at) => Pl011::at(at, NEW_S).is_some_and(|uart| uart.is_there()),
            _ => Ns16550::at(port, NEW_S).is_some_and(Ns16550::set_up),
        }
}

/// Returns whether a port's status can be read without a fault.
fn answers(port: Serial) -> bool {
    match port {
        #[cfg(target_arch = "x86_64")]
        Serial::Port(_) => true,
        Serial::Ns16550 { at, shift, width: Width::Byte } => {
            arch::answers8(at + (offsets::LSR << shift))
        }
        Serial::Ns16550 { at, shift, width: Width::Word } => {
            arch::answers32(at + (offsets::LSR << shift))
        }
        Serial::Pl011(at) => arch::answers32(at + Pl011::FLAGS),
    }
}

/// Waits until no other call sends. Ends without the lock if that takes too long: the call may be
/// one that a fault has cut short, on this processor.
fn alone() -> Option<SpinMutexGuard<'static, ()>> {
    static SENDS: SpinMutex<()> = SpinMutex::new(());
    let mut wait = None;
    loop {
        let guard = SENDS.try_lock();
        if guard.is_some() || wait.get_or_insert_with(|| Wait::begin(NEW_S)).is_over() {
            return guard;
        }
        core::hint::spin_loop();
    }
}

/// Sends bytes, waiting for room.
pub(crate) fn send(bytes: &[u8]) {
    let _alone = alone();
    // Before one is chosen, something has gone wrong early.
    let port = PORT.get().copied();
    let port = port.unwrap_or_else(|| Some(board::BOARD.console).filter(|port| set_up(*port)));
    let seconds = match STATE.load(Ordering::Relaxed) {
        NEW | FILLED => NEW_S,
        KNOWN => KNOWN_S,
        _ => return,
    };
    let is_sent = match port {
        Some(Serial::Pl011(at)) => Pl011::at(at, seconds).is_some_and(|uart| uart.send(bytes)),
        Some(port) => Ns16550::at(port, seconds).is_some_and(|uart| uart.send(bytes)),
        None => return,
    };
    if !is_sent {
        STATE.store(GIVEN_UP, Ordering::Relaxed);
    } else if STATE.load(Ordering::Relaxed) == NEW {
        STATE.store(FILLED, Ordering::Relaxed);
    }
}

/// Takes the byte that has come, if one has.
pub(crate) fn receive() -> Option<u8> {
    match PORT.get().copied()?? {
        Serial::Pl011(at) => Pl011::at(at, NEW_S)?.receive(),
        port => Ns16550::at(port, NEW_S)?.driver().try_receive_byte().ok(),
    }
}

/// Notes that nothing is left in the transmitter.
fn note_empty() {
    if STATE.load(Ordering::Relaxed) == FILLED {
        STATE.store(KNOWN, Ordering::Relaxed);
    }
}

/// Where a 16550 has its registers.
enum Place {
    #[cfg(target_arch = "x86_64")]
    Ports(u16),
    Memory {
        block: Registers,
        shift: u8,
        width: Width,
    },
}

/// A 16550 whose transmitter is waited for only for a while: then its status says that there is
/// room, so that no loop of the driver is without end, and nothing more is written.
struct Ns16550 {
    place: Place,
    seconds: u64,
    /// Since when it is full.
    wait: Option<Wait>,
    is_given_up: bool,
}

impl Ns16550 {
    /// Returns the one at a place, if something can be there.
    fn at(port: Serial, seconds: u64) -> Option<Self> {
        let place = match port {
            #[cfg(target_arch = "x86_64")]
            Serial::Port(first) => {
                first.checked_add(REGISTERS as u16 - 1)?;
                Place::Ports(first)
            }
            Serial::Ns16550 { at, shift, width } => {
                // SAFETY: the board, its device tree or the command line names the place, which is
                // mapped uncached and no RAM; only this module drives what is there.
                let block = unsafe { Registers::new(at, REGISTERS << shift) }?;
                Place::Memory { block, shift, width }
            }
            Serial::Pl011(_) => return None,
        };
        Some(Self { place, seconds, wait: None, is_given_up: false })
    }

    /// Sets it up; whether it is one, and its transmitter is empty.
    fn set_up(self) -> bool {
        let is_in_memory = matches!(self.place, Place::Memory { .. });
        let mut uart = self.driver();
        // A virtual one is ready; another one in memory has been set up by firmware, which knows
        // its clock.
        let is_there = if is_in_memory {
            let is_present = uart.check_present();
            while is_present && !uart.lsr().contains(LSR::TRANSMITTER_EMPTY) {
                core::hint::spin_loop();
            }
            is_present
        } else {
            uart.init(Config { baud_rate: BaudRate::Baud115200, ..Config::DEFAULT }).is_ok()
        };
        HAS_FIFO.store(uart.isr().fifo_enabled(), Ordering::Relaxed);
        is_there && !uart.backend().is_given_up
    }

    /// Sends bytes; whether all of them were.
    fn send(self, bytes: &[u8]) -> bool {
        let mut uart = self.driver();
        if HAS_FIFO.load(Ordering::Relaxed) {
            uart.send_bytes_exact(bytes);
        } else {
            for byte in bytes {
                while uart.try_send_byte(*byte).is_err() {
                    core::hint::spin_loop();
                }
            }
        }
        !uart.backend().is_given_up
    }

    fn driver(self) -> Uart16550<Self> {
        // SAFETY: the place has all registers of a 16550, and this module alone drives them.
        unsafe { Uart16550::new_with_backend(self) }
    }

    /// Returns the transmitter's state, or that there is room in one that took too long.
    fn status(&mut self, status: u8) -> u8 {
        let ready = LSR::THR_EMPTY | LSR::TRANSMITTER_EMPTY;
        if LSR::from_bits_retain(status).contains(ready) {
            note_empty();
            self.wait = None;
            return status;
        }
        self.is_given_up |= self.wait.get_or_insert_with(|| Wait::begin(self.seconds)).is_over();
        if self.is_given_up { status | ready.bits() } else { status }
    }
}

impl Backend for Ns16550 {
    unsafe fn read(&mut self, register: u8) -> u8 {
        let value = match &self.place {
            #[cfg(target_arch = "x86_64")]
            Place::Ports(first) => arch::read_port8(first + u16::from(register)),
            Place::Memory { block, shift, width } => {
                let at = usize::from(register) << shift;
                match width {
                    Width::Byte => block.read8(at),
                    Width::Word => block.read32(at) as u8,
                }
            }
        };
        if usize::from(register) == offsets::LSR { self.status(value) } else { value }
    }

    unsafe fn write(&mut self, register: u8, value: u8) {
        if self.is_given_up {
            return;
        }
        if usize::from(register) == offsets::DATA {
            // It had room: the next wait is another one.
            self.wait = None;
        }
        match &mut self.place {
            #[cfg(target_arch = "x86_64")]
            Place::Ports(first) => arch::write_port8(*first + u16::from(register), value),
            Place::Memory { block, shift, width } => {
                let at = usize::from(register) << *shift;
                match width {
                    Width::Byte => block.write8(at, value),
                    Width::Word => block.write32(at, value.into()),
                }
            }
        }
    }
}

/// A PL011 (Arm DDI 0183, 3.2 and 3.3).
struct Pl011 {
    block: Registers,
    seconds: u64,
}

impl Pl011 {
    const DATA: usize = 0;
    const FLAGS: usize = 0x18;
    const RECEIVE_EMPTY: u32 = 1 << 4;
    const TRANSMIT_FULL: u32 = 1 << 5;
    const TRANSMIT_EMPTY: u32 = 1 << 7;
    /// Where the identification begins, a byte in each word: the part's number with the designer's,
    /// and the mark of a PrimeCell. Two words between them hold a revision.
    const ID: usize = 0xfe0;
    const PART: [u32; 2] = [0x11, 0x10];
    const CELL: [u32; 4] = [0x0d, 0xf0, 0x05, 0xb1];
    const BYTES: usize = 0x1000;

    /// Returns the one at a place, if something can be there.
    fn at(at: usize, seconds: u64) -> Option<Self> {
        // SAFETY: as in `Ns16550::at`.
        let block = unsafe { Registers::new(at, Self::BYTES) }?;
        Some(Self { block, seconds })
    }

    /// Returns whether there is one, and it has room.
    fn is_there(&self) -> bool {
        let byte = |index: usize| self.block.read32(Self::ID + 4 * index) & 0xff;
        [0, 1].map(byte) == Self::PART && [4, 5, 6, 7].map(byte) == Self::CELL && self.has_room()
    }

    /// Waits for room; whether there is some.
    fn has_room(&self) -> bool {
        let mut wait = None;
        loop {
            let flags = self.block.read32(Self::FLAGS);
            if flags & Self::TRANSMIT_EMPTY != 0 {
                note_empty();
            }
            if flags & Self::TRANSMIT_FULL == 0 {
                return true;
            }
            if wait.get_or_insert_with(|| Wait::begin(self.seconds)).is_over() {
                return false;
            }
            core::hint::spin_loop();
        }
    }

    /// Takes the byte that has come, if one has.
    fn receive(&self) -> Option<u8> {
        let has_come = self.block.read32(Self::FLAGS) & Self::RECEIVE_EMPTY == 0;
        has_come.then(|| (self.block.read32(Self::DATA) & 0xff) as u8)
    }

    /// Sends bytes; whether all of them were.
    fn send(mut self, bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| {
            let has_room = self.has_room();
            if has_room {
                self.block.write32(Self::DATA, (*byte).into());
            }
            has_room
        })
    }
}
