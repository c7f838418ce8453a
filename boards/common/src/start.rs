//! From the architecture's entry to the board's main.
//!
//! Always: memory, console and log work before main starts, and the clock runs before the first
//! device is touched.

use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::ops::Range;

use virtio_drivers::transport::Transport;

use crate::acpi;
use crate::arch::{self, Calibration, Kind};
use crate::board::{self, Board, Bus};
use crate::cmdline::CommandLine;
use crate::console::{ErrorOutput, Output};
use crate::pci::{Access, Window};
use crate::ram::Ram;
use crate::storage::{Processor, VirtioStorage};
use crate::text::Message;
use crate::verdict::{self, Ending};
use crate::virtio::any::Any;
use crate::virtio::mmio::{BLOCK_BYTES, Mmio};
use crate::virtio::pci::Pci;
use crate::virtio::{Found, Place, Slot};
use crate::{clock, cmdline, console, entropy, heap, pci, serial};

unsafe extern "C" {
    /// The first byte after the image; the linker script defines it.
    safe static __image_end: u8;
}

/// Returns the address of the first byte after the image.
pub(crate) fn image_end() -> u64 {
    (&raw const __image_end).addr() as u64
}

/// What the architecture knows at entry.
pub(crate) struct Boot {
    pub(crate) cmdline: CommandLine,
    pub(crate) ram: Ram,
    /// The lowest address that the heap may have.
    pub(crate) free_from: u64,
    /// RAM from here on is mapped with tables that lie in RAM below.
    pub(crate) split: u64,
    pub(crate) clock: Calibration,
    /// What ACPI's tables say, and what is wrong with them.
    pub(crate) acpi: acpi::Facts,
    /// Where the monitor has its number of the machine's generation.
    pub(crate) generation: Option<u64>,
}

/// The machine as the board's main finds it.
pub struct Machine {
    /// The board.
    pub board: &'static Board,
    /// The kernel command line.
    pub cmdline: &'static str,
    /// Standard output.
    pub out: Output,
    /// Standard error.
    pub err: ErrorOutput,
    ram: Ram,
    clock: Calibration,
    acpi: acpi::Facts,
}

impl Machine {
    /// Starts every disk and share that the board has. A device that cannot be used is reported
    /// to `problem` and passed over. Called once: a second call finds the devices in use and would
    /// take them from the first.
    pub fn storage(&mut self, mut problem: impl FnMut(&dyn fmt::Display)) -> VirtioStorage<Any> {
        self.acpi.faults.iter().for_each(|fault| problem(fault));
        if self.acpi.other_segments > 0 {
            let segments = self.acpi.other_segments;
            problem(&format_args!("PCI: segments beyond the first are not looked at: {segments}"));
        }
        // Here, because by now the samples are mostly so far apart that none has to be waited for.
        if let Err(unknown) = clock::calibrate(&self.clock) {
            refuse(&unknown);
        }
        let mut storage = VirtioStorage::new(Processor {
            now_ns: clock::now_ns,
            forget_translations: if arch::is_emulated() {
                arch::forget_translations
            } else {
                || {}
            },
            nap: arch::nap,
            unique: entropy::unique,
            tell,
            give_up: |why| {
                tell(format_args!("error   {why}"));
                let mut text = Message::new();
                // A text that is too long is cut.
                let _ = write!(text, "{why}");
                verdict::finish(Ending::Failed, text.as_str())
            },
        });
        let ram = &self.ram;
        let mut found = Finder { storage: &mut storage, ram, problem: &mut problem };
        for bus in self.board.buses {
            match bus {
                Bus::Mmio { base, stride, count } => {
                    if !self.named(&mut found) {
                        (0..*count).for_each(|slot| found.mmio(base + slot * stride, false));
                    }
                }
                #[cfg(target_arch = "x86_64")]
                Bus::Pci { access, window } => {
                    found.pci(self.configuration().unwrap_or(*access), *window, false);
                }
                #[cfg(not(target_arch = "x86_64"))]
                Bus::Tree => found.tree(),
            }
        }
        storage
    }

