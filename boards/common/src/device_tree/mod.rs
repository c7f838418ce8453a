//! The device tree that the loader passed, read once at entry.
//!
//! Always: what is kept is copied before the heap exists, so that the tree may lie anywhere.

pub mod blob;
mod node;
pub mod parse;
#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges may have one")]
mod tests;

#[cfg(all(target_os = "none", not(target_arch = "x86_64")))]
pub use on_board::{Tree, get, read};
pub use parse::{Conduit, Gic};

#[cfg(all(target_os = "none", not(target_arch = "x86_64")))]
mod on_board {
    use core::ptr::with_exposed_provenance;

    use heapless::Vec;
    use spin::{Mutex, MutexGuard, Once};

    use super::blob::{Blob, Fault};
    use super::parse::{self, Conduit, Gic};
    use crate::board::{self, Serial};
    use crate::cmdline::{self, CommandLine};
    use crate::pci::Host;
    use crate::ram::Ram;

    /// What the rest of a run needs of the tree.
    pub struct Tree {
        /// The kernel command line.
        pub cmdline: CommandLine,
        /// RAM.
        pub ram: Ram,
        /// Register blocks of virtio devices.
        pub virtio_mmio: Vec<usize, 64>,
        /// PCI hosts.
        pub pci: Vec<Host, 4>,
        /// The console.
        pub console: Option<Serial>,
        /// Serial ports.
        pub ports: Vec<Serial, 8>,
        /// SiFive's test device.
        pub test_device: Option<usize>,
        /// How to switch off.
        pub psci: Option<Conduit>,
        /// The interrupt controller of an Arm machine.
        pub gic: Option<Gic>,
        /// Ticks a second of the counter.
        pub timebase_hz: Option<u64>,
    }

    /// Filled in place: it is large, and moved piece by piece.
    static ROOM: Mutex<Tree> = Mutex::new(Tree {
        cmdline: CommandLine { text: "", fault: None },
        ram: Ram::new(),
        virtio_mmio: Vec::new(),
        pci: Vec::new(),
        console: None,
        ports: Vec::new(),
        test_device: None,
        psci: None,
        gic: None,
        timebase_hz: None,
    });
    static TREE: Once<&Tree> = Once::new();

    /// The tree, once it has been read.
    pub fn get() -> Option<&'static Tree> {
        TREE.get().copied()
    }

    /// Reads the tree at `passed`, or where the board has it if the loader passed none.
    ///
    /// # Panics
    ///
    /// If there is none: then nothing is known of memory.
    pub fn read(passed: usize) -> &'static Tree {
        let at = if passed == 0 { board::BOARD.tree } else { passed };
        let refused = |fault: Fault| -> ! { panic!("device tree at {at:#x}: {fault}") };
        // SAFETY: by the boot protocol, or by what the board says of a machine without it, the
        // tree is there; nothing has been allocated that could overwrite it.
        let first = unsafe { &*with_exposed_provenance::<[u8; 8]>(at) };
        let bytes = Blob::bytes_of(first).unwrap_or_else(|fault| refused(fault));
        // SAFETY: as above; it says itself how long it is.
        let blob = unsafe { core::slice::from_raw_parts(with_exposed_provenance(at), bytes) };
        let tree = Blob::new(blob).unwrap_or_else(|fault| refused(fault));
        let room = MutexGuard::leak(ROOM.try_lock().expect("a tree is read once"));
        keep(tree, room);
        TREE.call_once(|| room)
    }

    fn keep(tree: Blob<'_>, room: &mut Tree) {
        let parsed = parse::parse(tree, crate::arch::REACH);
        room.cmdline = cmdline::keep(parsed.bootargs);
        room.console = parsed.console;
        room.ports = parsed.ports;
        room.test_device = parsed.test_device;
        room.ram = parsed.ram;
        room.virtio_mmio = parsed.virtio_mmio;
        room.pci = parsed.pci;
        room.psci = parsed.psci;
        room.gic = parsed.gic;
        room.timebase_hz = parsed.timebase_hz;
    }
}
