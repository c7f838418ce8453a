//! Why an attempt failed.
//!
//! Always: every failure belongs to one test case of the report.

use crate::exit;

/// The test cases of a report, in the order in which they are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// The right guest said hello.
    Boot,
    /// The guest's command came to the verdict PASS.
    Command,
    /// No frame was lost.
    Wire,
    /// The rows are those that were expected.
    Manifest,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Boot, Self::Command, Self::Wire, Self::Manifest];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Command => "command",
            Self::Wire => "wire",
            Self::Manifest => "manifest",
        }
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The serial port cannot be used, or is gone.
    Port,
    /// The runner cannot be started, or ended too early.
    Runner,
    /// Another board answered.
    Board,
    /// There was no verdict in time.
    Timeout,
    /// Nothing came for too long.
    Silence,
    /// The guest started again.
    Restart,
    /// The verdict is FAIL.
    Verdict,
    /// Frames were lost.
    Lost,
    /// Rows differ.
    Rows,
}

impl Kind {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Runner => "runner",
            Self::Board => "board",
            Self::Timeout => "timeout",
            Self::Silence => "silence",
            Self::Restart => "restart",
            Self::Verdict => "verdict",
            Self::Lost => "lost-frames",
            Self::Rows => "rows",
        }
    }

    /// Returns whether the guest itself failed, and not the rig.
    pub fn is_the_guests(self) -> bool {
        matches!(self, Self::Verdict | Self::Rows)
    }

    /// The tool's exit status.
    pub fn status(self) -> u8 {
        match self {
            Self::Timeout | Self::Silence => exit::TIMEOUT,
            _ => exit::FAILED,
        }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The test case that failed; the later ones were not decided.
    pub case: Case,
    /// What went wrong.
    pub kind: Kind,
    /// In words.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(case: Case, kind: Kind, message: String) -> Self {
        Self { case, kind, message }
    }
}
