//! The reason why a step of a read ends early: an error, or bytes that a task has to wait for.
//!
//! Always: only a reader that is a task stops to wait; a reader that blocks waits where it is.

use crate::error::Error;

/// The reason why a step of a read ends early.
#[derive(Debug)]
pub enum Stop {
    /// The read fails.
    Error(Error),
    /// The task waits, for something that it has noted, and takes the step again after that.
    #[cfg(feature = "alloc")]
    Wait,
}

impl<E: Into<Error>> From<E> for Stop {
    #[cold]
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// The result of a step of a reader that blocks.
pub trait Blocking<T> {
    /// Returns the result, in which nothing waits any more.
    fn blocking(self) -> Result<T, Error>;
}

impl<T> Blocking<T> for Result<T, Stop> {
    #[track_caller]
    fn blocking(self) -> Result<T, Error> {
        match self {
            Ok(value) => Ok(value),
            Err(Stop::Error(error)) => Err(error),
            #[cfg(feature = "alloc")]
            Err(Stop::Wait) => Err(Error::bug()),
        }
    }
}
