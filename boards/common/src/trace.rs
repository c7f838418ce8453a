//! The log, where there is one: defmt on a board, nothing where tests run.

#[cfg(target_os = "none")]
macro_rules! warn_ { ($($arg:tt)+) => { defmt::warn!($($arg)+) }; }
#[cfg(not(target_os = "none"))]
macro_rules! warn_ { ($format:literal $(, $arg:expr)* $(,)?) => {{ $(let _ = &$arg;)* }}; }

pub(crate) use warn_ as warn;
