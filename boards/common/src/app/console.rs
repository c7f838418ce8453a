//! The serial port of an application, both ways.
//!
//! Always: a read waits for the first byte and no longer than it may; while it waits, the region
//! writes the bytes that wait for it. A byte 4 (Ctrl-D) ends the input for good.

use core::time::Duration;

use embedded_io::{ErrorType, Read, Write};
use rootlet::storage::Storage as _;

use crate::console::Output;
use crate::guest::Root;
use crate::input::{self, InputError};
use crate::{clock, serial};

/// How long a read waits where nobody says so: as long as the host tool lets a guest run.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks at the port: less than eight bytes take at 115200 baud.
const NAP_NS: u32 = 500_000;
/// The byte that ends the input (ASCII EOT), which a terminal sends for Ctrl-D.
const END: u8 = 4;

/// The serial port: what is written is standard output, what is read was typed.
pub struct Console<'a> {
    root: &'a Root,
    out: Output,
    patience: Duration,
    has_ended: bool,
}

impl<'a> Console<'a> {
    /// Returns the console of an application over `root`.
    pub(super) fn new(root: &'a Root) -> Self {
        Self { root, out: Output, patience: PATIENCE, has_ended: false }
    }

    /// Sets how long a read may wait; 600 s unless it is set.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Reads a line into `room`, and returns the line without its end (`\n`, `\r` or both). `None`
    /// after the last line. Empty lines are passed over.
    ///
    /// # Errors
    ///
    /// [`InputError`]; the rest of a line that is too long is the next one.
    pub fn line<'r>(&mut self, room: &'r mut [u8]) -> Result<Option<&'r [u8]>, InputError> {
        input::line(self, room)
    }
}

impl ErrorType for Console<'_> {
    type Error = InputError;
}

impl Read for Console<'_> {
    /// Reads what was typed, at least one byte. 0 after the end of the input.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, InputError> {
        if self.has_ended || out.is_empty() {
            return Ok(0);
        }
        // Who is asked sees the question first.
        let Ok(()) = self.out.flush();
        let (since, mut len) = (clock::now_ns(), 0);
        loop {
            match serial::receive() {
                Some(END) => {
                    self.has_ended = true;
                    return Ok(len);
                }
                Some(byte) => {
                    out[len] = byte;
                    len += 1;
                    if len == out.len() {
                        return Ok(len);
                    }
                }
                None if len > 0 => return Ok(len),
                None if u128::from(clock::now_ns() - since) >= self.patience.as_nanos() => {
                    return Err(InputError::Silent(self.patience));
                }
                None => {
                    self.root.progress();
                    self.root.storage().rest(NAP_NS);
                }
            }
        }
    }
}

impl Write for Console<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, InputError> {
        let Ok(written) = self.out.write(bytes);
        Ok(written)
    }

    fn flush(&mut self) -> Result<(), InputError> {
        let Ok(()) = self.out.flush();
        Ok(())
    }
}
