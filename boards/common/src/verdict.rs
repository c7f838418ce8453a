//! How a run ends: a last line, and a status for the host.
//!
//! Always: every way out, a panic and a processor exception included, sends at most one verdict and
//! then ends the machine; none is missing but where sending it is what fails. What goes wrong while
//! a fault is reported is reported in fewer words, and then not at all.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use rootlet_guest::frame::Kind;

use crate::text::Message;
use crate::{arch, console, exit};

/// How a run ended; the host sees it as the machine's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The command succeeded (QEMU ends with status 33).
    Passed,
    /// The command ended with an error (35).
    Failed,
    /// The guest panicked (37).
    Panicked,
    /// The processor raised an exception (39).
    Exception,
}

/// Sends the verdict, `PASS` or `FAIL` followed by `text`, and ends the machine.
pub fn finish(ending: Ending, text: &str) -> ! {
    console::flush_what_is_free();
    send(ending, text);
    exit::exit(ending)
}

/// Sends the verdict of a run that hands the machine over to a kernel, and returns: nothing of this
/// program is sent after it.
pub(crate) fn hand_over(text: &str) {
    console::flush_what_is_free();
    send(Ending::Passed, text);
}

/// Does what [`finish`] does, after a fault: says what happened on standard error first, as
/// `report` writes it. Takes no lock.
pub(crate) fn emergency(ending: Ending, report: impl FnOnce(&mut Message) -> fmt::Result) -> ! {
    static FAULTS: AtomicU8 = AtomicU8::new(0);
    if exit::has_begun() {
        exit::exit(ending);
    }
    let mut what = Message::new();
    // A text that is too long is cut.
    let _ = match FAULTS.fetch_add(1, Ordering::Relaxed) {
        0 => report(&mut what),
        1 => what.write_str("a fault while another one was reported"),
        _ => exit::exit(ending),
    };
    console::flush_what_is_free();
    console::emit(Kind::Error, what.as_str().as_bytes());
    console::emit(Kind::Error, b"\n");
    send(ending, what.as_str());
    exit::exit(ending)
}

fn send(ending: Ending, text: &str) {
    static IS_SENT: AtomicBool = AtomicBool::new(false);
    if IS_SENT.swap(true, Ordering::Relaxed) {
        return;
    }
    if !arch::has_way_out() {
        console::emit(Kind::Error, b"end     nothing is known that ends this machine: it halts\n");
    }
    let mut line = Message::new();
    let word = if ending == Ending::Passed { "PASS" } else { "FAIL" };
    // A text that is too long is cut.
    let _ = write!(line, "{word} {text}");
    console::emit(Kind::Verdict, line.as_str().trim_ascii().as_bytes());
    console::end_line();
}
