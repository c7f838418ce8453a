//! What can be wrong with an encoded pcluster.
//!
//! Always: positions are bytes of the input as it was given, padding included, or bytes of the
//! decoded stream; each variant says which.

use core::fmt;

use super::Algorithm;

/// Why a pcluster does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say what `Display` writes of them")]
pub enum Fault {
    /// The decoders were made without this algorithm.
    NotReady(Algorithm),
    /// The padding before the stream reaches over everything that may be padding.
    Padding { zeros: usize },
    /// The input ends within the stream, after this many decoded bytes.
    InputEnds { decoded: u64 },
    /// The stream ends before all bytes that were asked for.
    Short { decoded: u64, asked: u64 },
    /// The stream goes on behind the last byte asked for, and must not.
    Long { asked: u64 },
    /// A match that reaches before the first byte, or beyond the window.
    Distance { decoded: u64, distance: u64, max: u64 },
    /// An LZMA properties byte (as it is before its bits are inverted for MicroLZMA).
    Properties(u8),
    /// A stream that does not begin with the Zstandard magic number.
    Magic(u32),
    /// A Zstandard frame whose window is larger than the image allows.
    Window { bytes: u64, max: u64 },
    /// A Zstandard frame that wants a dictionary.
    Dictionary(u32),
    /// A code that has no meaning, in what decodes to the bytes from `decoded` on.
    Code { decoded: u64 },
}

#[cfg(feature = "alloc")]
impl Fault {
    /// This fault, found in what comes behind `base` decoded bytes.
    pub(super) fn behind(mut self, base: u64) -> Self {
        if let Self::InputEnds { decoded }
        | Self::Short { decoded, .. }
        | Self::Distance { decoded, .. }
        | Self::Code { decoded } = &mut self
        {
            *decoded = decoded.saturating_add(base);
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady(algorithm) => {
                write!(f, "{algorithm} is not among the image's algorithms")
            }
            Self::Padding { zeros } => write!(f, "{zeros} zeros and no stream"),
            Self::InputEnds { decoded } => {
                write!(f, "the input ends within the stream, after {decoded} decoded bytes")
            }
            Self::Short { decoded, asked } => {
                write!(f, "the stream decodes to {decoded} bytes, {asked} were asked for")
            }
            Self::Long { asked } => {
                write!(f, "the stream goes on behind the {asked} bytes that it should have")
            }
            Self::Distance { decoded, distance, max } => write!(
                f,
                "a match after {decoded} decoded bytes reaches {distance} bytes back, at most {max}"
            ),
            Self::Properties(byte) => write!(f, "LZMA properties {byte:#04x}"),
            Self::Magic(magic) => write!(f, "Zstandard magic number {magic:#010x}"),
            Self::Window { bytes, max } => {
                write!(f, "a window of {bytes} bytes, at most {max}")
            }
            Self::Dictionary(id) => write!(f, "a frame with dictionary {id}"),
            Self::Code { decoded } => {
                write!(f, "no valid code after {decoded} decoded bytes or soon behind")
            }
        }
    }
}

impl core::error::Error for Fault {}
