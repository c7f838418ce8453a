//! The memory of a command.
//!
//! Always: made before the first read, as large as the command needs.

use super::row::RowMemory;
use super::words::Command;
use crate::mount::Memory;
use crate::timeline::Names;
use alloc::vec::Vec;
use rootlet::read::{NAME_BYTES_MAX, PATH_BYTES_MAX, Tree};

/// The longest path of an entry, in a directory whose path is as long as any.
const ENTRY_BYTES_MAX: usize = PATH_BYTES_MAX + 1 + NAME_BYTES_MAX;

/// The memory of a command.
pub struct Scratch {
    pub(super) row: RowMemory,
    /// The path of an entry of a list.
    pub(super) path: Vec<u8>,
    /// For a command that walks.
    pub(super) tree: Option<Tree>,
    /// The files that were read, for the timeline.
    pub(super) names: Names,
}

impl Scratch {
    /// Allocates the memory that `command` needs, with a row as long as `memory` says.
    pub fn new(command: &Command, memory: &Memory) -> Self {
        let (xattrs, printed, walks) = match command {
            Command::Sum(_) => (false, 0, true),
            Command::Manifest(_) => (true, memory.row, true),
            Command::Stat(_) => (true, 0, false),
            Command::Cat(_) | Command::Ls(_) | Command::Cache => (false, 0, false),
            Command::Boot(_) | Command::Bench(_) | Command::Race(_) => (false, 0, false),
        };
        let entries = matches!(command, Command::Ls(_));
        Self {
            row: RowMemory::new(xattrs, printed),
            path: Vec::with_capacity(if entries { ENTRY_BYTES_MAX } else { 0 }),
            tree: walks.then(Tree::new),
            names: Names::new(memory.mount.events),
        }
    }

    /// Returns the files that were read, as far as there was room for their paths; none where no
    /// events are kept.
    pub const fn names(&self) -> &Names {
        &self.names
    }
}
