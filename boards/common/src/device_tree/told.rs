//! What of a device tree cannot be used, for a person.
//!
//! Always: made without allocating, because there is no heap yet; a line is whole, and those that
//! have no room are counted.

use core::fmt::{self, Write};

use heapless::String;

/// Room for all lines together, in bytes.
const BYTES_MAX: usize = 2048;

/// Lines, each of which names a node and says why it is not used.
#[derive(Debug, Default)]
pub struct Told {
    lines: String<BYTES_MAX>,
    more: usize,
}

impl Told {
    /// Returns no lines.
    pub const fn new() -> Self {
        Self { lines: String::new(), more: 0 }
    }

    /// Adds a line, if there is room for all of it.
    pub(super) fn add(&mut self, node: &dyn fmt::Display, why: &dyn fmt::Display) {
        let before = self.lines.len();
        if writeln!(self.lines, "device tree: {node}: {why}").is_err() {
            self.lines.truncate(before);
            self.more += 1;
        }
    }

    /// Calls `each` with each line.
    pub fn each(&self, mut each: impl FnMut(fmt::Arguments<'_>)) {
        self.lines.lines().for_each(|line| each(format_args!("{line}")));
        if self.more > 0 {
            each(format_args!("device tree: {} more nodes that are not used", self.more));
        }
    }
}
