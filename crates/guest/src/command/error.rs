//! Why a command failed.
//!
//! Always: an error has the path of the file at fault; an error of the output is kept apart.

use super::print::AtPath;
use core::fmt;
use rootlet::Error;

/// The longest path in an error, in bytes.
const SHORT_BYTES_MAX: usize = 96;

/// A path, cut to what fits: nothing may be allocated for an error.
pub type ShortPath = heapless::Vec<u8, SHORT_BYTES_MAX>;

pub(crate) fn short(path: &[u8]) -> ShortPath {
    path.iter().copied().take(SHORT_BYTES_MAX).collect()
}

/// Why a command failed.
#[derive(Debug)]
pub enum CommandError<E> {
    /// A read failed, of this path.
    Read(ShortPath, Error),
    /// Rows are absent: the path of the first one, why, and the number of further ones.
    Rows(ShortPath, Error, u64),
    /// The output failed.
    Output(E),
}

impl<E: fmt::Debug> fmt::Display for CommandError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) | Self::Rows(path, error, 0) => AtPath(path, error).fmt(f),
            Self::Rows(path, error, more) => {
                write!(f, "{}; and {more} more", AtPath(path, error))
            }
            Self::Output(error) => write!(f, "output: {error:?}"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for CommandError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Read(_, error) | Self::Rows(_, error, _) => Some(error),
            Self::Output(_) => None,
        }
    }
}

/// Returns the error of a read of `path`.
pub(super) fn at<E>(path: &[u8], error: Error) -> CommandError<E> {
    CommandError::Read(short(path), error)
}
