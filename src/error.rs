//! The error of a mount or a read: a device failed, the image is corrupt or unsupported, the caller
//! asked wrongly, or our own code is wrong.
//!
//! Always: the kinds are never mixed. Only after [`Error::Io`] may a retry help. A fault of the
//! region is not an error.

use crate::blob::BindError;
use crate::erofs::overlay::Object;
use crate::erofs::{Corrupt, FormatError, Nid, Unsupported};
use crate::num::Bug;
use crate::storage::{IoError, ObjectFault};
use core::fmt;
use rootlet_base::cause::write_cause;

/// The reason why a mount or a read failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A device failed; a retry may help.
    Io(IoError),
    /// Bytes of the image are wrong.
    Corrupt(Corrupt),
    /// The image is valid, but uses a feature that this build does not read.
    Unsupported(Unsupported),
    /// A device slot of the image could not be bound to a source.
    Bind(BindError),
    /// The path does not lead where it should.
    Path(PathError),
    /// The object that holds a file's bytes cannot be read.
    Object {
        /// The inode of the file.
        nid: Nid,
        /// The object, as the marks of the file name it.
        object: Object,
        /// The fault.
        why: ObjectFault,
    },
    /// Our own code is wrong, at this line: neither a device nor the image is at fault.
    Bug(Bug),
}

impl Error {
    /// Returns the error for a state that the caller's line has found and that cannot be.
    #[cold]
    #[track_caller]
    pub(crate) const fn bug() -> Self {
        Self::Bug(Bug::here())
    }
}

/// A fault of a path, of a buffer, or of the file that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathError {
    /// There is no entry of that name.
    NotFound,
    /// A component before the last is not a directory; or a directory was asked for.
    NotADirectory,
    /// A file was asked for, and the path leads to a directory.
    IsADirectory,
    /// Only regular files have bytes to read.
    NotAFile,
    /// Only symlinks have a target.
    NotASymlink,
    /// More than [`crate::read::SYMLINK_HOPS_MAX`] symlinks on the way.
    TooManySymlinks,
    /// The path is longer than [`crate::read::PATH_BYTES_MAX`], or a component than 255 bytes.
    TooLong,
    /// A seek before the start of the file.
    BeforeStart,
    /// The inode with this number, or a position in this directory, is of another root.
    OtherRoot(Nid),
    /// A buffer is too small for the answer; the number is the bytes that the answer takes.
    BufferTooSmall(u64),
    /// The xattrs of a file, as text, are longer than the memory of a command.
    XattrsTooLong {
        /// The bytes of the text.
        bytes: u64,
        /// The bytes of the memory.
        room: u64,
    },
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file or directory"),
            Self::NotADirectory => f.write_str("not a directory"),
            Self::IsADirectory => f.write_str("is a directory"),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::NotASymlink => f.write_str("not a symlink"),
            Self::TooManySymlinks => f.write_str("too many symlinks"),
            Self::TooLong => f.write_str("path too long"),
            Self::BeforeStart => f.write_str("seek to before the start of the file"),
            Self::OtherRoot(Nid(number)) => write!(f, "inode {number} is of another root"),
            Self::BufferTooSmall(bytes) => write!(f, "the buffer is too small for {bytes} bytes"),
            Self::XattrsTooLong { bytes, room } => write!(
                f,
                "its xattrs are {bytes} bytes as text, and there is memory for {room} of them"
            ),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => {
                f.write_str("I/O error")?;
                write_cause(f, error)
            }
            Self::Corrupt(corrupt) => FormatError::Corrupt(*corrupt).fmt(f),
            Self::Unsupported(unsupported) => FormatError::Unsupported(*unsupported).fmt(f),
            Self::Bind(error) => error.fmt(f),
            Self::Path(error) => error.fmt(f),
            Self::Object { nid, object, why } => {
                write!(f, "{object} of nid {nid}")?;
                write_cause(f, why)
            }
            Self::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for PathError {}

impl core::error::Error for Error {
    /// Returns the cause: the failed transfer, or what is wrong with the image. The other errors
    /// pass on the cause of what they hold, whose message is theirs.
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Corrupt(corrupt) => Some(corrupt),
            Self::Unsupported(unsupported) => Some(unsupported),
            Self::Bind(error) => error.source(),
            Self::Object { why, .. } => Some(why),
            Self::Path(_) | Self::Bug(_) => None,
        }
    }
}

impl From<Bug> for Error {
    #[cold]
    fn from(bug: Bug) -> Self {
        Self::Bug(bug)
    }
}

impl From<Corrupt> for Error {
    #[cold]
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl From<Unsupported> for Error {
    #[cold]
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}

impl embedded_io::Error for Error {
    fn kind(&self) -> embedded_io::ErrorKind {
        match self {
            Self::Io(_) | Self::Object { .. } | Self::Bug(_) => embedded_io::ErrorKind::Other,
            Self::Corrupt(_) => embedded_io::ErrorKind::InvalidData,
            Self::Unsupported(_) => embedded_io::ErrorKind::Unsupported,
            Self::Bind(_) | Self::Path(PathError::NotFound) => embedded_io::ErrorKind::NotFound,
            Self::Path(_) => embedded_io::ErrorKind::InvalidInput,
        }
    }
}

impl From<IoError> for Error {
    #[cold]
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl From<FormatError> for Error {
    #[cold]
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Corrupt(corrupt) => Self::Corrupt(corrupt),
            FormatError::Unsupported(unsupported) => Self::Unsupported(unsupported),
            FormatError::Bug(bug) => Self::Bug(bug),
        }
    }
}

impl From<PathError> for Error {
    #[cold]
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}

impl From<BindError> for Error {
    #[cold]
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}
