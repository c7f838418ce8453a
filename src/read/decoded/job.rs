//! Parts of a decoded read: what of which extent, and how much to decode for it.
//!
//! Always: pure; a window holds all bytes that its job wants.

use crate::erofs::Nid;
use crate::erofs::codec::Algorithm;
use crate::erofs::compressed::{Data, Encoding, Extent, Place};

/// Jobs of one batch at most.
const JOBS_MAX: usize = 32;

/// Names the bytes that a pcluster decodes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The inode, if the pcluster lies behind it.
    inline: Option<Nid>,
    at: u64,
    len: u64,
    algorithm: Option<Algorithm>,
}

impl Key {
    pub fn new(nid: Nid, place: Place, len: u64, encoding: Encoding) -> Self {
        let algorithm = encoding.algorithm();
        match place {
            Place::Blocks { at } => Self { inline: None, at, len, algorithm },
            Place::Inline { at } => Self { inline: Some(nid), at, len, algorithm },
        }
    }
}

/// What a read wants of one extent.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub extent: Extent,
    pub key: Key,
    /// Decoded bytes before the first that is wanted.
    pub skip: u64,
    /// Bytes that are wanted.
    pub len: usize,
    /// Whether whoever reads this reads the file from front to back.
    pub goes_on: bool,
    pub source: Source,
}

/// Where a job gets its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// They were in memory decoded, and are where they belong.
    Kept,
    /// From so many encoded bytes, which are to be read.
    Read { bytes: usize },
    /// From encoded bytes of a slot that lies in memory.
    Memory { slot: u16, at: u64, bytes: usize },
}

impl Source {
    /// Encoded bytes to be read.
    fn read_bytes(self) -> usize {
        match self {
            Self::Read { bytes } => bytes,
            _ => 0,
        }
    }
}

/// What to decode of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first decoded byte that is needed.
    pub from: u64,
    /// How many.
    pub len: usize,
    /// Whether the extent ends where they end.
    pub to_the_end: bool,
    /// Whether to keep them.
    pub keep: bool,
}

impl Window {
    /// How many bytes the decoder makes, those before the window included.
    pub fn decoded(&self) -> u64 {
        self.from.saturating_add(u64::try_from(self.len).unwrap_or(u64::MAX))
    }
}

/// The first read of a part of an extent decodes to a multiple of this many bytes.
const STEP: u64 = 4096;

impl Job {
    /// What to decode, where the cache keeps `entry_max` bytes at once. `again` says that this
    /// pcluster was decoded before.
    pub fn window(&self, entry_max: usize, again: bool) -> Window {
        let half = u64::try_from(entry_max / 2).unwrap_or(u64::MAX).max(1);
        let len = u64::try_from(self.len).unwrap_or(u64::MAX);
        let end = self.skip.saturating_add(len);
        let whole = self.skip == 0 && len == self.extent.len;
        let fits = self.extent.len <= half.saturating_mul(2);
        // Bytes of the rest that are decoded now need not be decoded up to again.
        let all = fits && (again || self.goes_on);
        if whole || len > half && !all {
            let to_the_end = end == self.extent.len;
            return Window { from: self.skip, len: self.len, to_the_end, keep: false };
        }
        let (from, upto) = if fits {
            // The first read may be the only one; the second is not.
            (0, if all { self.extent.len } else { end.next_multiple_of(STEP) })
        } else {
            let from = self.skip.saturating_sub(self.skip.checked_rem(half).unwrap_or(0));
            (from, from.saturating_add(half.saturating_mul(2)))
        };
        let upto = upto.min(self.extent.len);
        let len = usize::try_from(upto.saturating_sub(from)).unwrap_or(0);
        Window { from, len, to_the_end: upto == self.extent.len, keep: true }
    }
}

/// Bytes that are stored as they are, perhaps turned round a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where they begin.
    at: u64,
    /// How many there are.
    len: u64,
    /// How many of the last ones come first.
    turned: u64,
}

impl Stored {
    /// Of an extent that is not encoded, which the map has found no longer than what is stored;
    /// `at` is where its bytes begin.
    pub fn of(extent: &Extent, at: u64) -> Self {
        let Data::Encoded { len, encoding, .. } = extent.data else {
            return Self { at, len: 0, turned: 0 };
        };
        let turned = match encoding {
            Encoding::Interlaced { first } => len.saturating_sub(first),
            _ => 0,
        };
        Self { at, len, turned }
    }

