//! The device tree that the loader passed, read once at entry.
//!
//! Always: what is kept is copied before the heap exists, so that the tree may lie anywhere.

pub mod parse;
#[cfg(test)]
mod tests;

#[cfg(all(target_os = "none", not(target_arch = "x86_64")))]
pub use on_board::{Tree, get, read};
pub use parse::Conduit;

#[cfg(all(target_os = "none", not(target_arch = "x86_64")))]
mod on_board {
    use core::ops::Range;
    use core::ptr::with_exposed_provenance;

    use dtoolkit::fdt::Fdt;
    use heapless::Vec;
    use spin::Once;

    use super::parse::{self, Conduit, Port};
    use crate::board::{self, Serial};
    use crate::cmdline::{self, CommandLine};
    use crate::pci::Host;

    unsafe extern "C" {
        /// The first byte behind the image; the linker script defines it.
        safe static __image_end: u8;
    }

    /// What the rest of a run needs of the tree.
    pub struct Tree {
        /// The kernel command line.
        pub cmdline: CommandLine,
        /// RAM.
        pub ram: Vec<Range<u64>, 8>,
        /// What the heap may have.
        pub heap: Range<usize>,
        /// Register blocks of virtio devices.
        pub virtio_mmio: Vec<usize, 64>,
        /// PCI hosts.
        pub pci: Vec<Host, 4>,
        /// The console.
        pub console: Option<Serial>,
        /// How to switch off.
        pub psci: Option<Conduit>,
        /// Ticks a second of the counter.
        pub timebase_hz: Option<u64>,
    }

    static TREE: Once<Tree> = Once::new();

    /// The tree, once it has been read.
    pub fn get() -> Option<&'static Tree> {
        TREE.get()
    }

    /// Reads the tree at `passed`, or where the board has it if the loader passed none.
    ///
    /// # Panics
    ///
    /// If there is none: then nothing is known of memory.
    pub fn read(passed: usize) -> &'static Tree {
        let at = if passed == 0 { board::BOARD.tree } else { passed };
        // SAFETY: by the boot protocol, or by what the board says of a machine without it, the
        // tree is there; nothing has been allocated that could overwrite it.
        let blob = unsafe { Fdt::from_raw_unchecked(with_exposed_provenance(at)) }.data();
        let tree =
            parse::check(blob).unwrap_or_else(|error| panic!("device tree at {at:#x}: {error}"));
        TREE.call_once(|| keep(tree))
    }

    fn keep(tree: Fdt<'_>) -> Tree {
        let parsed = parse::parse(tree, crate::arch::REACH);
        let heap = parsed.heap((&raw const __image_end).addr() as u64);
        Tree {
            cmdline: cmdline::keep(parsed.bootargs),
            heap: heap.start as usize..heap.end as usize,
            console: parsed.console.map(|port| match port {
                Port::Ns16550(at) => Serial::Ns16550(at),
                Port::Pl011(at) => Serial::Pl011(at),
            }),
            ram: parsed.ram,
            virtio_mmio: parsed.virtio_mmio,
            pci: parsed.pci,
            psci: parsed.psci,
            timebase_hz: parsed.timebase_hz,
        }
    }
}
