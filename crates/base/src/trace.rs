//! The log shim: one set of macros over defmt on a board, the `log` facade on a host, or nothing.
//!
//! Always: an argument is an integer, a `&str`, or a displayable value wrapped in [`Shown`], so
//! defmt and `log` print the same line. The features of this crate alone decide where lines go: a
//! crate that logs needs neither features nor dependencies for that.

#[cfg(all(feature = "defmt", target_os = "none"))]
#[doc(hidden)]
pub use defmt;
#[cfg(feature = "log")]
#[doc(hidden)]
pub use log;

/// Writes a line through defmt, whose own macros name their crate without a path.
#[cfg(all(feature = "defmt", target_os = "none"))]
#[doc(hidden)]
#[macro_export]
macro_rules! emit_ {
    ($level:ident, $($arg:tt)+) => {{
        use $crate::trace::defmt;
        defmt::$level!($($arg)+)
    }};
}

/// Writes a line through the `log` facade.
#[cfg(all(feature = "log", not(all(feature = "defmt", target_os = "none"))))]
#[doc(hidden)]
#[macro_export]
macro_rules! emit_ {
    ($level:ident, $($arg:tt)+) => { $crate::trace::log::$level!($($arg)+) };
}

/// Writes nothing.
#[cfg(not(any(feature = "log", all(feature = "defmt", target_os = "none"))))]
#[doc(hidden)]
#[macro_export]
macro_rules! emit_ {
    ($level:ident, $format:literal $(, $arg:expr)* $(,)?) => {{ $(let _ = &$arg;)* }};
}

/// Logs a fault that was tolerated.
#[doc(hidden)]
#[macro_export]
macro_rules! warn_ { ($($arg:tt)+) => { $crate::emit_!(warn, $($arg)+) }; }

/// Logs an event that occurs once in a mount.
#[doc(hidden)]
#[macro_export]
macro_rules! info_ { ($($arg:tt)+) => { $crate::emit_!(info, $($arg)+) }; }

/// Logs a decision, for somebody who looks for a fault.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_ { ($($arg:tt)+) => { $crate::emit_!(debug, $($arg)+) }; }

/// Logs an event of every read.
#[doc(hidden)]
#[macro_export]
macro_rules! trace_ { ($($arg:tt)+) => { $crate::emit_!(trace, $($arg)+) }; }

pub use {debug_ as debug, info_ as info, trace_ as trace, warn_ as warn};

/// A value that is logged by its `Display`.
#[derive(Debug)]
pub struct Shown<'a, T: core::fmt::Display>(pub &'a T);

impl<T: core::fmt::Display> core::fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(all(feature = "defmt", target_os = "none"))]
impl<T: core::fmt::Display> defmt::Format for Shown<'_, T> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self.0))
    }
}
