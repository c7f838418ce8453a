//! Objects: bytes that are found by their digest, as the files of a composefs image name them.
//!
//! Always: an object is handed out only as bytes that its digest was compared with.

use core::fmt;

use super::{DiscoverError, IoErrorKind};
use rootlet_base::cause::write_cause;

/// The reason why an object cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjectFault {
    /// There are no objects.
    NoObjects,
    /// It is not among the objects.
    Absent,
    /// It has this many bytes, and another number is wanted.
    Length(u64),
    /// Its bytes have another digest.
    Untrue,
    /// The objects cannot be searched.
    Search(DiscoverError),
    /// It cannot be read.
    Io(IoErrorKind),
    /// Another file than that of the object is named for its bytes.
    Redirect,
}

impl fmt::Display for ObjectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObjects => f.write_str("no objects are given (objects=share:TAG:FOLDER)"),
            Self::Absent => f.write_str("it is not among the objects"),
            Self::Length(bytes) => write!(f, "it has {bytes} bytes"),
            Self::Untrue => f.write_str("its bytes have another digest"),
            Self::Search(error) => {
                f.write_str("the objects cannot be searched")?;
                write_cause(f, error)
            }
            Self::Io(kind) => {
                f.write_str("it cannot be read")?;
                write_cause(f, kind)
            }
            Self::Redirect => f.write_str("its redirect leads to another file"),
        }
    }
}

impl core::error::Error for ObjectFault {}
