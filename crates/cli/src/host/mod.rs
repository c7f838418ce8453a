//! Commands over files of this machine, with the library that a guest runs.
//!
//! Always: what goes to standard output is the command's own output and nothing else.

mod args;
mod check;
pub(crate) mod data;
mod extract;
mod files;
mod guest;
mod jobs;
mod list;
mod many;
mod ordered;
mod restore;
mod row;

pub use args::{
    CatArgs, CheckArgs, ExtractArgs, FilesArgs, ListArgs, ManifestArgs, ReadArgs, StatArgs,
    SumArgs, named, paths, settle, settle_stack,
};
pub use check::task as check;
pub use extract::task as extract;
pub use files::{Verb, stat, task as files};
pub use guest::guest_command;
pub use jobs::Jobs;
pub use list::task as list;
