//! The source of the bytes of a map.
//!
//! Always: the implementer does all I/O of this crate.

use super::super::error::FormatError;

/// The metadata space of an inode: the primary device, or the metabox.
pub trait Metadata {
    /// The error of a read.
    type Error: From<FormatError>;

    /// Fills `out` with the bytes of the space from byte `at` on, or fails.
    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<(), Self::Error>;
}
