//! From the architecture's entry to the board's main.
//!
//! Always: memory, console and log work before main starts, and the clock runs before the first
//! device is touched.

use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::ops::Range;

use virtio_drivers::transport::Transport;

use crate::arch::{self, Calibration};
use crate::board::{self, Board, Bus};
use crate::cmdline::CommandLine;
use crate::console::{ErrorOutput, Output};
use crate::pci::Host;
use crate::storage::{Processor, VirtioStorage};
use crate::verdict::{self, Ending, Message};
use crate::virtio::any::Any;
use crate::virtio::mmio::Mmio;
use crate::virtio::pci::Pci;
use crate::virtio::{Found, Place, Slot};
use crate::{clock, cmdline, console, heap, pci, serial};

/// What the architecture knows at entry.
pub(crate) struct Boot {
    pub(crate) cmdline: CommandLine,
    pub(crate) heap: Range<usize>,
    pub(crate) clock: Calibration,
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
    /// Where RAM ends; no device registers lie below.
    ram_end: usize,
    clock: Calibration,
}

impl Machine {
    /// Starts every disk and share that the board has. A device that cannot be used is told to
    /// `problem` and passed over. Called once: a second call finds the devices in use and would
    /// take them from the first.
    pub fn storage(&mut self, mut problem: impl FnMut(&dyn fmt::Display)) -> VirtioStorage<Any> {
        // Here, because by now the samples are mostly so far apart that none has to be waited for.
        clock::calibrate(&self.clock);
        let mut storage = VirtioStorage::new(Processor {
            now_ns: clock::now_ns,
            forget_translations: arch::forget_translations,
            nap: arch::nap,
            tell,
            give_up: |why| {
                tell(format_args!("error   {why}"));
                let mut text = Message::new();
                // A text that is too long is cut.
                let _ = write!(text, "{why}");
                verdict::finish(Ending::Failed, text.as_bytes())
            },
        });
        let mut found = Finder { storage: &mut storage, problem: &mut problem };
        for bus in self.board.buses {
            match bus {
                Bus::Mmio { base, stride, count } => {
                    if !self.named(&mut found) {
                        (0..*count).for_each(|slot| found.mmio(base + slot * stride));
                    }
                }
                Bus::Pci(host) => found.pci(host, true),
                Bus::MaybePci(host) => found.pci(host, false),
                #[cfg(not(target_arch = "x86_64"))]
                Bus::Tree => found.tree(),
            }
        }
        storage
    }

    /// Takes the devices that the command line names; the answer is whether there was one.
    fn named(&self, found: &mut Finder<'_>) -> bool {
        let mut taken: Vec<usize> = Vec::new();
        for place in cmdline::virtio_mmio(self.cmdline).filter_map(|at| usize::try_from(at).ok()) {
            // Monitors name each once, upward or downward; a line that names one twice must not
            // start it twice.
            if place >= self.ram_end && !taken.contains(&place) {
                found.mmio(place);
                taken.push(place);
            }
        }
        !taken.is_empty()
    }
}

/// Sends a line; the console does not fail.
fn tell(line: fmt::Arguments<'_>) {
    let _ = embedded_io::Write::write_fmt(&mut ErrorOutput, format_args!("{line}\n"));
}

/// Starts what it is shown.
struct Finder<'f> {
    storage: &'f mut VirtioStorage<Any>,
    problem: &'f mut dyn FnMut(&dyn fmt::Display),
}

impl Finder<'_> {
    /// Looks at a block of registers.
    fn mmio(&mut self, at: usize) {
        // SAFETY: the place is the board's or its device tree's, or the loader named it and it is
        // no RAM; all are device space, mapped uncached, and each is looked at once.
        let slot = unsafe { Mmio::probe(at) };
        self.take(slot, Place::Address(at as u64));
    }

    /// Looks at all devices of a PCI host, which is surely there or shows by its bridge.
    fn pci(&mut self, host: &Host, surely: bool) {
        // SAFETY: the board or its device tree says what the host is, its memory is mapped
        // uncached, and each host is looked at once.
        let mut bus = unsafe { pci::Bus::new(host.access, host.window, host.reach) };
        if !surely && !bus.has_bridge() {
            return;
        }
        bus.each(&mut |bus, at| {
            // SAFETY: each function is looked at once.
            let slot = unsafe { Pci::probe(bus, at) };
            self.take(slot, Place::Pci(at.bus, at.device, at.function));
        });
    }

    /// Looks at everything that the device tree names.
    #[cfg(not(target_arch = "x86_64"))]
    fn tree(&mut self) {
        let Some(tree) = crate::device_tree::get() else { return };
        tree.virtio_mmio.iter().for_each(|&at| self.mmio(at));
        tree.pci.iter().for_each(|host| self.pci(host, true));
    }

    fn take<T: Transport>(&mut self, slot: Slot<T>, place: Place)
    where
        Found<Any>: From<Found<T>>,
    {
        match slot {
            Slot::Empty | Slot::Other(_) => {}
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

/// Brings the machine up, runs the board's main and ends the machine.
pub(crate) fn run(boot: Boot) -> ! {
    serial::init();
    clock::begin(&boot.clock);
    console::choose(cmdline::console(boot.cmdline.text));
    let ram_end = boot.heap.end;
    // SAFETY: the range is RAM behind the image that no loader's structure lies in, mapped to
    // itself, and this is the only call.
    unsafe { heap::init(boot.heap) };
    // The first line that everyone sees comes with the mount: an emulator takes longer to send one
    // for the first time than a device takes to answer.
    defmt::debug!("{=str} up: {=usize} bytes of heap", board::BOARD.name, heap::usage().total);
    if let Some(fault) = boot.cmdline.fault {
        let mut text = Message::new();
        // A text that is too long is cut.
        let _ = write!(text, "{fault}");
        verdict::emergency(Ending::Failed, text.as_bytes());
    }
    let machine = Machine {
        board: &board::BOARD,
        cmdline: boot.cmdline.text,
        out: Output,
        err: ErrorOutput,
        ram_end,
        clock: boot.clock,
    };
    let ending = board::main(machine);
    verdict::finish(ending, b"")
}
