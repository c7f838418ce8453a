//! Sequences of reads in files, and how far to read ahead of each.
//!
//! Always: nothing is read ahead after a read that neither follows another nor starts its file.

use crate::erofs::Nid;
use crate::num::wide;
use crate::units::ByteRange;

/// The number of sequences that are tracked.
const RUNS: usize = 4;
/// The bytes that are read ahead at first.
const AHEAD_BYTES_MIN: u64 = 16 << 10;
/// The most bytes that are read ahead.
const AHEAD_BYTES_MAX: usize = 128 << 10;

/// A sequence of reads of one file.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    file: Option<Nid>,
    /// The end of the last read: a read that begins here continues the sequence.
    next: u64,
    ahead: u64,
}

/// The sequences that were continued or begun last.
#[derive(Debug)]
pub struct Runs {
    /// The sequence to replace next comes first.
    runs: [Run; RUNS],
    most: usize,
}

impl Runs {
    /// Returns an empty table that reads at most `bytes` bytes ahead; none if `bytes` is less than
    /// 16 KiB.
    pub fn new(bytes: usize) -> Self {
        let most = bytes.min(AHEAD_BYTES_MAX);
        let most = if wide(most) < AHEAD_BYTES_MIN { 0 } else { most };
        Self { runs: [Run::default(); RUNS], most }
    }

    /// Returns the most bytes that are read ahead.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Records a read of a file, and returns the number of bytes to read ahead after it: from
    /// 16 KiB, growing to 128 KiB while reads of the file follow each other.
    pub fn next(&mut self, file: Nid, read: ByteRange) -> u64 {
        let most = wide(self.most);
        let follows = |run: &&mut Run| run.file == Some(file) && run.next == read.start();
        if let Some(run) = self.runs.iter_mut().find(follows) {
            run.next = read.end();
            // Doubles with each 16 KiB that were read, so that it stays in proportion to them.
            if read.start() / AHEAD_BYTES_MIN != read.end() / AHEAD_BYTES_MIN {
                // At most 128 KiB before the shift.
                run.ahead <<= 1;
            }
            run.ahead = run.ahead.max(AHEAD_BYTES_MIN).min(most);
            return run.ahead;
        }
        let ahead = if read.start() == 0 { AHEAD_BYTES_MIN.min(most) } else { 0 };
        self.runs.rotate_left(1);
        let [.., last] = &mut self.runs;
        *last = Run { file: Some(file), next: read.end(), ahead };
        ahead
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    fn next(runs: &mut Runs, file: u64, at: u64, len: u64) -> u64 {
        runs.next(Nid(file), ByteRange::sized(at, len).unwrap())
    }

    #[test]
    fn reading_ahead_grows_with_a_sequence_and_ends_with_it() {
        let mut runs = Runs::new(1 << 20);
        let mut seen = [0; 64];
        for (seen, at) in seen.iter_mut().zip((0..).step_by(4096)) {
            *seen = next(&mut runs, 9, at, 4096);
        }
        assert_eq!((seen[0], seen[63]), (16 << 10, 128 << 10));
        assert!(seen.is_sorted() && seen[8] <= 64 << 10);
        assert_eq!(next(&mut runs, 9, 1 << 30, 4096), 0, "somewhere else");
        assert_eq!(next(&mut runs, 9, 64 * 4096, 4096), 128 << 10, "and back");
    }

    #[test]
    fn files_are_told_apart_and_little_memory_reads_nothing_ahead() {
        let mut runs = Runs::new(16 << 10);
        assert_eq!(next(&mut runs, 1, 4096, 4096), 0);
        assert_eq!(next(&mut runs, 2, 8192, 4096), 0, "another file");
        assert_eq!(next(&mut runs, 1, 8192, 4096), 16 << 10);
        let mut none = Runs::new((16 << 10) - 1);
        assert_eq!([next(&mut none, 1, 0, 1), next(&mut none, 1, 1, 1)], [0, 0]);
    }
}
