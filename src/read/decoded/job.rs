//! The jobs of a decoded read: the bytes wanted of one extent, and the bytes to decode for them.
//!
//! Always: pure; the window of a job contains all bytes that the job wants.

use crate::erofs::Nid;
use crate::erofs::codec::Algorithm;
use crate::erofs::compressed::{Data, Encoding, Extent, Place};
use crate::num::{Bug, OrBug, narrow, wide};
use crate::units::{BLOCK, ByteRange, DeviceSlot, Pow2};

/// The most jobs of one batch.
const JOBS_MAX: usize = 32;

/// The identity of a pcluster in the cache of decoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The inode, if the pcluster lies in the inode's inline tail.
    inline: Option<Nid>,
    /// The number of the image in a stack.
    layer: u8,
    at: u64,
    len: u64,
    algorithm: Option<Algorithm>,
}

impl Key {
    /// Returns the key of the pcluster with `len` encoded bytes at `place`.
    pub fn new(nid: Nid, place: Place, len: u64, encoding: Encoding) -> Self {
        let (algorithm, layer) = (encoding.algorithm(), nid.layer());
        match place {
            Place::Blocks { at } => Self { inline: None, layer, at, len, algorithm },
            Place::Inline { at } => Self { inline: Some(nid), layer, at, len, algorithm },
        }
    }
}

/// The part of a read that lies in one extent.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub extent: Extent,
    pub key: Key,
    /// The wanted bytes, counted from the first decoded byte of the extent.
    pub want: ByteRange,
    /// Whether the reader seems to read the file from front to back.
    pub follows: bool,
    pub input: Input,
    /// The bytes to decode; `None` if they are stored as they are, or in `out` already.
    pub window: Option<Window>,
}

/// The input of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// None: the decoded bytes were in the cache, and are in `out` already.
    Kept,
    /// `bytes` encoded bytes, still to be read.
    Read { bytes: usize },
    /// Encoded bytes of a device slot that lies in memory.
    Memory { slot: DeviceSlot, range: ByteRange },
}

impl Input {
    /// Returns the number of encoded bytes to read.
    fn read_bytes(self) -> usize {
        match self {
            Self::Read { bytes } => bytes,
            _ => 0,
        }
    }
}

/// The bytes to decode of an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The decoded bytes to produce, counted from the first of the extent.
    pub bytes: ByteRange,
    /// Whether `bytes` end with the extent.
    pub to_the_end: bool,
    /// Whether to keep `bytes` in the cache.
    pub keep: bool,
}

/// The first read of an extent decodes up to a multiple of 4 KiB.
const STEP: Pow2 = BLOCK;

impl Job {
    /// Returns the bytes to decode. `entry_max` is the longest entry of the cache; `again` says
    /// that the cache has bytes of this pcluster.
    pub fn window_of(&self, entry_max: usize, again: bool) -> Result<Window, Bug> {
        let (want, all) = (self.want, ByteRange::first(self.extent.len));
        let half = wide(entry_max / 2);
        let most = half << 1;
        let fits = all.len() <= most;
        // A reader that will want the rest decodes all now, rather than from byte 0 each time.
        let whole = fits && (again || self.follows);
        if want == all || want.len() > half && !whole {
            return Ok(Window { bytes: want, to_the_end: want.end() == all.end(), keep: false });
        }
        let bytes = if !fits {
            // The half entry that `want` begins in, and the next: a job of at most half an entry
            // lies in the two.
            let into = want.start().checked_rem(half).or_bug()?;
            all.skip(want.start().checked_sub(into).or_bug()?).take(most)
        } else if whole {
            all
        } else {
            // This read may be the only one of the extent.
            all.take(STEP.ceil(want.end()).or_bug()?)
        };
        Ok(Window { bytes, to_the_end: bytes.end() == all.end(), keep: true })
    }
}

/// Bytes that are stored uncompressed, perhaps rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The stored bytes.
    all: ByteRange,
    /// The number of bytes at the end of `all` that come first in the file.
    rotated: u64,
}

impl Stored {
    /// Returns the stored bytes of an uncompressed extent. The map has checked that the extent is
    /// not longer than they are.
    pub fn of(extent: &Extent) -> Result<Self, Bug> {
        let Data::Encoded { len, encoding, .. } = extent.data else { return Err(Bug::here()) };
        let rotated = match encoding {
            Encoding::Interlaced { first } => len.checked_sub(first).or_bug()?,
            _ => 0,
        };
        Ok(Self { all: ByteRange::first(len), rotated })
    }

    /// Returns the longest contiguous range of stored bytes that is the front of `want`: at least a
    /// byte if `want` has one.
    pub fn part(&self, want: ByteRange) -> Result<ByteRange, Bug> {
        let (first, last) = self.all.split(self.all.len().checked_sub(self.rotated).or_bug()?);
        let part = match want.start().checked_sub(last.len()) {
            None => last.skip(want.start()),
            Some(skip) => first.skip(skip),
        };
        Ok(part.take(want.len()))
    }
}

/// The jobs of one batch, in the order of the file.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: heapless::Vec<Job, JOBS_MAX>,
    encoded: usize,
    out: u64,
}