    /// Returns the way to PCI's configuration that ACPI names.
    #[cfg(target_arch = "x86_64")]
    fn configuration(&self) -> Option<Access> {
        let acpi::Ecam { base, buses } = self.acpi.ecam?;
        Some(Access::Memory { base: usize::try_from(base).ok()?, buses })
    }

    /// Takes the devices that the command line names; the answer is whether there was one.
    fn named(&self, found: &mut Finder<'_>) -> bool {
        let mut taken: Vec<usize> = Vec::new();
        for place in cmdline::virtio_mmio(self.cmdline) {
            match place {
                // Monitors name each once, upward or downward; a line that names one twice must not
                // start it twice.
                Ok(place) if taken.contains(&place) => {}
                Ok(place) => {
                    found.mmio(place, true);
                    taken.push(place);
                }
                Err(word) => (found.problem)(&format_args!(
                    "command line: \"{word}\" names no virtio device: it is not SIZE@ADDRESS:IRQ"
                )),
            }
        }
        !taken.is_empty()
    }
}

/// Sends a line; the console does not fail.
fn tell(line: fmt::Arguments<'_>) {
    let _ = embedded_io::Write::write_fmt(&mut ErrorOutput, format_args!("{line}\n"));
}

/// Starts the devices that it is shown.
struct Finder<'f> {
    storage: &'f mut VirtioStorage<Any>,
    ram: &'f Ram,
    problem: &'f mut dyn FnMut(&dyn fmt::Display),
}

impl Finder<'_> {
    /// Looks at a block of registers, which is surely there or shows by its magic.
    fn mmio(&mut self, at: usize, surely: bool) {
        let place = Place::Address(at as u64);
        if !block(at).is_some_and(|block| self.reaches(&block)) {
            return (self.problem)(&format_args!(
                "virtio device at {place}: its registers cannot be reached, or lie in memory"
            ));
        }
        // SAFETY: the place is the board's, its device tree's or the loader's, and no RAM; it is
        // mapped uncached, and looked at once.
        match unsafe { Mmio::probe(at) } {
            Slot::Absent if surely => (self.problem)(&format_args!(
                "virtio device at {place}: nothing there answers as one"
            )),
            slot => self.take(slot, place),
        }
    }

    /// Looks at all devices of a PCI host, which is surely there or shows by its bridge.
    fn pci(&mut self, access: Access, window: Window, surely: bool) {
        let range = match access.range() {
            None => None,
            Some(Ok(range)) if self.reaches(&range) => Some(range),
            Some(Ok(Range { start, end })) => {
                return (self.problem)(&format_args!(
                    "PCI: its configuration from {start:#x} to {end:#x} cannot be reached, or lies \
                     in memory"
                ));
            }
            Some(Err(beyond)) => {
                return (self.problem)(&format_args!("PCI: its configuration: {beyond}"));
            }
        };
        // SAFETY: the board, its device tree or firmware says what the host is, its memory is
        // mapped uncached, and each host is looked at once.
        let mut bus = unsafe { pci::Bus::new(access, window, is_mapped) };
        if let Some(range) = range {
            bus.keep(range);
        }
        if !surely && !bus.has_bridge() {
            return;
        }
        bus.each(&mut |bus, at| {
            // SAFETY: each function is looked at once.
            let slot = unsafe { Pci::probe(bus, at) };
            self.take(slot, Place::Pci(at.bus, at.device, at.function));
        });
    }

    /// Returns whether registers can be reached there, and no memory.
    fn reaches(&self, range: &Range<u64>) -> bool {
        !self.ram.overlaps(range) && is_mapped(range)
    }

    /// Looks at everything that the device tree names.
    #[cfg(not(target_arch = "x86_64"))]
    fn tree(&mut self) {
        let Some(tree) = crate::device_tree::get() else { return };
        tree.virtio_mmio.iter().for_each(|&at| self.mmio(at, true));
        for host in &tree.pci {
            self.pci(host.access, host.window, true);
        }
    }

    fn take<T: Transport>(&mut self, slot: Slot<T>, place: Place)
    where
        Found<Any>: From<Found<T>>,
    {
        match slot {
            Slot::Absent | Slot::Empty | Slot::Other(_) => {}
            Slot::Legacy => (self.problem)(&format_args!(
                "virtio device at {place} has only the layout before virtio 1.0; with QEMU, \
                 disable-modern=off gives the modern one"
            )),
            Slot::Unknown(version) => {
                (self.problem)(&format_args!("virtio device at {place} has layout {version}"));
            }
            Slot::Broken(error) => {
                (self.problem)(&format_args!("virtio device at {place}: {error}"));
            }
            Slot::Device(found) => {
                if let Err(unusable) = self.storage.add(found.into()) {
                    (self.problem)(&unusable);
                }
            }
        }
    }
}

