//! Why a bench or a race ends early.
//!
//! Always: an error of the output is kept apart from an error of a read.

use alloc::boxed::Box;
use core::fmt;
use rootlet::{Bug, Error};

/// Why a bench ended early.
#[derive(Debug)]
pub enum BenchError<E> {
    /// A read failed.
    Read(Error),
    /// The output failed.
    Output(E),
    /// The first read failed, of the file at this path.
    First(Box<str>, Box<Error>),
}

impl<E: fmt::Debug> fmt::Display for BenchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "bench: {error:#}"),
            Self::Output(error) => write!(f, "bench: output: {error:?}"),
            Self::First(path, error) => write!(f, "bench: {}: {error:#}", path.escape_debug()),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for BenchError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::First(_, error) => Some(error),
            Self::Output(_) => None,
        }
    }
}

impl<E> From<Error> for BenchError<E> {
    #[cold]
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

impl<E> From<Bug> for BenchError<E> {
    #[cold]
    fn from(bug: Bug) -> Self {
        Self::Read(bug.into())
    }
}
