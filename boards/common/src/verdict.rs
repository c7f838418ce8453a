//! How a run ends: a last line, and a status for the host.
//!
//! Always: every way out, a panic and a processor exception included, sends exactly one verdict
//! and then ends the machine.

use core::fmt;

use rootlet::command::frame::Kind;

use crate::text::Message;
use crate::{console, exit};

/// How a run ended; the host sees it as the machine's exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The command did what it was asked (QEMU ends with status 33).
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

/// As [`finish`] after a fault: says what happened on standard error first. Takes no lock.
pub(crate) fn emergency(ending: Ending, what: &str) -> ! {
    console::flush_what_is_free();
    console::emit(Kind::Error, what.as_bytes());
    console::emit(Kind::Error, b"\n");
    send(ending, what);
    exit::exit(ending)
}

fn send(ending: Ending, text: &str) {
    use fmt::Write;
    let mut line = Message::new();
    let word = if ending == Ending::Passed { "PASS" } else { "FAIL" };
    // A text that is too long is cut.
    let _ = write!(line, "{word} {text}");
    console::emit(Kind::Verdict, line.as_str().trim_ascii().as_bytes());
    console::end_line();
}