/// Returns the block of registers at `at`; `None` if it ends beyond all addresses.
fn block(at: usize) -> Option<Range<u64>> {
    Some(at as u64..at.checked_add(BLOCK_BYTES)? as u64)
}

/// Maps registers; whether that can be.
fn is_mapped(range: &Range<u64>) -> bool {
    arch::map(range, Kind::Registers).is_some()
}

/// Brings the machine up, runs the board's main and ends the machine.
pub(crate) fn run(boot: Boot) -> ! {
    let absent = serial::init(boot.cmdline.text, &boot.ram);
    clock::begin(&boot.clock);
    console::choose(cmdline::console(boot.cmdline.text));
    #[cfg(not(target_arch = "x86_64"))]
    if let Some(tree) = crate::device_tree::get() {
        tree.told.each(tell);
    }
    if let Some(port) = absent {
        tell(format_args!("console: no port answers at {port}, this is the usual one"));
    }
    let Some(free) = boot.ram.free(boot.free_from, boot.split) else {
        refuse(&"memory: its map has more ranges than there is room for");
    };
    for piece in &free {
        if arch::map(piece, Kind::Ram).is_none() {
            let Range { start, end } = piece;
            tell(format_args!(
                "memory: {start:#x} to {end:#x} cannot be mapped beside registers, or within what \
                 the processor reaches; it is not used"
            ));
            continue;
        }
        // SAFETY: the range is RAM after the image that no loader's structure lies in, mapped to
        // itself, and given once.
        unsafe { heap::add(piece.start as usize..piece.end as usize) };
    }
    #[cfg(target_arch = "x86_64")]
    if boot.acpi.power_off.is_some_and(|power_off| arch::by_acpi(power_off).is_none()) {
        tell(format_args!("ACPI: the register that switches the machine off cannot be reached"));
    }
    // The first line that everyone sees comes with the mount.
    let heap_bytes = heap::usage().total as u64;
    defmt::debug!("{=str} up: {=u64} bytes of heap", board::BOARD.name, heap_bytes);
    if let Some(at) = boot.generation {
        entropy::by_monitor(at as usize);
        defmt::info!("the machine's generation is at {=u64:#x}", at);
    }
    if let Some(fault) = boot.cmdline.fault {
        refuse(&fault);
    }
    let machine = Machine {
        board: &board::BOARD,
        cmdline: boot.cmdline.text,
        out: Output,
        err: ErrorOutput,
        ram: boot.ram,
        clock: boot.clock,
        acpi: boot.acpi,
    };
    let ending = board::main(machine);
    verdict::finish(ending, "")
}

/// Ends a machine that cannot be brought up.
pub(crate) fn refuse(why: &dyn fmt::Display) -> ! {
    verdict::emergency(Ending::Failed, |message| write!(message, "{why:#}"))
}
