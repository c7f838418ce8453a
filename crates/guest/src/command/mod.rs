//! The commands of a guest: their words, their memory, running them, and what they print.
//!
//! Always: a command allocates nothing while it reads.

mod ahead;
mod counters;
mod digests;
mod error;
mod json;
mod list;
mod print;
mod region;
mod row;
mod run;
mod scratch;
mod words;

pub use ahead::Ahead;
pub use counters::Counters;
pub use digests::Digests;
pub(crate) use error::short;
pub use error::{CommandError, ShortPath};
pub use list::{AtOnce, List, Rows};
pub use print::AtPath;
pub(crate) use print::{Escaped, printed};
pub use row::RowFault;
pub use run::{Done, GuestRoot, Outcome, Runner, catch_up};
pub use scratch::Scratch;
pub use words::{BenchPaths, Command, HELP, UsageError};
