//! What one board says about itself.
//!
//! Always: a board is a constant and a `main`; [`board!`](crate::board!) ties both to the entry.
//! Everything that differs between boards of one architecture is in the constant, so that a
//! board's own file shows all of it.

#[cfg(target_arch = "x86_64")]
use crate::pci::{Access, Window};
use crate::start::Machine;
pub use crate::uart::Serial;
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
    /// Where virtio devices are found; all of these are looked at.
    pub buses: &'static [Bus],
    /// Where the device tree is if the loader passes none, as QEMU does that loads an ELF.
    #[cfg(not(target_arch = "x86_64"))]
    pub tree: usize,
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

/// A way to find virtio devices.
#[derive(Clone, Copy, Debug)]
pub enum Bus {
    /// Register blocks at fixed places (virtio 1.2, 4.2), on x86 alone. Places named by
    /// `virtio_mmio.device=` on the command line come instead of these.
    ///
    /// A look at one of them harms no machine that has none there: on x86 a read that nobody answers
    /// brings ones and no fault, the blocks are mapped as registers and lie in no RAM, and a block
    /// without virtio's magic is read once, at its first word, and written never.
    Mmio {
        /// Address of the first block.
        base: usize,
        /// Bytes from one block to the next.
        stride: usize,
        /// How many blocks there may be.
        count: usize,
    },
    /// PCI, if its first function is there, which is that of the bridge itself.
    #[cfg(target_arch = "x86_64")]
    Pci {
        /// The way to its configuration where ACPI names none.
        access: Access,
        /// Addresses for devices that have none yet.
        window: Window,
    },
    /// What the device tree names: virtio-mmio and PCI.
    #[cfg(not(target_arch = "x86_64"))]
    Tree,
}

unsafe extern "Rust" {
    /// The board's constant; `board!` defines it.
    #[link_name = "rootlet_board"]
    pub(crate) safe static BOARD: Board;
    /// Runs the board's main; `board!` defines it.
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
