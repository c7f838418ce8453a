//! A seal: a text that says what the image and each blob are, under one digest.
//!
//! Always: nothing of a seal is parsed before its digest was compared; its lines stand in the order
//! of the slots, each slot once, so that one seal has one meaning.
//!
//! ```text
//! # comment
//! image SPEC
//! N SPEC
//! ```
//! Of a stack the lines are `layerN SPEC` for an image and `layerN.M SPEC` for a slot of it.

use crate::hash::{Algorithm, Digest, Hasher, digest};
use crate::spec::{Spec, SpecError};
use crate::subject::Subject;
use core::fmt;
use rootlet_base::num::Bug;

/// Bytes of the longest seal.
pub const SEAL_BYTES_MAX: usize = 64 << 10;

/// A seal whose digest is right and whose lines are well-formed.
#[derive(Clone, Copy, Debug)]
pub struct Seal<'t> {
    text: &'t str,
}

/// Returns the digest that `text` (`sha256:HEX`) pins a seal to.
///
/// # Errors
/// [`SealError::Root`].
pub fn parse_root(text: &str) -> Result<Digest, SealError> {
    let digits = text.strip_prefix("sha256:");
    digits.and_then(|digits| Digest::from_hex(Algorithm::Sha256, digits)).ok_or(SealError::Root)
}

impl<'t> Seal<'t> {
    /// Returns the seal in `bytes`, whose digest has to be `root`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(hasher: &dyn Hasher, bytes: &'t [u8], root: &Digest) -> Result<Self, SealError> {
        if bytes.len() > SEAL_BYTES_MAX {
            return Err(SealError::Long);
        }
        let found = digest(hasher, Algorithm::Sha256, bytes)?;
        if found != *root {
            return Err(SealError::Other(found));
        }
        let text = core::str::from_utf8(bytes);
        let seal = Self { text: text.map_err(|error| SealError::Text(error.valid_up_to()))? };
        let mut last = None;
        for (number, line) in seal.lines() {
            let at = |fault| SealError::Line { number, fault };
            let (subject, _) = entry(line).map_err(at)?;
            if last.is_some_and(|last| last >= subject) {
                return Err(at(LineFault::Order(subject)));
            }
            last = Some(subject);
        }
        Ok(seal)
    }

    /// Returns the lines that are not comments, each with its number from 1 on.
    fn lines(&self) -> impl Iterator<Item = (u32, &'t str)> {
        let lines = (1..).zip(self.text.lines().map(str::trim));
        lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    }

    /// Returns the text that pins each subject, in the order of the slots.
    pub fn texts(&self) -> impl Iterator<Item = (Subject, &'t str)> {
        // `open` has parsed them all.
        self.lines().filter_map(|(_, line)| parted(line).ok())
    }

    /// Returns what the seal says of each subject, in the order of the slots.
    pub fn entries(&self) -> impl Iterator<Item = (Subject, Spec<'t>)> {
        // `open` has parsed them all.
        self.lines().filter_map(|(_, line)| entry(line).ok())
    }

    /// Returns what the seal says of a subject.
    pub fn of(&self, subject: Subject) -> Option<Spec<'t>> {
        self.entries().find(|(one, _)| *one == subject).map(|(_, spec)| spec)
    }
}

/// Returns the subject of a line, and the text that pins it.
fn parted(line: &str) -> Result<(Subject, &str), LineFault> {
    let (name, text) = line.split_once(char::is_whitespace).ok_or(LineFault::Name)?;
    Ok((Subject::named(name).ok_or(LineFault::Name)?, text.trim_start()))
}

/// Returns what a line says.
fn entry(line: &str) -> Result<(Subject, Spec<'_>), LineFault> {
    let (subject, text) = parted(line)?;
    Ok((subject, Spec::parse(text).map_err(LineFault::Spec)?))
}

/// Why a seal is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// `root=` is not `sha256:` and a digest.
    Root,
    /// The seal has more than 64 KiB.
    Long,
    /// The seal has this digest, which is not the pinned one.
    Other(Digest),
    /// The seal is not text from this byte on.
    Text(usize),
    /// A line is wrong.
    Line {
        /// Its number, from 1 on.
        number: u32,
        /// What is wrong.
        fault: LineFault,
    },
    /// Our own code is wrong.
    Bug(Bug),
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// It does not begin with `image` or the number of a slot, and a blank.
    Name,
    /// It names a slot again, or after a greater one.
    Order(Subject),
    /// The text that it has is wrong.
    Spec(SpecError),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root=: sha256: and 64 hex digits are wanted"),
            Self::Long => f.write_str("seal=: more than 64 KiB"),
            Self::Other(found) => write!(f, "root=: the seal is sha256 {found}"),
            Self::Text(at) => write!(f, "seal=: no text from byte {at} on"),
            Self::Line { number, fault } => {
                write!(f, "seal=: line {number}: ")?;
                match fault {
                    LineFault::Name => {
                        f.write_str("image or a device slot from 1 to 65535 is wanted, and a SPEC")
                    }
                    LineFault::Order(subject) => {
                        write!(f, "{subject} is out of order: each once, the image first")
                    }
                    LineFault::Spec(error) => error.fmt(f),
                }
            }
            Self::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for SealError {}

impl From<Bug> for SealError {
    #[cold]
    fn from(bug: Bug) -> Self {
        Self::Bug(bug)
    }
}
