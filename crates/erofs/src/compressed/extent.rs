//! Queries of an extent: its end, its bytes and its algorithm.
//!
//! Always: nothing here wraps.

use super::{Encoding, Extent};
use crate::codec::Algorithm;

impl Extent {
    /// Returns the byte of the file after the last byte of the extent.
    #[expect(clippy::arithmetic_side_effects, reason = "an extent ends with its file, below 2^63")]
    pub const fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// Returns whether byte `offset` of the file is in the extent.
    pub const fn covers(&self, offset: u64) -> bool {
        self.offset <= offset && offset < self.end()
    }
}

impl Encoding {
    /// Returns the algorithm of the encoding; `None` for bytes that are stored uncompressed.
    pub const fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Plain | Self::Interlaced { .. } => None,
            Self::Coded(algorithm) => Some(*algorithm),
        }
    }
}
