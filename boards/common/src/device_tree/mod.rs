//! The device tree that the loader passed, read once at entry.
//!
//! Always: what is kept is copied before the heap exists, so that the tree may lie anywhere.

mod devices;
mod node;
pub mod parse;
#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges may have one")]
mod tests;
mod told;

pub use devices::{Conduit, Gic};
#[cfg(all(target_os = "none", not(target_arch = "x86_64")))]
pub use on_board::{Refused, Tree, get, read};
pub use told::Told;

#[cfg(all(target_os = "none", not(target_arch = "x86_64")))]
mod on_board {
    use core::fmt;
    use core::ptr::with_exposed_provenance;

    use heapless::Vec;
    use rootlet_handover::tree::Blob;
    use spin::{Mutex, MutexGuard, Once};

    use super::parse::{self, Distrust, Parsed};
    use super::{Conduit, Gic, Told};
    use crate::arch;
    use crate::board::{self, Serial};
    use crate::cmdline::{self, CommandLine};
    use crate::pci::Host;
    use crate::ram::Ram;

    /// What the rest of a run needs of the tree.
    pub struct Tree {
        /// All of it, in memory that nobody else gets: a kernel that is started here gets a copy.
        pub bytes: &'static [u8],
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
        /// How to switch off, and to start processors.
        pub psci: Option<Conduit>,
        /// Processors that firmware starts, by their affinity or hart.
        pub processors: Vec<u64, 2>,
        /// The interrupt controller of an Arm machine.
        pub gic: Option<Gic>,
        /// Ticks a second of the counter.
        pub timebase_hz: Option<u64>,
        /// What is known and cannot be used.
        pub told: Told,
        /// Random bits from firmware; 0 where there are none.
        pub seed: [u64; 2],
        /// The address of the machine's generation.
        pub generation: Option<u64>,
    }

    /// Filled in place: it is large, and moved piece by piece.
    static ROOM: Mutex<Tree> = Mutex::new(Tree {
        bytes: &[],
        cmdline: CommandLine { text: "", fault: None },
        ram: Ram::new(),
        virtio_mmio: Vec::new(),
        pci: Vec::new(),
        console: None,
        ports: Vec::new(),
        test_device: None,
        psci: None,
        processors: Vec::new(),
        gic: None,
        timebase_hz: None,
        told: Told::new(),
        seed: [0; 2],
        generation: None,
    });
    static TREE: Once<&Tree> = Once::new();

    /// Returns the tree, once it has been read.
    pub fn get() -> Option<&'static Tree> {
        TREE.get().copied()
    }

    /// Why there is no tree, without which nothing is known of memory.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Refused {
        /// The loader passed none, and the board has no place for it.
        Absent,
        /// It ends beyond what is mapped.
        Beyond {
            /// Where it is.
            at: usize,
        },
        /// It is none, or a broken one.
        Broken {
            /// Where it is.
            at: usize,
            /// What is wrong with it.
            fault: Distrust,
        },
    }

    impl fmt::Display for Refused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Absent => f.write_str("device tree: the loader passed none"),
                Self::Beyond { at } => write!(f, "device tree at {at:#x}: it cannot be reached"),
                Self::Broken { at, fault } => write!(f, "device tree at {at:#x}: {fault}"),
            }
        }
    }

    /// Reads the tree at `passed`, or where the board has it if the loader passed none.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub fn read(passed: usize) -> Result<&'static Tree, Refused> {
        let at = if passed == 0 { board::BOARD.tree } else { passed };
        if at == 0 {
            return Err(Refused::Absent);
        }
        let broken = |fault: Distrust| Refused::Broken { at, fault };
        // SAFETY: by the boot protocol, or by what the board says of a machine without it, the
        // tree is there; nothing has been allocated that could overwrite it.
        let first = unsafe { bytes_at(at, size_of::<[u8; 8]>()) }.ok_or(Refused::Beyond { at })?;
        let first = first.first_chunk().expect("as long as was asked");
        let bytes = Blob::bytes_of(first).map_err(|fault| broken(fault.into()))?;
        // SAFETY: as above; it says itself how long it is.
        let blob = unsafe { bytes_at(at, bytes) }.ok_or(Refused::Beyond { at })?;
        let tree = Blob::new(blob).map_err(Distrust::from);
        let parsed = tree.and_then(|tree| parse::parse(tree, arch::REACH));
        let room = MutexGuard::leak(ROOM.try_lock().expect("a tree is read once"));
        keep(parsed.map_err(broken)?, room);
        room.bytes = blob;
        room.ram.take(at as u64..at as u64 + bytes as u64);
        Ok(TREE.call_once(|| room))
    }

    /// Returns `len` bytes of memory, if they can be reached.
    ///
    /// # Safety
    ///
    /// They are there, and nobody writes them.
    unsafe fn bytes_at(at: usize, len: usize) -> Option<&'static [u8]> {
        at.checked_add(len).filter(|end| *end as u64 <= arch::REACH)?;
        // SAFETY: all that is below the reach is mapped, and the caller promises the rest.
        Some(unsafe { core::slice::from_raw_parts(with_exposed_provenance(at), len) })
    }

    fn keep(parsed: Parsed<'_>, room: &mut Tree) {
        room.cmdline = cmdline::keep(parsed.bootargs);
        room.console = parsed.console;
        room.ports = parsed.ports;
        room.test_device = parsed.test_device;
        room.ram = parsed.ram;
        room.virtio_mmio = parsed.virtio_mmio;
        room.pci = parsed.pci;
        room.psci = parsed.psci;
        room.processors = parsed.processors;
        room.gic = parsed.gic;
        room.timebase_hz = parsed.timebase_hz;
        room.told = parsed.told;
        room.seed = parsed.seed;
        room.generation = parsed.generation;
    }
}
