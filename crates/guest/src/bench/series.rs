//! The series of reads of a bench: which pieces of a file, and how.
//!
//! Always: pure; the parts of a file that the cold series read do not overlap, so that each finds
//! its part cold.

use super::pieces::Pieces;
use rootlet_base::num::{Bug, OrBug};
use rootlet_base::units::{ByteRange, Pow2};

const fn size(bytes: u64) -> Pow2 {
    match Pow2::of(bytes) {
        Some(size) => size,
        None => panic!("no power of two"),
    }
}
const MIB: Pow2 = size(1 << 20);
/// The size from which streams lend their bytes.
pub const KIB_64: Pow2 = size(64 << 10);
const KIB_4: Pow2 = size(4 << 10);
/// The most bytes that are read in pieces of 64 KiB, or by a stream in pieces of 4 KiB.
const KIB_64_BYTES: u64 = 64 << 20;
/// The most bytes that are read in pieces of 4 KiB.
const KIB_4_BYTES: u64 = 8 << 20;
/// Reads of a random series.
const RANDOM_OPS: u64 = 2048;

/// A series of reads of one file.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// What is read.
    pub pieces: Pieces,
    /// How.
    pub way: Way,
}

/// How a series reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `read_at`, one read after another.
    ReadAt,
    /// A stream.
    Stream,
}

impl Series {
    fn sequential(size: Pow2, span: ByteRange) -> Self {
        Self { pieces: Pieces::sequence(size, span), way: Way::ReadAt }
    }

    fn stream(size: Pow2, span: ByteRange) -> Self {
        Self { pieces: Pieces::sequence(size, span), way: Way::Stream }
    }

    fn random(size: Pow2, span: ByteRange) -> Result<Self, Bug> {
        Ok(Self { pieces: Pieces::random(size, RANDOM_OPS, span).or_bug()?, way: Way::ReadAt })
    }

    /// Returns whether a device without a file on it can be read in this way.
    pub fn is_raw(&self) -> bool {
        self.way == Way::ReadAt
    }
}

/// The series of one file, by their names.
type Named = [(&'static str, Series); 6];

/// Returns the series over a whole file of `bytes`.
///
/// # Errors
/// A [`Bug`] if the file is shorter than 4 KiB.
pub fn series(bytes: u64) -> Result<Named, Bug> {
    let file = ByteRange::first(bytes);
    Ok([
        ("seq-1M", Series::sequential(MIB, file)),
        ("stream-1M", Series::stream(MIB, file)),
        ("seq-64K", Series::sequential(KIB_64, file.take(KIB_64_BYTES))),
        ("seq-4K", Series::sequential(KIB_4, file.take(KIB_4_BYTES))),
        ("stream-4K", Series::stream(KIB_4, file.take(KIB_64_BYTES))),
        ("rand-4K", Series::random(KIB_4, file)?),
    ])
}

/// Returns the series over parts of a file of `bytes`: three eighths for each of the series of
/// large pieces, the rest for those of small ones.
///
/// # Errors
/// A [`Bug`] if the file is shorter than 8 MiB.
pub fn cold_series(bytes: u64) -> Result<Named, Bug> {
    let large = MIB.floor((bytes / 8).checked_mul(3).or_bug()?);
    let (first, rest) = ByteRange::first(bytes).split(large);
    let (second, small) = rest.split(large);
    let fifth = KIB_64.floor(small.len() / 5);
    let (third, rest) = small.split(fifth);
    let (fourth, rest) = rest.split(fifth);
    let (fifth_part, rest) = rest.split(fifth);
    let last = rest.take(fifth.checked_mul(2).or_bug()?);
    Ok([
        ("seq-1M", Series::sequential(MIB, first)),
        ("stream-1M", Series::stream(MIB, second)),
        ("seq-64K", Series::sequential(KIB_64, third)),
        ("seq-4K", Series::sequential(KIB_4, fourth.take(KIB_4_BYTES))),
        ("stream-4K", Series::stream(KIB_4, fifth_part)),
        ("rand-4K", Series::random(KIB_4, last)?),
    ])
}
