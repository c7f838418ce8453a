//! What one board says about itself.
//!
//! Always: a board is a constant and a `main`; [`main!`](crate::main!) ties both to the entry.
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
    /// The board's constant; `main!` defines it.
    #[link_name = "rootlet_board"]
    pub(crate) safe static BOARD: Board;
    /// Runs the board's main; `main!` defines it.
    #[link_name = "rootlet_main"]
    pub(crate) safe fn main(machine: Machine) -> Ending;
}

/// The board of an application that names none. On x86 one image serves every machine that starts
/// PVH kernels: microvm and q35 of QEMU, Firecracker, Cloud Hypervisor.
#[cfg(target_arch = "x86_64")]
pub const USUAL: Board = Board {
    name: "pc",
    console: Serial::Port(0x3f8),
    log: Log::Port(0xe9),
    buses: &[
        // Where microvm has its slots; with `acpi=off` it also names the ones in use.
        Bus::Mmio { base: 0xfeb0_0000, stride: 512, count: 24 },
        // Where ACPI names no other place: microvm with `pcie=on` (QEMU, hw/i386/microvm.c), whose
        // firmware gives no addresses.
        Bus::Pci {
            access: Access::Memory { base: 0xe000_0000, buses: 256 },
            window: Window::new(0xc000_0000, 0xe000_0000),
        },
    ],
};

/// The board of an application that names none: QEMU's virt, and whatever passes a device tree.
#[cfg(target_arch = "aarch64")]
pub const USUAL: Board = Board {
    name: "virt-aarch64",
    // Until the device tree names another.
    console: Serial::Pl011(0x0900_0000),
    log: Log::Semihosting,
    buses: &[Bus::Tree],
    tree: 0x4000_0000,
};

/// The board of an application that names none: QEMU's virt, and whatever passes a device tree.
#[cfg(target_arch = "riscv64")]
pub const USUAL: Board = Board {
    name: "virt-riscv64",
    // Until the device tree names another.
    console: Serial::bytes(0x1000_0000),
    log: Log::Semihosting,
    buses: &[Bus::Tree],
    tree: 0,
};

/// Makes an image of an application: a function that takes an [`App`](crate::App) and returns what
/// [`Status`](crate::Status) is for.
///
/// Without a [`Board`](crate::Board) before the application the image is for [`USUAL`]. After
/// `machine:` stands a `fn(Machine) -> Ending` instead, which mounts for itself.
#[macro_export]
macro_rules! main {
    ($board:expr, machine: $main:path) => {
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
    ($board:expr, $app:path) => {
        const _: () = {
            fn rootlet_app(machine: $crate::Machine) -> $crate::verdict::Ending {
                $crate::app::run(machine, $app)
            }
    $crate::main!($board, machine: rootlet_app);
        };
    };
    ($app:path) => {
        $crate::main!($crate::board::USUAL, $app);
    };
}
