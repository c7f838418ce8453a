//! Why a command line is refused, in words that name the word at fault and what would fit.
//!
//! Always: an error has the word as it was understood, without quotes and backslashes.

use super::keys::{self, KEYS};
use alloc::string::{String, ToString};
use core::fmt;
use rootlet_trust::{SealError, SpecError, Subject};

/// Why a command line is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A quote is not closed.
    OpenQuote {
        /// The byte of the line at which it opens.
        at: usize,
    },
    /// The line ends in a backslash that escapes nothing.
    Backslash,
    /// The word is not known, and may be a misspelt setting.
    Unknown {
        /// The word.
        word: String,
    },
    /// The word repeats what an earlier one set.
    Duplicate {
        /// The word.
        word: String,
    },
    /// The word has a known key and a value that does not fit the key.
    Value {
        /// The word.
        word: String,
        /// What would fit.
        want: &'static str,
    },
    /// What the word says of an image or a blob is wrong.
    Verity {
        /// The image or the blob.
        subject: Subject,
        /// The fault.
        error: SpecError,
    },
    /// The word that pins a seal is wrong.
    Seal(SealError),
    /// Words that belong together are not all there, or words that exclude each other are.
    Together(&'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("command line: ")?;
        match self {
            Self::OpenQuote { at } => write!(f, "the quote at byte {at} is not closed"),
            Self::Backslash => f.write_str("it ends in a backslash"),
            Self::Unknown { word } => {
                write!(f, "unknown word {word:?}; ")?;
                if let Some(name) = keys::meant(word) {
                    write!(f, "did you mean {name}=? ")?;
                }
                write!(f, "known are {KEYS}")
            }
            Self::Duplicate { word } => write!(f, "{word:?} is given a second time"),
            Self::Value { word, want } => write!(f, "{word:?}: expected {want}"),
            Self::Verity { subject, error } => subject.refused(error.clone()).fmt(f),
            Self::Seal(error) => error.fmt(f),
            Self::Together(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for ConfigError {}

/// What is wrong with a word, which is still to be named.
pub(super) enum Fault {
    Unknown,
    Duplicate,
    Value(&'static str),
    Verity(Subject, SpecError),
    Seal(SealError),
}

impl Fault {
    /// Returns the error for a fault of `word`.
    pub(super) fn of(self, word: &str) -> ConfigError {
        let word = word.to_string();
        match self {
            Self::Unknown => ConfigError::Unknown { word },
            Self::Duplicate => ConfigError::Duplicate { word },
            Self::Value(want) => ConfigError::Value { word, want },
            Self::Verity(subject, error) => ConfigError::Verity { subject, error },
            Self::Seal(error) => ConfigError::Seal(error),
        }
    }
}
