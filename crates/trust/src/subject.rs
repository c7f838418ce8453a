//! The thing that is verified, and why it is refused.
//!
//! Always: an error names the image or the slot, and the word of the command line that pins it.

use crate::spec::SpecError;
use crate::superblock::Differs;
use crate::tree::{Untrue, Wrong};
use core::fmt;
use rootlet_base::num::Bug;

/// The image or a blob, by its device slot: 0 is the image. In a stack also by the number of the
/// image, from 1 for the bottom; 0 stands for an image alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    layer: u16,
    slot: u16,
}

impl Subject {
    /// The image.
    pub const IMAGE: Self = Self::of_slot(0);

    /// Returns the image for slot 0, and the blob of any other slot.
    pub const fn of_slot(slot: u16) -> Self {
        Self { layer: 0, slot }
    }

    /// Returns the image with this number of a stack for slot 0, and its blob of any other slot.
    pub const fn of_layer(layer: u16, slot: u16) -> Self {
        Self { layer, slot }
    }

    /// Returns the number of the image in its stack, from 1; 0 for an image alone.
    pub const fn layer(self) -> u16 {
        self.layer
    }

    /// Returns the device slot.
    pub const fn slot(self) -> u16 {
        self.slot
    }

    /// Returns the subject that a seal calls `name`: `image`, or a slot from 1 on without leading
    /// zeros; in a stack `layerN` for an image and `layerN.M` for a slot of an image.
    pub fn named(name: &str) -> Option<Self> {
        let number = |digits: &str| {
            let plain = digits.starts_with(|first| matches!(first, '1'..='9'));
            digits.parse().ok().filter(|_| plain)
        };
        if name == "image" {
            return Some(Self::IMAGE);
        }
        match name.strip_prefix("layer").map(|rest| rest.split_once('.').ok_or(rest)) {
            Some(Ok((layer, slot))) => Some(Self::of_layer(number(layer)?, number(slot)?)),
            Some(Err(layer)) => number(layer).map(|layer| Self::of_layer(layer, 0)),
            None => number(name).map(Self::of_slot),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.layer, self.slot) {
            (0, 0) => f.write_str("image"),
            (0, slot) => write!(f, "slot {slot}"),
            (layer, 0) => write!(f, "layer {layer}"),
            (layer, slot) => write!(f, "slot {slot} of layer {layer}"),
        }
    }
}

/// The word of the command line that pins a subject; a line of a seal stands for that word.
pub(crate) struct Word(pub(crate) Subject);

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.layer, self.0.slot) {
            (0, 0) => f.write_str("verity="),
            (0, number) | (number, 0) => write!(f, "verity{number}="),
            (layer, slot) => write!(f, "layer{layer}.verity{slot}="),
        }
    }
}

/// Why a subject is refused, or some of its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The image or the blob.
    pub subject: Subject,
    /// The reason.
    pub why: Reason,
}

/// A reason to refuse a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// There is no text that pins the subject, and the image is verified.
    Unnamed,
    /// The text that pins the subject is wrong, or cannot be true of it.
    Spec(SpecError),
    /// A superblock before its tree says something else.
    Superblock(Differs),
    /// Its tree is shorter than that of its length.
    ShortTree {
        /// The bytes that there are.
        got: u64,
        /// The bytes of its tree.
        need: u64,
    },
    /// A text pins the subject, and the image has this number of device slots.
    NoSlot {
        /// The number of device slots.
        slots: u16,
    },
    /// Some bytes have another digest.
    Wrong(Wrong),
    /// Our own code is wrong.
    Bug(Bug),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, why } = self;
        let word = Word(*subject);
        match why {
            Reason::Unnamed => write!(
                f,
                "{subject}: nothing says what it is, and the image is verified: give {word} or a \
                 line of the seal"
            ),
            Reason::Spec(SpecError::Short { got, covers }) => {
                write!(f, "{subject}: {got} bytes, its digest covers {covers}")
            }
            Reason::Spec(error) => write!(f, "{word}: {error}"),
            Reason::Superblock(differs) => {
                write!(f, "{subject}: ")?;
                differs.write(f, &word)
            }
            Reason::ShortTree { got: 0, need } => {
                write!(f, "{subject}: no tree is found, and one of {need} bytes is needed")
            }
            Reason::ShortTree { got, need } => {
                write!(f, "{subject}: its tree has {got} bytes, and needs {need}")
            }
            Reason::NoSlot { slots } if subject.layer > 0 && subject.slot == 0 => {
                write!(f, "{word} names a layer that the stack does not have; it has {slots}")
            }
            Reason::NoSlot { slots } => {
                write!(f, "{word} names a slot that the image does not have; it has {slots}")
            }
            Reason::Wrong(Wrong { what, hash, found, want }) => {
                write!(f, "{subject}: {what}: {hash} {found}, {word} wants {want}")
            }
            Reason::Bug(bug) => bug.fmt(f),
        }
    }
}

impl core::error::Error for Refused {}

impl Subject {
    /// Returns the error for bytes of this subject.
    pub fn refused(self, why: impl Into<Reason>) -> Refused {
        Refused { subject: self, why: why.into() }
    }
}

impl From<Untrue> for Reason {
    fn from(untrue: Untrue) -> Self {
        match untrue {
            Untrue::Wrong(wrong) => Self::Wrong(wrong),
            Untrue::Bug(bug) => Self::Bug(bug),
        }
    }
}

impl From<SpecError> for Reason {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}

impl From<Differs> for Reason {
    fn from(differs: Differs) -> Self {
        Self::Superblock(differs)
    }
}

impl From<Bug> for Reason {
    #[cold]
    fn from(bug: Bug) -> Self {
        Self::Bug(bug)
    }
}
