//! Decoders of one pcluster: LZ4, MicroLZMA, DEFLATE, Zstandard.
//!
//! Always: any input gives the decoded bytes or a [`Fault`], never a panic; the time is bounded by
//! the bytes of the input and those decoded (`skip` and `out`), the memory by [`Limits`].
//!
//! | algorithm | decoder | memory in `new` | memory that `decode` takes, and keeps | refused |
//! |-|-|-|-|-|
//! | LZ4 | ours | window of 128 KiB | none | distances beyond the image's |
//! | MicroLZMA | ours | 30 KiB, window of the dictionary and as much again (64 KiB to 1 MiB): at most 9 MiB | none | lc + lp over 4, distances beyond the dictionary |
//! | DEFLATE | miniz_oxide | 11 KiB, window of 64 KiB | none | |
//! | Zstandard | ruzstd | none | a ring of the window and 1.5 MiB, rounded up to a power of two, and half as much while it grows; 4.5 MiB for a block: at most 11 MiB | windows beyond the image's, dictionaries; checksums are not looked at |
//!
//! There is one window, as large as the largest: it serves reads that begin within a pcluster. A
//! read from its first byte decodes in place, but for Zstandard, which copies once. To give a
//! prefix, Zstandard decodes to the end of the block of at most 128 KiB that holds its last byte;
//! the others stop at that byte.

mod algorithm;
mod fault;

#[cfg(feature = "alloc")]
mod decoders;
#[cfg(feature = "alloc")]
mod deflate;
#[cfg(feature = "alloc")]
mod lz4;
#[cfg(feature = "alloc")]
mod lzma;
#[cfg(feature = "alloc")]
mod range;
#[cfg(all(test, feature = "alloc"))]
mod tests;
#[cfg(feature = "alloc")]
mod window;
#[cfg(feature = "alloc")]
mod zstd;

pub use algorithm::{Algorithm, Algorithms};
#[cfg(feature = "alloc")]
pub use decoders::Decoders;
pub use fault::Fault;

/// The largest LZMA dictionary of the format, in bytes.
pub const LZMA_DICTIONARY_MAX: u32 = 8 << 20;

/// The largest Zstandard window of the format, in bytes.
pub const ZSTD_WINDOW_MAX: u32 = 1 << 20;

/// How far back the streams of an image reach, in bytes.
///
/// More than the format's maximum counts as the maximum. DEFLATE reaches back 32 KiB, whatever the
/// image says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// LZ4's farthest match.
    pub lz4_distance: u16,
    /// LZMA's dictionary.
    pub lzma_dictionary: u32,
    /// Zstandard's window.
    pub zstd_window: u32,
}

impl Limits {
    /// What the format allows.
    pub const MAX: Self = Self {
        lz4_distance: u16::MAX,
        lzma_dictionary: LZMA_DICTIONARY_MAX,
        zstd_window: ZSTD_WINDOW_MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::MAX
    }
}

/// Where a stream ends, counted from the bytes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After the last of them; more is a fault.
    Exact,
    /// There or later; what follows is not looked at.
    Open,
}

/// One encoded pcluster.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// How it is encoded.
    pub algorithm: Algorithm,
    /// Its bytes as they lie in the image.
    pub input: &'a [u8],
    /// The most zeros that may stand before the stream (0padding): to the end of the input's first
    /// block. 0 for LZ4 in an image without the 0padding feature: the stream begins at once, and
    /// other bytes may follow it.
    pub padding_max: usize,
    /// Where the stream ends.
    pub end: End,
}
