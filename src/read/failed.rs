//! A mount that failed.
//!
//! Always: what the mount was given is here, for another try: the storage with all its devices, and
//! the layer.

use core::fmt;

use crate::error::Error;

/// Why an image could not be mounted, and what the mount was given.
#[non_exhaustive]
pub struct MountError<S, L> {
    /// Why.
    pub error: Error,
    /// The storage.
    pub storage: S,
    /// What stands below the blobs. It may know the blobs of the image by now.
    pub layer: L,
}

impl<S, L> fmt::Debug for MountError<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<S, L> fmt::Display for MountError<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<S, L> core::error::Error for MountError<S, L> {
    /// Returns the cause of the error, whose message is this one's.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.error.source()
    }
}

impl<S, L> From<MountError<S, L>> for Error {
    #[cold]
    fn from(failed: MountError<S, L>) -> Self {
        failed.error
    }
}
