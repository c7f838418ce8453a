//! The log shim: one set of macros over defmt on a board, the `log` facade on a host, or nothing.
//!
//! Always: an argument is an integer, a `&str`, or a displayable value wrapped in [`Shown`], so
//! that each line means the same to both.

#[cfg(all(feature = "defmt", target_os = "none"))]
macro_rules! emit {
    ($level:ident, $($arg:tt)+) => { defmt::$level!($($arg)+) };
}

#[cfg(all(feature = "log", not(all(feature = "defmt", target_os = "none"))))]
macro_rules! emit {
    ($level:ident, $($arg:tt)+) => { log::$level!($($arg)+) };
}

#[cfg(not(any(feature = "log", all(feature = "defmt", target_os = "none"))))]
macro_rules! emit {
    ($level:ident, $format:literal $(, $arg:expr)* $(,)?) => {{ $(let _ = &$arg;)* }};
}

macro_rules! warn_ { ($($arg:tt)+) => { $crate::trace::emit!(warn, $($arg)+) }; }
#[cfg(feature = "alloc")]
macro_rules! info_ { ($($arg:tt)+) => { $crate::trace::emit!(info, $($arg)+) }; }

macro_rules! debug_ { ($($arg:tt)+) => { $crate::trace::emit!(debug, $($arg)+) }; }
macro_rules! trace_ { ($($arg:tt)+) => { $crate::trace::emit!(trace, $($arg)+) }; }

#[cfg(feature = "alloc")]
pub(crate) use info_ as info;
pub(crate) use {debug_ as debug, emit, trace_ as trace, warn_ as warn};

/// A value logged by its `Display`.
pub(crate) struct Shown<'a, T: core::fmt::Display>(pub &'a T);

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
