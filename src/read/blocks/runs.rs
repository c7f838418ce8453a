//! Who reads in sequence, and how far ahead of them it pays to read.
//!
//! Always: a read that follows no other, and does not begin its file, is not read ahead of.

use crate::erofs::Nid;
use crate::num::wide;
use crate::units::ByteRange;

/// Files that are watched at a time.
const RUNS: usize = 4;
/// What is read ahead at first, and at most.
const AHEAD_BYTES_MIN: u64 = 16 << 10;
const AHEAD_BYTES_MAX: usize = 128 << 10;

/// A file that is read from some place on.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    file: Option<Nid>,
    /// Where the next read begins if it follows the last.
    next: u64,
    ahead: u64,
}

/// The files that were read last.
#[derive(Debug)]
pub struct Runs {
    /// From the one that is to be replaced next on.
    runs: [Run; RUNS],
    most: usize,
}

impl Runs {
    /// Returns runs that are read ahead of by at most `bytes` bytes; less than 16 KiB is nothing.
    pub fn new(bytes: usize) -> Self {
        let most = bytes.min(AHEAD_BYTES_MAX);
        let most = if wide(most) < AHEAD_BYTES_MIN { 0 } else { most };
        Self { runs: [Run::default(); RUNS], most }
    }

    /// Returns the most bytes that are read ahead.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Takes note of a read of some bytes of a file, and returns how many bytes after them to read
    /// with them. That grows from 16 KiB to 128 KiB while reads of a file follow each other.
    pub fn next(&mut self, file: Nid, read: ByteRange) -> u64 {
        let most = wide(self.most);
        let follows = |run: &&mut Run| run.file == Some(file) && run.next == read.start();
        if let Some(run) = self.runs.iter_mut().find(follows) {
            run.next = read.end();
            // Grows with each 16 KiB that were read, so that it is not much more than these.
            if read.start() / AHEAD_BYTES_MIN != read.end() / AHEAD_BYTES_MIN {
                // At most 128 KiB before.
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
