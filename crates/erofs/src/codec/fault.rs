//! The faults of an encoded pcluster.
//!
//! Always: `decoded` counts bytes of the decoded stream.

use core::fmt;

use super::Algorithm;
use rootlet_base::num::Bug;

/// The reason why a pcluster does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say what `Display` writes of them")]
#[non_exhaustive]
pub enum Fault {
    /// The decoders were made without this algorithm.
    NotReady(Algorithm),
    /// There are only zeros where the stream may begin.
    Padding { zeros: usize },
    /// The input ends within the stream.
    InputEnds { decoded: u64 },
    /// The stream ends before the last byte that was asked for.
    Short { decoded: u64, asked: u64 },
    /// The stream does not end with the last byte that was asked for, as it must.
    Long { asked: u64 },
    /// A match reaches back before the first byte, or farther than the window.
    Distance { decoded: u64, distance: u64, max: u64 },
    /// An LZMA properties byte is not valid; the value is that before MicroLZMA's inversion.
    Properties(u8),
    /// The stream does not begin with the Zstandard magic number.
    Magic(u32),
    /// A Zstandard frame has a larger window than the image allows.
    Window { bytes: u64, max: u64 },
    /// A Zstandard frame needs a dictionary.
    Dictionary(u32),
    /// A code without a meaning, in the input that decodes to the bytes from `decoded` on.
    Code { decoded: u64 },
    /// Our own code is wrong; no stream can cause it.
    Bug(Bug),
}

impl From<Bug> for Fault {
    #[cold]
    fn from(bug: Bug) -> Self {
        Self::Bug(bug)
    }
}

#[cfg(feature = "alloc")]
impl Fault {
    /// Returns the fault with `base` added to its number of decoded bytes.
    pub(super) fn after(mut self, base: u64) -> Self {
        if let Self::InputEnds { decoded }
        | Self::Short { decoded, .. }
        | Self::Distance { decoded, .. }
        | Self::Code { decoded } = &mut self
        {
            let Some(sum) = decoded.checked_add(base) else { return Bug::here().into() };
            *decoded = sum;
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
                write!(f, "the stream does not end after the {asked} bytes that it should have")
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
                write!(f, "no valid code after {decoded} decoded bytes or soon after that")
            }
            Self::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for Fault {}