impl Jobs {
    /// Appends a job. Returns false if the batch is full, or if its encoded bytes would exceed
    /// `encoded_max`; the first job always fits.
    pub fn push(&mut self, job: Job, encoded_max: usize) -> Result<bool, Bug> {
        let encoded = self.encoded.checked_add(job.input.read_bytes()).or_bug()?;
        if self.jobs.is_full() || !self.jobs.is_empty() && encoded > encoded_max {
            return Ok(false);
        }
        self.encoded = encoded;
        self.out = self.out.checked_add(job.want.len()).or_bug()?;
        self.jobs.push(job).ok().or_bug()?;
        Ok(true)
    }

    /// Returns the jobs.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }

    /// Returns the sum of the encoded bytes to read.
    pub fn encoded_len(&self) -> usize {
        self.encoded
    }

    /// Returns the most bytes that a job decodes for the cache.
    pub fn kept_len(&self) -> Result<usize, Bug> {
        let kept = |job: &Job| job.window.filter(|window| window.keep);
        let most = self.jobs.iter().filter_map(kept).map(|window| window.bytes.len()).max();
        most.map_or(Ok(0), narrow)
    }

    /// Returns the sum of the wanted bytes.
    pub fn out_len(&self) -> u64 {
        self.out
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        reason = "a test that panics has failed"
    )]
    use super::*;

    fn window(from: u64, len: u64, to_the_end: bool, keep: bool) -> Result<Window, Bug> {
        Ok(Window { bytes: ByteRange::sized(from, len).unwrap(), to_the_end, keep })
    }

    fn job(skip: u64, len: u64, extent_len: u64) -> Job {
        let (place, encoding) = (Place::Blocks { at: 0 }, Encoding::Coded(Algorithm::Lz4));
        let data = Data::Encoded { place, len: 4096, encoding };
        let extent = Extent { offset: 0, len: extent_len, partial: false, data };
        let key = Key::new(Nid(1), place, 4096, encoding);
        let want = ByteRange::sized(skip, len).unwrap();
        let input = Input::Read { bytes: 4096 };
        Job { extent, key, want, follows: false, input, window: None }
    }

    #[test]
    fn whole_extent_is_decoded_in_place() {
        let found = job(0, 10_000, 10_000).window_of(65_536, false);
        assert_eq!(found, window(0, 10_000, true, false));
    }

    #[test]
    fn small_read_decodes_up_to_its_end_and_the_second_one_all() {
        let found = job(5000, 100, 60_000).window_of(65_536, false);
        assert_eq!(found, window(0, 8192, false, true));
        let found = job(9000, 100, 60_000).window_of(65_536, true);
        assert_eq!(found, window(0, 60_000, true, true));
    }

    #[test]
    fn the_rest_of_an_extent_is_decoded_at_once_for_who_goes_on_to_read_it() {
        let follows = Job { follows: true, ..job(0, 50_000, 60_000) };
        let whole = window(0, 60_000, true, true);
        assert_eq!(follows.window_of(65_536, false), whole);
        let straight = window(0, 50_000, false, false);
        assert_eq!(job(0, 50_000, 60_000).window_of(65_536, false), straight);
    }

    #[test]
    fn part_of_a_long_extent_is_a_window_or_goes_straight_to_the_reader() {
        let found = job(1 << 20, 4096, 12 << 20).window_of(65_536, false);
        assert_eq!(found, window(1 << 20, 65_536, false, true));
        let found = job((1 << 20) - 1, 40_000, 12 << 20).window_of(65_536, false);
        let straight = window((1 << 20) - 1, 40_000, false, false);
        assert_eq!(found, straight);
    }

    proptest::proptest! {
        #[test]
        fn window_holds_what_is_wanted_and_never_more_than_an_entry(
            skip in 0u64..1_000_000, len in 1u64..400_000, more in 0u64..1_000_000,
            again: bool, follows: bool, entry_max in 65_536usize..600_000,
        ) {
            let extent = skip + len + more;
            let job = job(skip, len, extent);
            let window = Job { follows, ..job }.window_of(entry_max, again).unwrap();
            let (from, upto) = (window.bytes.start(), window.bytes.end());
            proptest::prop_assert!(from <= skip && upto >= skip + len && upto <= extent);
            proptest::prop_assert!(!window.keep || window.bytes.len() <= wide(entry_max));
            proptest::prop_assert_eq!(window.to_the_end, upto == extent);
        }
    }
    #[test]
    fn rotated_bytes_are_found_in_at_most_two_pieces() {
        let (place, encoding) = (Place::Blocks { at: 0 }, Encoding::Interlaced { first: 3000 });
        let data = Data::Encoded { place, len: 4096, encoding };
        let extent = Extent { offset: 0, len: 4000, partial: false, data };
        let stored = Stored::of(&extent).unwrap();
        let part = |at, len| {
            let part = stored.part(ByteRange::sized(at, len).unwrap()).unwrap();
            (part.start(), part.len())
        };
        assert_eq!(part(0, 4000), (3000, 1096));
        assert_eq!(part(100, 10), (3100, 10));
        assert_eq!(part(1095, 2), (4095, 1));
        assert_eq!(part(1096, 2904), (0, 2904));
    }
}
