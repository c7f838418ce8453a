//! Who reads in sequence, and how far ahead of them it pays to read.
//!
//! Always: a read that follows no other, and does not begin its file, is not read ahead of.

use crate::erofs::Nid;

/// Files that are watched at a time.
const RUNS: usize = 4;
/// What is read ahead at first, and at most.
const AHEAD_BYTES_MIN: u64 = 16 << 10;
const AHEAD_BYTES_MAX: u64 = 128 << 10;

/// A file that is read from some place on.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    file: Option<Nid>,
    /// Where the next read begins, if it goes on.
    next: u64,
    ahead: u64,
}

/// The files that were read last.
#[derive(Debug)]
pub struct Runs {
    runs: [Run; RUNS],
    /// The one to be replaced next.
    oldest: usize,
    most: u64,
}

impl Runs {
    /// For room of so many bytes; less than 16 KiB reads nothing ahead.
    pub fn new(bytes: usize) -> Self {
        let most = u64::try_from(bytes).unwrap_or(u64::MAX).min(AHEAD_BYTES_MAX);
        let most = if most < AHEAD_BYTES_MIN { 0 } else { most };
        Self { runs: [Run::default(); RUNS], oldest: 0, most }
    }

    /// The most that is read ahead.
    pub fn most(&self) -> usize {
        usize::try_from(self.most).unwrap_or(0)
    }

    /// A read of `len` bytes at `offset`: how many bytes behind it to read with it. Grows from
    /// 16 KiB to 128 KiB while reads of a file follow each other.
    pub fn next(&mut self, file: Nid, offset: u64, len: u64) -> u64 {
        let next = offset.saturating_add(len);
        let most = self.most;
        let goes_on = |run: &&mut Run| run.file == Some(file) && run.next == offset;
        if let Some(run) = self.runs.iter_mut().find(goes_on) {
            run.next = next;
            // Grows with each 16 KiB that were read, so that it is not much more than these.
            if offset / AHEAD_BYTES_MIN != next / AHEAD_BYTES_MIN {
                run.ahead = run.ahead.saturating_mul(2);
            }
            run.ahead = run.ahead.clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX).min(most);
            return run.ahead;
        }
        let ahead = if offset == 0 { AHEAD_BYTES_MIN.min(most) } else { 0 };
        if let Some(run) = self.runs.get_mut(self.oldest) {
            *run = Run { file: Some(file), next, ahead };
        }
        self.oldest = self.oldest.saturating_add(1).checked_rem(RUNS).unwrap_or(0);
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ahead_grows_with_a_sequence_and_ends_with_it() {
        let mut runs = Runs::new(1 << 20);
        let file = Nid(9);
        let mut seen = [0; 64];
        for (seen, at) in seen.iter_mut().zip((0..).step_by(4096)) {
            *seen = runs.next(file, at, 4096);
        }
        assert_eq!((seen[0], seen[63]), (16 << 10, 128 << 10));
        assert!(seen.is_sorted() && seen[8] <= 64 << 10);
        assert_eq!(runs.next(file, 1 << 30, 4096), 0, "somewhere else");
        assert_eq!(runs.next(file, 64 * 4096, 4096), 128 << 10, "and back");
    }

    #[test]
    fn files_are_told_apart_and_little_memory_reads_nothing_ahead() {
        let mut runs = Runs::new(16 << 10);
        assert_eq!(runs.next(Nid(1), 4096, 4096), 0);
        assert_eq!(runs.next(Nid(2), 8192, 4096), 0, "another file");
        assert_eq!(runs.next(Nid(1), 8192, 4096), 16 << 10);
        let mut none = Runs::new((16 << 10) - 1);
        assert_eq!([none.next(Nid(1), 0, 1), none.next(Nid(1), 1, 1)], [0, 0]);
    }
}
