//! From the architecture's entry to the board's main.
//!
//! Always: memory, console and log work before the first device is touched; the clock runs when
//! main starts.

use core::ops::Range;

use crate::arch::{self, Calibration};
use crate::board::{self, Board};
use crate::cmdline::Cmdline;
use crate::console::{ErrorOutput, Output};
use crate::{clock, console, heap, verdict};

/// What the architecture knows at entry.
pub(crate) struct Boot {
    pub(crate) cmdline: &'static str,
    pub(crate) heap: Range<usize>,
    pub(crate) clock: Calibration,
}

/// The machine as the board's main finds it.
pub struct Machine {
    /// The board.
    pub board: &'static Board,
    /// The kernel command line.
    pub cmdline: Cmdline<'static>,
    /// Standard output.
    pub out: Output,
    /// Standard error.
    pub err: ErrorOutput,
}

/// Brings the machine up, runs the board's main and ends the machine.
pub(crate) fn run(boot: Boot) -> ! {
    arch::serial_init();
    clock::begin(&boot.clock);
    let cmdline = Cmdline::new(boot.cmdline);
    console::set_framed(cmdline.value("console") == Some("framed"));
    // SAFETY: the range is RAM behind the image that no loader's structure lies in, mapped to
    // itself, and this is the only call.
    unsafe { heap::init(boot.heap) };
    clock::calibrate(&boot.clock);
    let machine = Machine { board: &board::BOARD, cmdline, out: Output, err: ErrorOutput };
    let ending = board::main(machine);
    verdict::finish(ending, b"")
}
