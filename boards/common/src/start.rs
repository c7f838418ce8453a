//! From the architecture's entry to the board's main.
//!
//! Always: memory, console and log work before the first device is touched; the clock runs when
//! main starts.

use core::fmt::{self, Write};
use core::ops::Range;

use crate::arch::{self, Calibration};
use crate::board::{self, Board, Bus};
use crate::cmdline::CommandLine;
use crate::console::{ErrorOutput, Output};
use crate::storage::VirtioStorage;
use crate::verdict::{self, Ending, Message};
use crate::virtio::mmio::{Mmio, Slot};
use crate::{clock, cmdline, console, heap};

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
}

impl Machine {
    /// Starts every disk and share that the board has. A device that cannot be used is told to
    /// `problem` and passed over. Called once: a second call finds the devices in use and would
    /// take them from the first.
    pub fn storage(&mut self, mut problem: impl FnMut(&dyn fmt::Display)) -> VirtioStorage<Mmio> {
        let mut storage = VirtioStorage::new(clock::now_ns);
        let Bus::Mmio { base, stride, count } = self.board.virtio;
        let mut add = |place: usize| {
            // SAFETY: the place is the board's, or the loader named it and it is no RAM; both
            // are device space, mapped uncached, and this function runs once.
            match unsafe { Mmio::probe(place) } {
                Slot::Empty => {}
                Slot::Legacy => problem(&format_args!(
                    "virtio device at {place:#x} has the layout before virtio 1.0; with QEMU, \
                     -global virtio-mmio.force-legacy=false gives the modern one"
                )),
                Slot::Unknown(version) => {
                    problem(&format_args!("virtio device at {place:#x} has layout {version}"));
                }
                Slot::Device(found) => {
                    if let Err(unusable) = storage.add(found) {
                        problem(&unusable);
                    }
                }
            }
        };
        let mut named = 0;
        let mut last = None;
        for place in cmdline::virtio_mmio(self.cmdline).filter_map(|at| usize::try_from(at).ok()) {
            // QEMU names each once; a line that names one twice must not start it twice.
            if place >= self.ram_end && last.is_none_or(|last| place < last) {
                add(place);
                last = Some(place);
                named += 1;
            }
        }
        if named == 0 {
            (0..count).for_each(|slot| add(base + slot * stride));
        }
        storage
    }
}

/// Brings the machine up, runs the board's main and ends the machine.
pub(crate) fn run(boot: Boot) -> ! {
    arch::serial_init();
    clock::begin(&boot.clock);
    console::choose(cmdline::console(boot.cmdline.text));
    let ram_end = boot.heap.end;
    // SAFETY: the range is RAM behind the image that no loader's structure lies in, mapped to
    // itself, and this is the only call.
    unsafe { heap::init(boot.heap) };
    clock::calibrate(&boot.clock);
    defmt::info!("{=str} up: {=usize} bytes of heap", board::BOARD.name, heap::usage().total);
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
    };
    let ending = board::main(machine);
    verdict::finish(ending, b"")
}
