//! The colours of the output.
//!
//! Always: without a terminal, with NO_COLOR or with `--color never` no escape sequence is written.

use std::io;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// When the output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// on a terminal, unless NO_COLOR is set
    Auto,
    /// everywhere
    Always,
    /// nowhere
    Never,
}

impl When {
    /// Makes this the choice of the whole program.
    pub fn choose(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::AlwaysAnsi,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

/// Directories.
pub const DIRECTORY: Style = AnsiColor::Blue.on_default().bold();
/// Symlinks.
pub const SYMLINK: Style = AnsiColor::Cyan.on_default();
/// Files that can be run, and what went well.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// Devices, fifos and sockets.
pub const SPECIAL: Style = AnsiColor::Yellow.on_default();
/// What went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// Whether a stream is coloured. The terminal is asked once, when this is made.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    is_colored: bool,
}

impl Paint {
    /// Returns the paint for standard output.
    pub fn of_stdout() -> Self {
        Self::of(AutoStream::choice(&io::stdout()))
    }

    /// Returns the paint for standard error.
    pub fn of_stderr() -> Self {
        Self::of(AutoStream::choice(&io::stderr()))
    }

    fn of(choice: anstream::ColorChoice) -> Self {
        Self { is_colored: choice != anstream::ColorChoice::Never }
    }

    /// Returns whether the stream is coloured.
    pub fn is_colored(self) -> bool {
        self.is_colored
    }

    /// Returns `text` in `style`, or as it is where the stream is not coloured.
    pub fn text(self, style: Style, text: &str) -> String {
        if self.is_colored { format!("{style}{text}{style:#}") } else { text.into() }
    }
}
