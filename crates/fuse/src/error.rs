//! The errors of a session with its daemon: the operation, and the cause.
//!
//! Always: an error names the operation and the numbers that were seen, so that a person can find
//! them in a trace of the messages.

use core::fmt;

use rootlet_base::cause::write_cause;

use rootlet_storage::{DiscoverError, Errno, IoErrorKind, LinkFault, PathFault};

/// The operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// The handshake.
    Init,
    /// Looking up a component of a path; the number counts components from 1.
    Lookup(usize),
    /// Reading the target of a symbolic link; the number is that of its component.
    Readlink(usize),
    /// Giving back a lookup.
    Forget,
    /// Opening a file.
    Open,
    /// Closing a file.
    Release,
    /// Ending the session.
    Destroy,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("INIT"),
            Self::Lookup(component) => write!(f, "LOOKUP of path component {component}"),
            Self::Readlink(component) => write!(f, "READLINK of path component {component}"),
            Self::Forget => f.write_str("FORGET"),
            Self::Open => f.write_str("OPEN"),
            Self::Release => f.write_str("RELEASE"),
            Self::Destroy => f.write_str("DESTROY"),
        }
    }
}

/// The expected value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// This number.
    Exactly(u64),
    /// This number or a larger one.
    AtLeast(u64),
    /// This number or a smaller one.
    AtMost(u64),
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(number) => write!(f, "{number}"),
            Self::AtLeast(number) => write!(f, "at least {number}"),
            Self::AtMost(number) => write!(f, "at most {number}"),
        }
    }
}

/// The reason why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The daemon refused with this errno of Linux (1 to 511).
    Errno(u32),
    /// The reply breaks the protocol.
    Malformed {
        /// The field.
        what: &'static str,
        /// The value that it holds.
        got: u64,
        /// The value that it should hold.
        want: Want,
    },
    /// The transport failed.
    Io(IoErrorKind),
    /// The daemon speaks a major version of the protocol other than 7.
    Version {
        /// The daemon's major version.
        major: u32,
        /// The daemon's minor version.
        minor: u32,
    },
    /// The path was refused before anything was sent.
    Path(PathFault),
    /// The symbolic link is not followed.
    Link(LinkFault),
    /// A node has the wrong type for its place in the path: the last must be a regular file, all
    /// others directories. The number is its mode.
    Type(u32),
    /// A reopened file has another version than before.
    Changed,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => Errno(*errno).fmt(f),
            Self::Malformed { what, got, want } => {
                write!(f, "the daemon broke the protocol: {what} is {got}, expected {want}")
            }
            Self::Io(kind) => kind.fmt(f),
            Self::Version { major, minor } => {
                write!(f, "the daemon speaks FUSE {major}.{minor}, only 7.x is supported")
            }
            Self::Path(fault) => fault.fmt(f),
            Self::Link(fault) => fault.fmt(f),
            Self::Type(mode) => DiscoverError::Type(*mode).fmt(f),
            Self::Changed => IoErrorKind::Changed.fmt(f),
        }
    }
}

impl core::error::Error for Cause {}

/// A failed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error {
    /// The operation.
    pub operation: Operation,
    /// Why it failed.
    pub cause: Cause,
}

impl Error {
    /// Returns the error of an operation that failed for this cause.
    pub const fn new(operation: Operation, cause: Cause) -> Self {
        Self { operation, cause }
    }

    pub(super) fn malformed(
        operation: Operation,
        what: &'static str,
        got: u64,
        want: Want,
    ) -> Self {
        Self { operation, cause: Cause::Malformed { what, got, want } }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FUSE {}", self.operation)?;
        write_cause(f, &self.cause)
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl From<Error> for DiscoverError {
    /// Converts the error of an opening: a refusal keeps its errno or its reason, all else becomes
    /// a failure of the daemon.
    fn from(error: Error) -> Self {
        match error.cause {
            Cause::Errno(errno) => Self::Share(errno),
            Cause::Link(fault) => Self::Link(fault),
            Cause::Type(mode) => Self::Type(mode),
            Cause::Path(fault) => Self::Path(fault),
            Cause::Io(kind) => Self::Daemon(kind),
            Cause::Malformed { .. } | Cause::Version { .. } => Self::Daemon(IoErrorKind::Protocol),
            Cause::Changed => Self::Daemon(IoErrorKind::Changed),
        }
    }
}

impl From<Error> for IoErrorKind {
    /// Converts the error of a read whose file could not be reopened. A path that does not lead to
    /// a regular file any more counts as a changed file.
    fn from(error: Error) -> Self {
        match error.cause {
            Cause::Errno(errno) => Self::Device(errno),
            Cause::Io(kind) => kind,
            Cause::Malformed { .. } | Cause::Version { .. } => Self::Protocol,
            Cause::Link(_) | Cause::Type(_) | Cause::Path(_) | Cause::Changed => Self::Changed,
        }
    }
}
