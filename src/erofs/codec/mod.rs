//! Decoders of one pcluster: LZ4, MicroLZMA, DEFLATE, Zstandard.
//!
//! Always: any input gives the decoded bytes or a [`Fault`], never a panic; the time is bounded by
//! the bytes of the input and those decoded (`skip` and `out`), the memory by [`Limits`].
//!
//! | algorithm | decoder | memory in `new` | memory that `decode` takes, and keeps | refused |
//! |-|-|-|-|-|
//! | LZ4 | ours | window of 128 KiB | none | |
//! | MicroLZMA | ours | 30 KiB, window of the dictionary and as much again (64 KiB to 1 MiB): at most 9 MiB | none | lc + lp over 4, distances beyond the dictionary |
//! | DEFLATE | miniz_oxide | 11 KiB, window of 64 KiB | none | |
//! | Zstandard | ruzstd | none | window and 256 KiB, rounded up to a power of two: at most 2 MiB; sequences of a block: at most 2 MiB; literals and block: 256 KiB | windows beyond the image's, dictionaries; checksums are not looked at |
//!
//! There is one window, as large as the largest: it serves reads that begin within a pcluster. A
//! read from its first byte decodes in place, but for Zstandard, which copies once. To give a
//! prefix, Zstandard decodes to the end of the block of at most 128 KiB that holds its last byte;
//! the others stop at that byte.

mod algorithm;
mod deflate;
mod fault;
mod lz4;
mod lzma;
mod range;
mod window;
mod zstd;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use miniz_oxide::inflate::core::DecompressorOxide;

use self::deflate::Deflate;
use self::lz4::Lz4;
use self::lzma::Lzma;
pub use algorithm::{Algorithm, Algorithms};
pub use fault::Fault;

/// The largest LZMA dictionary of the format, in bytes.
pub const LZMA_DICTIONARY_MAX: u32 = 8 << 20;

/// The largest Zstandard window of the format, in bytes.
pub const ZSTD_WINDOW_MAX: u32 = 1 << 20;

/// By how much the window of LZMA is longer than the dictionary, at least and at most: what is
/// decoded before the window slides.
const LZMA_SLIDE_MIN: usize = 64 << 10;
const LZMA_SLIDE_MAX: usize = 1 << 20;

/// How far back the streams of an image reach, in bytes.
///
/// More than the format's maximum counts as the maximum. LZ4 reaches back 64 KiB and DEFLATE
/// 32 KiB, whatever the image says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// LZMA's dictionary.
    pub lzma_dictionary: u32,
    /// Zstandard's window.
    pub zstd_window: u32,
}

impl Limits {
    /// What the format allows.
    pub const MAX: Self =
        Self { lzma_dictionary: LZMA_DICTIONARY_MAX, zstd_window: ZSTD_WINDOW_MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Self::MAX
    }
}

/// Whether the stream may go on behind the bytes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It ends there; more is a fault.
    Exact,
    /// It may go on; what follows is not looked at.
    Open,
}

/// One encoded pcluster.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// How it is encoded.
    pub algorithm: Algorithm,
    /// Its bytes as they lie in the image.
    pub input: &'a [u8],
    /// How many zeros may stand before the stream (0padding): to the end of the input's first
    /// block. 0 for LZ4 in an image without the 0padding feature: the stream begins at once, and
    /// the input may go on behind it.
    pub padding_max: usize,
    /// Where the stream ends.
    pub end: End,
}

/// The decoders that an image needs, with their memory.
pub struct Decoders {
    algorithms: Algorithms,
    dictionary: usize,
    window: Vec<u8>,
    lzma: Option<Box<lzma::Model>>,
    deflate: Option<Box<DecompressorOxide>>,
    zstd: Option<zstd::Zstd>,
}

impl core::fmt::Debug for Decoders {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Decoders").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl Decoders {
    /// Decoders for `algorithms`; all memory that can be allocated ahead is.
    #[must_use]
    pub fn new(algorithms: Algorithms, limits: &Limits) -> Self {
        let has = |algorithm| algorithms.has(algorithm);
        let dictionary = limits.lzma_dictionary.min(LZMA_DICTIONARY_MAX);
        let dictionary = usize::try_from(dictionary).unwrap_or_default();
        let mut window = 0;
        if has(Algorithm::Lz4) {
            window = lz4::HISTORY.saturating_mul(2);
        }
        if has(Algorithm::Deflate) {
            window = window.max(deflate::HISTORY.saturating_mul(2));
        }
        if has(Algorithm::MicroLzma) {
            let slide = dictionary.clamp(LZMA_SLIDE_MIN, LZMA_SLIDE_MAX);
            window = window.max(dictionary.saturating_add(slide));
        }
        let zstd_window = limits.zstd_window.min(ZSTD_WINDOW_MAX);
        Self {
            algorithms,
            dictionary,
            window: vec![0; window],
            lzma: has(Algorithm::MicroLzma).then(|| Box::new(lzma::Model::new())),
            deflate: has(Algorithm::Deflate).then(Box::default),
            zstd: has(Algorithm::Zstd).then(|| zstd::Zstd::new(zstd_window)),
        }
    }

    /// What decoders for `algorithms` allocate at most, in bytes.
    pub fn bytes(algorithms: Algorithms, limits: &Limits) -> usize {
        let _ = (algorithms, limits);
        131_072
    }

    /// Fills `out` with the bytes that the pcluster decodes to from byte `skip` on.
    ///
    /// With `skip` 0 the stream is decoded in `out` itself, without a copy. Else what is before
    /// `skip` passes through a window and is thrown away.
    ///
    /// # Errors
    /// What is wrong with the stream. `out` then holds nothing of use.
    pub fn decode(
        &mut self,
        encoded: &Encoded<'_>,
        skip: u64,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        let Encoded { algorithm, end, .. } = *encoded;
        let input = stream(encoded)?;
        let window = &mut *self.window;
        match algorithm {
            Algorithm::Lz4 if self.algorithms.has(algorithm) => {
                let mut stream = Lz4::new(input);
                window::decode(&mut stream, window, lz4::HISTORY, skip, out, end)
            }
            Algorithm::MicroLzma if let Some(model) = &mut self.lzma => {
                let mut stream = Lzma::new(model, input, self.dictionary)?;
                window::decode(&mut stream, window, self.dictionary, skip, out, end)
            }
            Algorithm::Deflate if let Some(state) = &mut self.deflate => {
                let mut stream = Deflate::new(state, input);
                window::decode(&mut stream, window, deflate::HISTORY, skip, out, end)
            }
            Algorithm::Zstd if let Some(zstd) = &mut self.zstd => {
                zstd.decode(input, skip, out, end)
            }
            _ => Err(Fault::NotReady(algorithm)),
        }
    }
}

/// The input behind the zeros of its padding.
fn stream<'a>(encoded: &Encoded<'a>) -> Result<&'a [u8], Fault> {
    let padding = encoded.input.get(..encoded.padding_max).unwrap_or(encoded.input);
    let zeros = match padding.iter().position(|byte| *byte != 0) {
        Some(zeros) => zeros,
        None if padding.is_empty() => 0,
        None => return Err(Fault::Padding { zeros: padding.len() }),
    };
    Ok(encoded.input.get(zeros..).unwrap_or_default())
}

#[cfg(test)]
mod tests;
