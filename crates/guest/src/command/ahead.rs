//! A list whose digests are made by several processors.
//!
//! Always: rows are settled in the order of the walk, by the one who walks; an entry that waits for
//! its row has its memory from the start.

#![expect(
    clippy::result_large_err,
    reason = "an error ends its command, and carries the path because nothing may be allocated"
)]

use super::digests::{Digests, PLACES};
use super::error::at;
use super::list::{List, Rows};
use super::row::RowFault;
use super::run::{Outcome, Runner};
use alloc::vec::Vec;
use embedded_io::Write;
use heapless::Deque;
use rootlet::Error;
use rootlet::erofs::{FileKind, Inode};
use rootlet::read::PATH_BYTES_MAX;
use rootlet::storage::Storage;
use rootlet_base::num::OrBug;

/// An entry that waits for its row.
struct Entry {
    list: List,
    inode: Inode,
    path: Vec<u8>,
}

/// Asks for digests ahead of the rows that print them.
pub struct Ahead<'d> {
    digests: &'d Digests,
    waiting: Deque<Entry, PLACES>,
    /// The memory of paths that do not wait.
    free: Vec<Vec<u8>>,
}

impl<'d> Ahead<'d> {
    /// Allocates the memory of a list whose digests `digests` has.
    pub fn new(digests: &'d Digests) -> Self {
        let path = || Vec::with_capacity(PATH_BYTES_MAX);
        Self { digests, waiting: Deque::new(), free: (0..PLACES).map(|_| path()).collect() }
    }
}

impl<'r, S: Storage, W: Write> Rows<'r, S, W> for Ahead<'_> {
    fn row(
        &mut self,
        runner: &mut Runner<'r, S, W>,
        list: List,
        entry: Result<&Inode, Error>,
        path: &[u8],
    ) -> Outcome<W> {
        let inode = match entry {
            Ok(inode) => *inode,
            Err(error) => {
                self.end(runner)?;
                return runner.settle(path, Err(RowFault::Absent(error)));
            }
        };
        if self.waiting.is_full() {
            self.settle_first(runner)?;
        }
        let memory = self.free.pop().or_bug();
        let mut memory = memory.map_err(|bug| at(path, bug.into()))?;
        memory.clear();
        memory.extend_from_slice(path);
        if inode.kind() == FileKind::Regular {
            let has_place = self.digests.ask(&inode);
            assert!(has_place, "as many digests are asked for as entries wait");
        }
        let is_kept = self.waiting.push_back(Entry { list, inode, path: memory }).is_ok();
        assert!(is_kept, "an entry has left its place");
        Ok(())
    }

    fn end(&mut self, runner: &mut Runner<'r, S, W>) -> Outcome<W> {
        while !self.waiting.is_empty() {
            self.settle_first(runner)?;
        }
        Ok(())
    }
}

impl Ahead<'_> {
    /// Settles the row of the entry that has waited longest.
    fn settle_first<S: Storage, W: Write>(&mut self, runner: &mut Runner<'_, S, W>) -> Outcome<W> {
        let Some(Entry { list, inode, path }) = self.waiting.pop_front() else { return Ok(()) };
        let digest = match inode.kind() {
            FileKind::Regular => self.digests.take(runner.root),
            _ => None,
        };
        let row = match digest.transpose() {
            Ok(digest) => {
                if digest.is_some() {
                    runner.count_read(&inode, &path);
                }
                runner.print_row(list, &inode, &path, digest)
            }
            Err(error) => Err(RowFault::Absent(error)),
        };
        let settled = runner.settle(&path, row);
        self.free.push(path);
        settled
    }
}
