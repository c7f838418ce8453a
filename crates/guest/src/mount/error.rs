//! Why nothing was mounted.
//!
//! Always: the message has the name of the source, as the configuration gives it.

use super::PartitionError;
use crate::config::{Part, SourceName, SourceWord};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use rootlet::Error;
use rootlet::blob::{BindError, Name};
use rootlet::storage::{DiscoverError, Unfit};
use rootlet_trust::{SealError, Subject};
use rootlet_verity::PinError;

/// Why nothing was mounted.
#[derive(Clone, Debug)]
pub enum MountError {
    /// The configuration names no image.
    NoImage {
        /// The serials of the disks that there are.
        disks: String,
    },
    /// The image or a blob cannot be used.
    Image(Error),
    /// The configuration gives the version of a source that is not there.
    Version(BindError),
    /// The image or a blob is not what the configuration says, or nobody can tell.
    Verity(PinError),
    /// The source of a tree or of the seal is not there.
    Proof {
        /// The seal, or whose tree.
        what: Proof,
        /// Its name.
        name: Name,
        /// Why it was not found.
        cause: DiscoverError,
    },
    /// The seal is not the one that is pinned, or is wrong.
    Seal(SealError),
    /// The disk of the seal cannot be read from.
    SealDisk(Unfit),
    /// The configuration pins digests, and this storage verifies none.
    Unverified,
    /// A partition cannot be had.
    Partition {
        /// The disk and the part of it, as the configuration names them.
        name: String,
        /// Why.
        error: PartitionError,
    },
    /// The configuration says something of an image that the stack does not have.
    NoLayer {
        /// The number of the image.
        layer: u16,
        /// How many there are.
        layers: u32,
    },
    /// The image of objects cannot be used.
    Objects {
        /// Its name.
        name: SourceName,
        /// Why.
        error: Box<MountError>,
    },
    /// An image of a stack cannot be used.
    Layer {
        /// The number of the image, from 1 for the bottom.
        layer: u16,
        /// Its name.
        name: SourceName,
        /// Why.
        error: Box<MountError>,
    },
}

/// What digests are proven by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The seal.
    Seal,
    /// The tree of an image or a blob.
    Tree(Subject),
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal => f.write_str("the seal"),
            Self::Tree(subject) => write!(f, "{subject}: its tree"),
        }
    }
}

impl MountError {
    /// Returns that `what` is not there.
    pub(super) fn of_proof(what: Proof, error: BindError) -> Self {
        match error {
            BindError::Source { name, cause, .. } => Self::Proof { what, name, cause },
            error => error.into(),
        }
    }

    pub(super) fn partition(name: &SourceName, part: &Part, error: PartitionError) -> Self {
        Self::Partition { name: format!("{}{part}", SourceWord(name)), error }
    }

    /// Returns the same error of the image with this number of a stack; 0 for an image alone.
    pub(super) fn of_layer(self, layer: u16, name: &SourceName) -> Self {
        match self {
            // These name what they are about.
            error @ (Self::Verity(_) | Self::Proof { .. } | Self::Partition { .. }) => error,
            error if layer == 0 => error,
            error => Self::Layer { layer, name: name.clone(), error: Box::new(error) },
        }
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoImage { disks } if disks.is_empty() => {
                f.write_str("no image given (image=SERIAL), and the machine has no disk")
            }
            Self::NoImage { disks } => {
                write!(f, "no image given (image=SERIAL); the disks are {disks}")
            }
            Self::Image(error) => write!(f, "{error:#}"),
            Self::Version(BindError::Source { name, cause, .. }) => {
                write!(f, "a version is given for {name}: {cause:#}")
            }
            Self::Version(error) => write!(f, "{error:#}"),
            Self::Verity(error) => error.fmt(f),
            Self::Proof { what, name, cause } => write!(f, "{what} ({name}): {cause:#}"),
            Self::Seal(error) => error.fmt(f),
            Self::SealDisk(unfit) => write!(f, "the disk of the seal cannot be read from: {unfit}"),
            Self::Partition { name, error } => write!(f, "{name}: {error:#}"),
            Self::NoLayer { layer, layers } => {
                write!(
                    f,
                    "layer{layer}.blobM= names an image that the stack does not have; it has {layers}"
                )
            }
            Self::Layer { layer, name, error } => {
                write!(f, "layer {layer} ({}): {error:#}", SourceWord(name))
            }
            Self::Objects { name, error } => {
                write!(f, "objects ({}): {error:#}", SourceWord(name))
            }
            Self::Unverified => f.write_str(
                "verity=, seal= or objects= is given, and this program verifies no digests",
            ),
        }
    }
}

impl core::error::Error for MountError {}

impl From<Error> for MountError {
    #[cold]
    fn from(error: Error) -> Self {
        Self::Image(error)
    }
}

impl From<BindError> for MountError {
    #[cold]
    fn from(error: BindError) -> Self {
        Self::Image(error.into())
    }
}
