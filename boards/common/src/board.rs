//! What one board says about itself.
//!
//! Always: a board is a constant and a `main`; [`board!`](crate::board!) ties both to the entry.

use crate::start::Machine;
use crate::verdict::Ending;

/// What differs between boards of one architecture.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// The name, for messages.
    pub name: &'static str,
    /// Where virtio devices are found.
    pub virtio: Bus,
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
            #[unsafe(export_name = "rootlet_board")]
            static BOARD: $crate::Board = $board;

            #[unsafe(export_name = "rootlet_main")]
            fn main(machine: $crate::Machine) -> $crate::verdict::Ending {
                $main(machine)
            }
        };
    };
}
