//! The lines of a bench or a race: `FIRSTREAD ns`, `BEG name`, `END name bytes= ops= ns=`, `DONE`.
//!
//! Always: a line is flushed before the clock is read after it, and read before the next line goes
//! out.

use super::BenchError;
use crate::command::{GuestRoot, printed};
use crate::stopwatch::Stopwatch;
use core::fmt;
use embedded_io::Write;
use rootlet::Error;
use rootlet::storage::Storage;
use rootlet_base::units::count;

/// What a test returns, or why the bench ends early.
pub type Outcome<T, W> = Result<T, BenchError<<W as embedded_io::ErrorType>::Error>>;

/// What a test did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Bytes that were read.
    pub bytes: u64,
    /// Pieces, entries or files.
    pub ops: u64,
    /// A sum over what was read, if one was taken.
    pub sum: Option<u64>,
}

/// The output of a bench.
pub struct Lines<'o, W> {
    out: &'o mut W,
}

impl<'o, W: Write> Lines<'o, W> {
    /// Returns lines that go to `out`.
    pub fn new(out: &'o mut W) -> Self {
        Self { out }
    }

    /// Writes a line.
    pub fn say(&mut self, line: fmt::Arguments<'_>) -> Outcome<(), W> {
        printed(writeln!(self.out, "{line}")).map_err(BenchError::Output)?;
        self.out.flush().map_err(BenchError::Output)
    }

    /// Writes how long it took from the start of the machine to the first byte of a file. The word
    /// goes out by itself: a listener takes the time of its arrival.
    pub fn first_read(&mut self, ns: u64) -> Outcome<(), W> {
        self.out.write_all(b"FIRSTREAD ").map_err(BenchError::Output)?;
        self.out.flush().map_err(BenchError::Output)?;
        self.say(format_args!("{ns}"))
    }

    /// Writes the lines of the test `name`, and the time that `test` takes.
    pub fn timed<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        name: fmt::Arguments<'_>,
        test: impl FnOnce() -> Result<Done, Error>,
    ) -> Outcome<(), W> {
        self.say(format_args!("BEG {name}"))?;
        let watch = Stopwatch::start(root);
        let done = test()?;
        let ns = watch.ns(root);
        self.end(name, done, ns)
    }

    /// Writes the lines of the test `name`, and the time of those parts of `test` that it hands to
    /// its argument.
    pub fn timed_in_parts<S: Storage>(
        &mut self,
        root: &GuestRoot<S>,
        name: fmt::Arguments<'_>,
        test: impl FnOnce(Timed<'_>) -> Result<Done, Error>,
    ) -> Outcome<(), W> {
        self.say(format_args!("BEG {name}"))?;
        let mut ns = 0;
        let done = test(&mut |part| {
            let watch = Stopwatch::start(root);
            part()?;
            count(&mut ns, watch.ns(root));
            Ok(())
        })?;
        self.end(name, done, ns)
    }

    fn end(&mut self, name: fmt::Arguments<'_>, done: Done, ns: u64) -> Outcome<(), W> {
        let Done { bytes, ops, sum } = done;
        match sum {
            Some(sum) => {
                self.say(format_args!("END {name} bytes={bytes} ops={ops} ns={ns} sum={sum}"))
            }
            None => self.say(format_args!("END {name} bytes={bytes} ops={ops} ns={ns}")),
        }
    }
}

/// Runs a part of a test, and adds its time to that of the test.
pub type Timed<'t> = &'t mut dyn FnMut(&mut dyn FnMut() -> Result<(), Error>) -> Result<(), Error>;
