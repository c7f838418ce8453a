//! Exit statuses of the tool.
//!
//! Always: 0 is given for a passed verdict alone (or for a task that has none and succeeded);
//! an error that is not a [`Stop`] gives 1.

use std::fmt;

/// The guest's verdict is FAIL, the guest died, or the tool itself failed.
pub const FAILED: u8 = 1;
/// The arguments make no sense.
pub const USAGE: u8 = 2;
/// Something that the task needs is not installed, and may not be installed.
pub const SETUP: u8 = 3;
/// The guest did not end in time (as timeout(1) does).
pub const TIMEOUT: u8 = 124;
/// Nobody reads standard output any more (128 + SIGPIPE).
pub const UNREAD: u8 = 141;
/// Ended by Ctrl-C or a request to terminate (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// An error that sets the exit status.
#[derive(Debug)]
pub struct Stop {
    /// The exit status of the process.
    pub status: u8,
    /// The message for the user; empty if it was printed before.
    pub message: String,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}

/// An error that ends the tool with `status`.
pub fn stop(status: u8, message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Stop { status, message: message.into() })
}

/// A usage error.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    stop(USAGE, message)
}

/// The status that `error` asks for, wherever in its chain it says so.
pub fn status_of(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|cause| cause.downcast_ref::<Stop>()).map_or(FAILED, |stop| stop.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_stop_keeps_its_status_under_added_context() {
        let error = Err::<(), _>(stop(TIMEOUT, "late")).context("the sample").unwrap_err();
        assert_eq!(status_of(&error), TIMEOUT);
        assert_eq!(status_of(&anyhow::anyhow!("plain")), FAILED);
    }
}