    /// Where at most `want` bytes from byte `skip` on lie in one piece, and how many of them.
    pub fn part(&self, skip: u64, want: u64) -> (u64, u64) {
        match self.turned.checked_sub(skip) {
            Some(left) if left > 0 => {
                (self.at.saturating_add(self.len).saturating_sub(left), want.min(left))
            }
            _ => (self.at.saturating_add(skip.saturating_sub(self.turned)), want),
        }
    }
}

/// The jobs of one batch, in the order of the file.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: heapless::Vec<Job, JOBS_MAX>,
    encoded: usize,
    out: usize,
}

impl Jobs {
    /// Adds a job; false if there is no room, or if all encoded bytes would be more than
    /// `encoded_max`. The first job always finds room.
    pub fn push(&mut self, job: Job, encoded_max: usize) -> bool {
        let encoded = self.encoded.saturating_add(job.source.read_bytes());
        if !self.jobs.is_empty() && encoded > encoded_max {
            return false;
        }
        let pushed = self.jobs.push(job).is_ok();
        if pushed {
            self.encoded = encoded;
            self.out = self.out.saturating_add(job.len);
        }
        pushed
    }

    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// Sum of the encoded bytes.
    pub fn encoded_len(&self) -> usize {
        self.encoded
    }

    /// Sum of the wanted bytes.
    pub fn out_len(&self) -> usize {
        self.out
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]
    use super::*;

    fn job(skip: u64, len: usize, extent_len: u64) -> Job {
        let (place, encoding) = (Place::Blocks { at: 0 }, Encoding::Coded(Algorithm::Lz4));
        let data = Data::Encoded { place, len: 4096, encoding };
        let extent = Extent { offset: 0, len: extent_len, partial: false, data };
        let key = Key::new(Nid(1), place, 4096, encoding);
        Job { extent, key, skip, len, goes_on: false, source: Source::Read { bytes: 4096 } }
    }

    #[test]
    fn whole_extent_is_decoded_in_place() {
        let window = job(0, 10_000, 10_000).window(65_536, false);
        assert_eq!(window, Window { from: 0, len: 10_000, to_the_end: true, keep: false });
    }

    #[test]
    fn small_read_decodes_up_to_its_end_and_the_second_one_all() {
        let window = job(5000, 100, 60_000).window(65_536, false);
        assert_eq!(window, Window { from: 0, len: 8192, to_the_end: false, keep: true });
        let window = job(9000, 100, 60_000).window(65_536, true);
        assert_eq!(window, Window { from: 0, len: 60_000, to_the_end: true, keep: true });
    }

    #[test]
    fn the_rest_of_an_extent_is_decoded_at_once_for_who_goes_on_to_read_it() {
        let goes_on = Job { goes_on: true, ..job(0, 50_000, 60_000) };
        let whole = Window { from: 0, len: 60_000, to_the_end: true, keep: true };
        assert_eq!(goes_on.window(65_536, false), whole);
        let straight = Window { from: 0, len: 50_000, to_the_end: false, keep: false };
        assert_eq!(job(0, 50_000, 60_000).window(65_536, false), straight);
    }

    #[test]
    fn part_of_a_long_extent_is_a_window_or_goes_straight_to_the_reader() {
        let window = job(1 << 20, 4096, 12 << 20).window(65_536, false);
        assert_eq!(window, Window { from: 1 << 20, len: 65_536, to_the_end: false, keep: true });
        let window = job((1 << 20) - 1, 40_000, 12 << 20).window(65_536, false);
        let straight = Window { from: (1 << 20) - 1, len: 40_000, to_the_end: false, keep: false };
        assert_eq!(window, straight);
    }

    proptest::proptest! {
        #[test]
        fn window_holds_what_is_wanted_and_never_more_than_an_entry(
            skip in 0u64..1_000_000, len in 1u64..400_000, more in 0u64..1_000_000,
            again: bool, goes_on: bool, entry_max in 65_536usize..600_000,
        ) {
            let extent = skip + len + more;
            let job = job(skip, usize::try_from(len).unwrap_or(0), extent);
            let window = Job { goes_on, ..job }.window(entry_max, again);
            let upto = window.decoded();
            proptest::prop_assert!(window.from <= skip && upto >= skip + len && upto <= extent);
            proptest::prop_assert!(!window.keep || window.len <= entry_max);
            proptest::prop_assert_eq!(window.to_the_end, upto == extent);
        }
    }
}
