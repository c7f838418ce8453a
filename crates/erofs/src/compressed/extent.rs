//! What can be asked of an extent.
//!
//! Always: nothing here wraps.

use super::{Encoding, Extent};
use crate::codec::Algorithm;

impl Extent {
    /// Returns the byte of the file after its last.
    #[expect(clippy::arithmetic_side_effects, reason = "an extent ends with its file, below 2^63")]
    pub const fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// Returns whether it gives byte `offset` of the file.
    pub const fn covers(&self, offset: u64) -> bool {
        self.offset <= offset && offset < self.end()
    }
}

impl Encoding {
    /// The algorithm that decodes it; `None` for bytes that are stored as they are.
    pub const fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Plain | Self::Interlaced { .. } => None,
            Self::Coded(algorithm) => Some(*algorithm),
        }
    }
}
