//! The decoders of a mount, and the memory that they share.
//!
//! Always: memory is allocated in [`Decoders::new`], except that the crate for Zstandard allocates
//! at its first frames; all memory together is at most [`Decoders::bytes`].

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use miniz_oxide::inflate::core::DecompressorOxide;

use super::deflate::{self, Deflate};
use super::lz4::{self, Lz4};
use super::lzma::{self, Lzma};
use super::{Algorithm, Algorithms, Encoded, Fault, LZMA_DICTIONARY_MAX, Limits, ZSTD_WINDOW_MAX};
use super::{window, zstd};
use rootlet_base::num::{OrBug, index};

/// The least bytes that the window of LZMA has beside its dictionary: they are decoded before the
/// window slides.
const LZMA_SLIDE_MIN: usize = 64 << 10;
/// The most bytes that the window of LZMA has beside its dictionary.
const LZMA_SLIDE_MAX: usize = 1 << 20;

/// The decoders that an image needs, with their memory.
pub struct Decoders {
    algorithms: Algorithms,
    lz4_distance: usize,
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
    /// Returns decoders for `algorithms`. Allocates all memory that can be allocated ahead.
    #[must_use]
    pub fn new(algorithms: Algorithms, limits: &Limits) -> Self {
        let has = |algorithm| algorithms.has(algorithm);
        let zstd_window = limits.zstd_window.min(ZSTD_WINDOW_MAX);
        Self {
            algorithms,
            lz4_distance: usize::from(limits.lz4_distance),
            dictionary: dictionary(limits),
            window: vec![0; Self::window_bytes(algorithms, limits)],
            lzma: has(Algorithm::MicroLzma).then(|| Box::new(lzma::Model::new())),
            deflate: has(Algorithm::Deflate).then(Box::default),
            zstd: has(Algorithm::Zstd).then(|| zstd::Zstd::new(zstd_window)),
        }
    }

    /// Returns the most bytes that decoders for `algorithms` allocate.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "four parts of at most 11 MiB")]
    pub fn bytes(algorithms: Algorithms, limits: &Limits) -> usize {
        let lzma = if algorithms.has(Algorithm::MicroLzma) { lzma::Model::BYTES } else { 0 };
        let deflate =
            if algorithms.has(Algorithm::Deflate) { size_of::<DecompressorOxide>() } else { 0 };
        let zstd =
            if algorithms.has(Algorithm::Zstd) { zstd::bytes_max(limits.zstd_window) } else { 0 };
        let window = Self::window_bytes(algorithms, limits);
        window + lzma + deflate + zstd
    }

    /// Returns the length of the window, in bytes; it serves all algorithms except Zstandard.
    #[expect(clippy::arithmetic_side_effects, reason = "at most 8 MiB and LZMA_SLIDE_MAX")]
    fn window_bytes(algorithms: Algorithms, limits: &Limits) -> usize {
        let mut window = 0;
        if algorithms.has(Algorithm::Lz4) {
            window = 2 * lz4::HISTORY;
        }
        if algorithms.has(Algorithm::Deflate) {
            window = window.max(2 * deflate::HISTORY);
        }
        if algorithms.has(Algorithm::MicroLzma) {
            let dictionary = dictionary(limits);
            let slide = dictionary.clamp(LZMA_SLIDE_MIN, LZMA_SLIDE_MAX);
            window = window.max(dictionary + slide);
        }
        window
    }

    /// Fills `out` with the decoded bytes of a pcluster from byte `skip` on. `skip + out.len()` is
    /// below 2^64.
    ///
    /// With `skip` 0 the stream is decoded in `out` itself, without a copy. Else the bytes before
    /// `skip` pass through a window and are dropped.
    ///
    /// # Errors
    /// The fault of the stream. `out` then holds any bytes.
    pub fn decode(
        &mut self,
        encoded: &Encoded<'_>,
        skip: u64,
        out: &mut [u8],
    ) -> Result<(), Fault> {
        let Encoded { algorithm, end, .. } = *encoded;
        let input = stream(encoded)?;
        let window = &mut *self.window;
        let not_ready = Fault::NotReady(algorithm);
        match algorithm {
            Algorithm::Lz4 => {
                if !self.algorithms.has(algorithm) {
                    return Err(not_ready);
                }
                let mut stream = Lz4::new(input, self.lz4_distance);
                window::decode(&mut stream, window, lz4::HISTORY, skip, out, end)
            }
            Algorithm::MicroLzma => {
                let model = self.lzma.as_mut().ok_or(not_ready)?;
                let mut stream = Lzma::new(model, input, self.dictionary)?;
                window::decode(&mut stream, window, self.dictionary, skip, out, end)
            }
            Algorithm::Deflate => {
                let state = self.deflate.as_mut().ok_or(not_ready)?;
                let mut stream = Deflate::new(state, input);
                window::decode(&mut stream, window, deflate::HISTORY, skip, out, end)
            }
            Algorithm::Zstd => {
                let zstd = self.zstd.as_mut().ok_or(not_ready)?;
                zstd.decode(input, skip, out, end)
            }
        }
    }
}

fn dictionary(limits: &Limits) -> usize {
    index(limits.lzma_dictionary.min(LZMA_DICTIONARY_MAX))
}

/// Returns the input after the zeros of its padding.
fn stream<'a>(encoded: &Encoded<'a>) -> Result<&'a [u8], Fault> {
    let padding = encoded.input.iter().take(encoded.padding_max);
    let most = padding.len();
    let zeros = padding.take_while(|byte| **byte == 0).count();
    if zeros == most && most != 0 {
        return Err(Fault::Padding { zeros });
    }
    Ok(encoded.input.get(zeros..).or_bug()?)
}
