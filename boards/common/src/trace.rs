//! The log, where there is one: defmt on a board, nothing where tests run.

#[cfg(target_os = "none")]
macro_rules! warn_ { ($($arg:tt)+) => { defmt::warn!($($arg)+) }; }
#[cfg(target_os = "none")]
macro_rules! info_ { ($($arg:tt)+) => { defmt::info!($($arg)+) }; }

#[cfg(not(target_os = "none"))]
macro_rules! warn_ { ($format:literal $(, $arg:expr)* $(,)?) => {{ $(let _ = &$arg;)* }}; }
#[cfg(not(target_os = "none"))]
macro_rules! info_ { ($format:literal $(, $arg:expr)* $(,)?) => {{ $(let _ = &$arg;)* }}; }

pub(crate) use {info_ as info, warn_ as warn};
