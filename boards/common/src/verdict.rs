//! How a run ends: a last line, and a status for the host.
//!
//! Always: every way out, a panic and a processor exception included, sends exactly one verdict
//! and then ends the machine.

use core::fmt;

use rootlet::command::frame::{Kind, PAYLOAD_BYTES_MAX};

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

/// A text of bounded length, cut where it is full; made without allocating.
pub struct Message {
    bytes: [u8; PAYLOAD_BYTES_MAX],
    len: usize,
}

impl Default for Message {
    fn default() -> Self {
        Self::new()
    }
}

impl Message {
    /// An empty message.
    pub const fn new() -> Self {
        Self { bytes: [0; PAYLOAD_BYTES_MAX], len: 0 }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Sends the verdict, `PASS` or `FAIL` followed by `text`, and ends the machine.
pub fn finish(ending: Ending, text: &[u8]) -> ! {
    console::flush_what_is_free();
    send(ending, text);
    exit::exit(ending)
}

/// As [`finish`] after a fault: says what happened on standard error first. Takes no lock.
pub(crate) fn emergency(ending: Ending, what: &[u8]) -> ! {
    console::flush_what_is_free();
    console::emit(Kind::Error, what);
    console::emit(Kind::Error, b"\n");
    send(ending, what);
    exit::exit(ending)
}

fn send(ending: Ending, text: &[u8]) {
    use fmt::Write;
    let mut line = Message::new();
    let word = if ending == Ending::Passed { "PASS" } else { "FAIL" };
    let text = str::from_utf8(text).unwrap_or("(no text)");
    let _ = write!(line, "{word} {text}");
    console::emit(Kind::Verdict, line.as_bytes().trim_ascii());
    console::end_line();
}
