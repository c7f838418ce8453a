//! The cause of an error, in the error's message.
//!
//! Always: `{}` writes an error without its causes, which [`source`](core::error::Error::source)
//! returns; `{:#}` writes the error and its causes, with a colon between them.

use core::fmt;

/// Writes a colon and `cause` if `f` is to write the causes of an error too.
pub fn write_cause(f: &mut fmt::Formatter<'_>, cause: &dyn fmt::Display) -> fmt::Result {
    if f.alternate() { write!(f, ": {cause:#}") } else { Ok(()) }
}
