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

/// Returns `text` in `style`, if standard output is coloured.
pub fn on_stdout(style: Style, text: &str) -> String {
    painted(style, text, AutoStream::choice(&io::stdout()))
}

/// Returns `text` in `style`, if standard error is coloured.
pub fn on_stderr(style: Style, text: &str) -> String {
    painted(style, text, AutoStream::choice(&io::stderr()))
}

fn painted(style: Style, text: &str, choice: anstream::ColorChoice) -> String {
    match choice {
        anstream::ColorChoice::Never => text.into(),
        _ => format!("{style}{text}{style:#}"),
    }
}
