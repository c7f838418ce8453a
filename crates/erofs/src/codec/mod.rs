//! Decoders of one pcluster: LZ4, MicroLZMA, DEFLATE, Zstandard.
//!
//! Always: any input gives the decoded bytes or a [`Fault`], never a panic; time is bounded by the
//! bytes of the input and the decoded bytes (`skip` and `out`), memory by [`Limits`].
//!
//! | algorithm | decoder | memory in `new` | memory that `decode` takes, and keeps | refused |
//! |-|-|-|-|-|
//! | LZ4 | `lz4.rs` | window of 128 KiB | none | distances beyond the image's |
//! | MicroLZMA | `lzma.rs` | 30 KiB, window of the dictionary and as much again (64 KiB to 1 MiB): at most 9 MiB | none | lc + lp over 4, distances beyond the dictionary |
//! | DEFLATE | miniz_oxide | 11 KiB, window of 64 KiB | none | |
//! | Zstandard | ruzstd | none | a ring of the window and 1.5 MiB, rounded up to a power of two, and half as much while it grows; 4.5 MiB for a block: at most 11 MiB | windows beyond the image's, dictionaries; checksums are not looked at |
//!
//! All algorithms share one window, of the largest size that one of them needs: it serves reads
//! that begin after the first byte of a pcluster. Reads from the first byte on are decoded in
//! place; only Zstandard copies once. To decode a prefix, Zstandard decodes to the end of the
//! block, of at most 128 KiB, that holds the last byte; the others stop at the last byte.

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
#[cfg(all(test, feature = "alloc"))]
mod vectors;
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

/// The farthest that the streams of an image reach back, in bytes.
///
/// A value above the format's maximum counts as the maximum. DEFLATE reaches back 32 KiB in any
/// image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest distance of a match of LZ4.
    pub lz4_distance: u16,
    /// The dictionary of LZMA.
    pub lzma_dictionary: u32,
    /// The window of Zstandard.
    pub zstd_window: u32,
}

impl Limits {
    /// The maximum of the format.
    pub const MAX: Self = Self {
        lz4_distance: u16::MAX,
        lzma_dictionary: LZMA_DICTIONARY_MAX,
        zstd_window: ZSTD_WINDOW_MAX,
    };

    /// Returns the same limits with another [`Limits::lz4_distance`].
    #[must_use]
    pub const fn with_lz4_distance(self, lz4_distance: u16) -> Self {
        Self { lz4_distance, ..self }
    }

    /// Returns the same limits with another [`Limits::lzma_dictionary`].
    #[must_use]
    pub const fn with_lzma_dictionary(self, lzma_dictionary: u32) -> Self {
        Self { lzma_dictionary, ..self }
    }

    /// Returns the same limits with another [`Limits::zstd_window`].
    #[must_use]
    pub const fn with_zstd_window(self, zstd_window: u32) -> Self {
        Self { zstd_window, ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::MAX
    }
}

/// The place where a stream must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the last byte asked for; further bytes are a fault.
    Exact,
    /// There or later; further bytes are ignored.
    Open,
}

/// One encoded pcluster.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Encoded<'a> {
    /// The algorithm that encoded the pcluster.
    pub algorithm: Algorithm,
    /// The bytes of the pcluster in the image.
    pub input: &'a [u8],
    /// The most zeros that may precede the stream (0padding): up to the end of the input's first
    /// block. 0 for LZ4 in an image without the 0padding feature: there the stream begins at once,
    /// and other bytes may follow it.
    pub padding_max: usize,
    /// The place where the stream must end.
    pub end: End,
}

impl<'a> Encoded<'a> {
    /// Returns the pcluster in `input`, without zeros before its stream, which must end with the
    /// last byte that is asked for.
    pub const fn new(algorithm: Algorithm, input: &'a [u8]) -> Self {
        Self { algorithm, input, padding_max: 0, end: End::Exact }
    }

    /// Returns the same pcluster with another [`Encoded::padding_max`].
    #[must_use]
    pub const fn with_padding_max(self, padding_max: usize) -> Self {
        Self { padding_max, ..self }
    }

    /// Returns the same pcluster with another [`Encoded::end`].
    #[must_use]
    pub const fn with_end(self, end: End) -> Self {
        Self { end, ..self }
    }
}
