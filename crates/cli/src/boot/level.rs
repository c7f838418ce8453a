//! How severe a message of the guest's log is.

use clap::ValueEnum;

/// Severity, the most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    /// nothing
    Off,
    /// only errors
    Error,
    /// and warnings
    Warn,
    /// and what happens once
    Info,
    /// and decisions
    Debug,
    /// and every read
    Trace,
}

impl LogLevel {
    /// The name that defmt knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
