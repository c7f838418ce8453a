//! The commands of a guest: their words, their memory, running them, and what they print.
//!
//! Always: a command allocates nothing while it reads.

mod counters;
mod error;
mod json;
mod print;
mod region;
mod row;
mod run;
mod scratch;
mod words;

pub use counters::Counters;
pub use error::{CommandError, ShortPath};
pub use print::AtPath;
pub(crate) use print::{Escaped, printed};
pub use run::{Done, GuestRoot, Runner, catch_up};
pub use scratch::Scratch;
pub use words::{BenchPaths, Command, HELP, UsageError};
