//! Standard output of the tool, and its words on standard error.
//!
//! Always: bytes that cannot be written to standard output are an error that names it; where nobody
//! reads them any more, the tool ends without a word. What standard error does not take is lost:
//! there is no other place to say so, and the task continues.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

use anyhow::{Result, anyhow};

use crate::exit::{self, UNREAD};

/// Prints one line on standard output, and returns from the function where that fails.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {
        $crate::output::line(format_args!($($words)*))?
    };
}

/// Writes one line to standard error, for the user.
#[macro_export]
macro_rules! note {
    ($($words:tt)*) => {
        $crate::output::notice(format_args!($($words)*))
    };
}

/// Writes one line to standard error, in one piece.
pub fn notice(words: Arguments<'_>) {
    told(format!("{words}\n").as_bytes());
}

/// Writes bytes to standard error as they are.
pub fn told(bytes: &[u8]) {
    // An error reaches nobody here.
    let _ = io::stderr().lock().write_all(bytes);
}

/// Prints one line.
pub fn line(words: Arguments<'_>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{words}").and_then(|()| stdout.flush()).map_err(failed)
}

/// Prints bytes as they are, at once.
pub fn bytes(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(failed)
}

/// The end of a task whose output could not be written.
pub fn failed(error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => exit::stop(UNREAD, ""),
        _ => anyhow!("standard output: {error}"),
    }
}
