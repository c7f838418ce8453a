//! Standard output of the tool.
//!
//! Always: bytes that cannot be written are an error that names standard output; where nobody
//! reads them any more, the tool ends without a word.

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
