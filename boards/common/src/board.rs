//! What one board says about itself.
//!
//! Always: a board is a constant and a `main`; [`board!`](crate::board!) ties both to the entry.
//! Everything that differs between boards of one architecture is in the constant, so that a
//! board's own file shows all of it.

use crate::pci::Host;
use crate::start::Machine;
use crate::verdict::Ending;

/// What differs between boards.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// The name, for messages.
    pub name: &'static str,
    /// The text console.
    pub console: Serial,
    /// The channel of the log.
    pub log: Log,
    /// How the machine ends.
    pub exit: Exit,
    /// Where virtio devices are found; all of these are looked at.
    pub buses: &'static [Bus],
    /// Where the device tree is if the loader passes none, as QEMU does that loads an ELF.
    #[cfg(not(target_arch = "x86_64"))]
    pub tree: usize,
}

/// A serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serial {
    /// A 16550 at I/O ports from this one on.
    #[cfg(target_arch = "x86_64")]
    Port(u16),
    /// A 16550 with registers of one byte from this address on.
    Ns16550(usize),
    /// Arm's PL011 at this address.
    Pl011(usize),
}

/// A channel for the log, apart from the console.
#[derive(Clone, Copy, Debug)]
pub enum Log {
    /// A port that takes bytes (isa-debugcon).
    #[cfg(target_arch = "x86_64")]
    Port(u16),
    /// The console of a semihosting host; none where nobody answers.
    #[cfg(not(target_arch = "x86_64"))]
    Semihosting,
}

/// What ends the machine with a status.
#[derive(Clone, Copy, Debug)]
pub enum Exit {
    /// A port: a write of v ends QEMU with status `v << 1 | 1` (isa-debug-exit).
    #[cfg(target_arch = "x86_64")]
    Port(u16),
    /// A call to a semihosting host; without one the firmware switches off, with status 0.
    #[cfg(target_arch = "aarch64")]
    Semihosting,
    /// SiFive's test device at this address; without one the firmware switches off, with status 0.
    #[cfg(target_arch = "riscv64")]
    Test(usize),
}

/// A way to find virtio devices.
#[derive(Clone, Copy, Debug)]
pub enum Bus {
    /// Register blocks at fixed places (virtio 1.2, 4.2). Places named by `virtio_mmio.device=`
    /// on the command line come instead of these.
    Mmio {
        /// Address of the first block.
        base: usize,
        /// Bytes from one block to the next.
        stride: usize,
        /// How many blocks there may be.
        count: usize,
    },
    /// PCI with a host bridge at a fixed place.
    Pci(Host),
    /// The same on a machine that may be without: then the bus's first function, which is that of
    /// the bridge itself, reads as nothing, and no other is looked for.
    MaybePci(Host),
    /// What the device tree names: virtio-mmio and PCI.
    #[cfg(not(target_arch = "x86_64"))]
    Tree,
}

unsafe extern "Rust" {
    /// The board's constant; `board!` defines it.
    #[link_name = "rootlet_board"]
    pub(crate) safe static BOARD: Board;
    /// The board's main; `board!` defines it.
    #[link_name = "rootlet_main"]
    pub(crate) safe fn main(machine: Machine) -> Ending;
}

/// Makes `$board`, a [`Board`](crate::Board), and `$main`, a `fn(Machine) -> Ending`, this image's.
#[macro_export]
macro_rules! board {
    ($board:expr, $main:path) => {
        const _: () = {
            // Names that the caller's own `BOARD` and `main` are not mistaken for.
            #[unsafe(export_name = "rootlet_board")]
            static ROOTLET_BOARD: $crate::Board = $board;

            #[unsafe(export_name = "rootlet_main")]
            fn rootlet_main(machine: $crate::Machine) -> $crate::verdict::Ending {
                $main(machine)
            }
        };
    };
}
