//! The lists: `sum` of a directory and `manifest`, a row for each entry below a path.
//!
//! Always: one walks and settles rows in the order of the walk; [`Rows`] makes them, on the spot or
//! by many hands.

#![expect(
    clippy::result_large_err,
    reason = "an error ends its command, and carries the path because nothing may be allocated"
)]

use super::error::{CommandError, at};
use super::row::RowFault;
use super::run::{Outcome, Runner};
use embedded_io::Write;
use rootlet::Error;
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::Tree;
use rootlet::storage::Storage;
use rootlet_base::num::OrBug;

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The SHA-256 of each regular file.
    Sum,
    /// A JSON object for each entry.
    Manifest,
}

impl List {
    /// Returns whether the list has a row for `inode`.
    fn has(self, inode: &Inode) -> bool {
        match self {
            // A symlink is followed at the start of a walk alone, as for the sum of one file.
            Self::Sum => inode.kind() == FileKind::Regular,
            Self::Manifest => true,
        }
    }
}

/// The maker of the rows of a list.
pub trait Rows<'r, S, W: Write> {
    /// Makes a row and settles it with [`Runner::settle`], now or later, but in the order of the
    /// calls. `entry` is the inode at `path`, or why it cannot be read.
    ///
    /// # Errors
    /// Those of the output, which end the list.
    fn row(
        &mut self,
        runner: &mut Runner<'r, S, W>,
        list: List,
        entry: Result<&Inode, Error>,
        path: &[u8],
    ) -> Outcome<W>;

    /// Settles all rows that were left for later.
    ///
    /// # Errors
    /// Those of the output.
    fn end(&mut self, runner: &mut Runner<'r, S, W>) -> Outcome<W>;
}

/// Makes each row at once, and allocates nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce;

impl<'r, S: Storage, W: Write> Rows<'r, S, W> for AtOnce {
    fn row(
        &mut self,
        runner: &mut Runner<'r, S, W>,
        list: List,
        entry: Result<&Inode, Error>,
        path: &[u8],
    ) -> Outcome<W> {
        let row = match entry {
            Ok(inode) => runner.row(list, inode, path),
            Err(error) => Err(RowFault::Absent(error)),
        };
        runner.settle(path, row)
    }

    fn end(&mut self, _: &mut Runner<'r, S, W>) -> Outcome<W> {
        Ok(())
    }
}

impl<'r, S: Storage, W: Write> Runner<'r, S, W> {
    /// Lists `first` at `path`, and everything below.
    pub(super) fn list(
        &mut self,
        list: List,
        first: Inode,
        path: &[u8],
        rows: &mut impl Rows<'r, S, W>,
    ) -> Outcome<W> {
        let tree = self.scratch.tree.take().or_bug();
        let mut tree = tree.map_err(|bug| at(path, bug.into()))?;
        let result = self.list_of(list, &mut tree, (first, path), rows);
        self.scratch.tree = Some(tree);
        result
    }

    fn list_of(
        &mut self,
        list: List,
        tree: &mut Tree,
        (first, path): (Inode, &[u8]),
        rows: &mut impl Rows<'r, S, W>,
    ) -> Result<(), CommandError<W::Error>> {
        tree.begin_with(self.root, first, path).map_err(|error| at(path, error))?;
        loop {
            match tree.next(self.root) {
                Ok(None) => return rows.end(self),
                Ok(Some(inode)) if list.has(&inode) => {
                    rows.row(self, list, Ok(&inode), tree.path())?;
                }
                Ok(Some(_)) => {}
                Err(error) => rows.row(self, list, Err(error), tree.path())?,
            }
            self.step(0);
        }
    }
}
