//! The rows of a list, made by several threads: as the guest makes them, and in its order.
//!
//! Always: a thread has one row in memory, and sends it in parts.

#![expect(clippy::result_large_err, reason = "the runner's error, which ends the command")]

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use embedded_io::{ErrorKind, ErrorType, Write};
use rootlet::Error;
use rootlet::erofs::Inode;
use rootlet::storage::Storage;
use rootlet_guest::{Done, GuestRoot, List, Outcome, RowFault, Rows, Runner, Scratch};

use super::ordered::{Emit, Ordered, Unwanted};
use crate::output;
use crate::progress::Progress;
use crate::source::Standard;

/// Bytes of most rows.
const ROW_BYTES: usize = 256;
/// Bytes of a row that are sent at once.
const PART_BYTES: usize = 16 << 10;

/// An entry whose row is to be made.
pub struct Entry {
    inode: Inode,
    path: Vec<u8>,
}

/// A part of a row.
pub enum Part {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// The end of the row of this path, or why there is none.
    End(Vec<u8>, Result<(), Error>),
}

/// The work that all threads have done, and the line that shows it.
pub struct Tally<'p> {
    progress: &'p Progress,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl<'p> Tally<'p> {
    /// Nothing done so far.
    pub fn new(progress: &'p Progress) -> Self {
        Self { progress, files: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Adds work.
    fn add(&self, more: Done) {
        self.files.fetch_add(more.files, Relaxed);
        self.bytes.fetch_add(more.bytes, Relaxed);
    }

    /// Returns the work of the threads and that of the caller together.
    pub fn and(&self, own: Done) -> Done {
        let (files, bytes) = (self.files.load(Relaxed), self.bytes.load(Relaxed));
        Done { files: files + own.files, bytes: bytes + own.bytes }
    }

    /// Shows all work so far.
    pub fn show(&self, done: Done) {
        self.progress.say(format!("{} files", done.files));
        self.progress.reach(done.bytes);
    }
}

/// Returns what makes a row of `list` on a thread of its own.
pub fn maker<'m, S: Storage>(
    root: &'m GuestRoot<S>,
    list: List,
    mut scratch: Scratch,
    tally: &'m Tally<'_>,
) -> impl FnMut(Entry, Emit<'_, Part>) + 'm {
    move |Entry { inode, path }, emit| {
        let mut told = Done::default();
        let mut since = |done: Done| {
            let more = Done { files: done.files - told.files, bytes: done.bytes - told.bytes };
            told = done;
            tally.add(more);
        };
        let mut notice = |line: fmt::Arguments<'_>| {
            tally.progress.suspend(|| output::notice(line));
        };
        let mut watch = |done| {
            since(done);
            tally.show(tally.and(Done::default()));
        };
        let mut out = Parts { emit, bytes: Vec::with_capacity(ROW_BYTES) };
        let runner = Runner::new(root, &mut out, &mut scratch);
        let mut runner = runner.noticed(&mut notice).watched(&mut watch);
        let row = runner.row(list, &inode, &path);
        let done = runner.done;
        since(done);
        let row = match row.and_then(|()| out.flush().map_err(RowFault::Output)) {
            Ok(()) => Ok(()),
            Err(RowFault::Absent(error)) => Err(error),
            Err(RowFault::Output(Unwanted)) => return,
        };
        // Where it is unwanted, nobody asks for more.
        let _ = (out.emit)(Part::End(path, row));
    }
}

/// The output of a row that is made: sent in parts.
struct Parts<'e> {
    emit: Emit<'e, Part>,
    bytes: Vec<u8>,
}

impl ErrorType for Parts<'_> {
    type Error = Unwanted;
}

impl Write for Parts<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Unwanted> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= PART_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Unwanted> {
        match std::mem::take(&mut self.bytes) {
            none if none.is_empty() => Ok(()),
            bytes => (self.emit)(Part::Bytes(bytes)),
        }
    }
}

impl embedded_io::Error for Unwanted {
    fn kind(&self) -> ErrorKind {
        ErrorKind::BrokenPipe
    }
}

impl fmt::Display for Unwanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody wants it")
    }
}

impl std::error::Error for Unwanted {}

/// Hands the rows of a list out to threads.
pub struct HandedOut<'o, 'w>(pub &'o mut Ordered<'w, Entry, Part>);

impl<'r, S: Storage, W: io::Write> Rows<'r, S, Standard<W>> for HandedOut<'_, '_> {
    fn row(
        &mut self,
        runner: &mut Runner<'r, S, Standard<W>>,
        _: List,
        entry: Result<&Inode, Error>,
        path: &[u8],
    ) -> Outcome<Standard<W>> {
        let (sink, path) = (&mut |part| settle(runner, part), path.to_vec());
        match entry {
            Ok(inode) => self.0.hand_out(Entry { inode: *inode, path }, inode.size(), sink),
            Err(error) => self.0.add(Part::End(path, Err(error)), sink),
        }
    }

    fn end(&mut self, runner: &mut Runner<'r, S, Standard<W>>) -> Outcome<Standard<W>> {
        self.0.finish(&mut |part| settle(runner, part))
    }
}

/// Takes the next part of all rows.
fn settle<S: Storage, W: io::Write>(
    runner: &mut Runner<'_, S, Standard<W>>,
    part: Part,
) -> Outcome<Standard<W>> {
    match part {
        Part::Bytes(bytes) => runner.print(&bytes),
        Part::End(path, row) => runner.settle(&path, row.map_err(RowFault::Absent)),
    }
}
