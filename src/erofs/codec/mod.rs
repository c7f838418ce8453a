//! Decoders of one pcluster: LZ4, MicroLZMA, DEFLATE, Zstandard.
//!
//! Always: any input gives the decoded bytes or a [`Fault`], never a panic; the time is bounded by
//! the bytes of the input and those decoded (`skip` and `out`), the memory by [`Limits`].

mod algorithm;
mod fault;
mod lz4;
mod window;

pub use algorithm::{Algorithm, Algorithms};
pub use fault::Fault;

use alloc::vec;
use alloc::vec::Vec;

/// The largest LZMA dictionary of the format, in bytes.
pub const LZMA_DICTIONARY_MAX: u32 = 8 << 20;

/// The largest Zstandard window of the format, in bytes.
pub const ZSTD_WINDOW_MAX: u32 = 1 << 20;

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
#[derive(Debug)]
pub struct Decoders {
    algorithms: Algorithms,
    limits: Limits,
    window: Vec<u8>,
}

impl Decoders {
    /// Decoders for `algorithms`; all memory that can be allocated ahead is.
    #[must_use]
    pub fn new(algorithms: Algorithms, limits: &Limits) -> Self {
        Self { algorithms, limits: *limits, window: vec![0; 131_072] }
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
        if !self.algorithms.has(encoded.algorithm) {
            return Err(Fault::NotReady(encoded.algorithm));
        }
        let input = stream(encoded)?;
        match encoded.algorithm {
            Algorithm::Lz4 => {
                let mut stream = lz4::Lz4::new(input);
                window::decode(&mut stream, &mut self.window, lz4::HISTORY, skip, out, encoded.end)
            }
            _ => Err(Fault::Code { decoded: self.limits.zstd_window.into() }),
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
