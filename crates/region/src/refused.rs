//! Why a region is not used, and what of ours is formatted without being asked.
//!
//! Always: the words say what was found; how to overwrite it is said by those who know whether
//! they run in a guest.

use super::geometry::{Geometry, SlotSize};
use super::signature;
use super::superblock::Refusal;
use crate::storage::{IoErrorKind, Unfit};
use core::fmt;
use rootlet_base::cause::write_cause;

/// Why a region is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// There is no such device.
    NoDevice,
    /// The region reaches beyond its disk or does not start at a multiple of 4096.
    Range {
        /// Length of the disk in bytes.
        disk: u64,
    },
    /// Not even one slot fits.
    TooSmall {
        /// Length of the region in bytes.
        bytes: u64,
    },
    /// The tables or the first slot end beyond the area.
    Shrunk {
        /// Length that its superblock says in bytes.
        says: u64,
        /// Length of the area in bytes.
        bytes: u64,
    },
    /// Its tables take more memory than there is.
    TooLarge {
        /// Bytes that they take.
        need: u64,
        /// Bytes that they may take.
        have: u64,
    },
    /// Nothing can be read from its disk.
    Unfit(Unfit),
    /// Its disk takes no transfer of 4 KiB.
    Transfer {
        /// The longest transfer in bytes.
        max: u32,
    },
    /// The area holds something else.
    Foreign(&'static str),
    /// The area has bytes of a region that starts elsewhere.
    Elsewhere {
        /// First byte of that region on the disk.
        start: u64,
    },
    /// The area holds unknown data, and formatting was not asked for.
    Unknown,
    /// There is nothing to use, and it may not be formatted.
    Unformatted(Vacant),
    /// There is nothing to use, and its disk cannot be written.
    ReadOnly,
    /// It failed its checks, and a feature that is not known forbids writing to it.
    Condemned,
    /// It is encrypted, and no key was given.
    Encrypted,
    /// It is encrypted with another key.
    OtherKey,
    /// It is not encrypted, and a key was given.
    NotEncrypted,
    /// Its superblock cannot be used.
    Superblock(Refusal),
    /// Reading or formatting failed.
    Io(IoErrorKind),
}

/// An area that is formatted without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vacant {
    /// Zeros.
    Blank,
    /// A region that lost both superblocks, by its other pages.
    Lost,
    /// A region that failed its checks in an earlier mount.
    Condemned,
    /// A region whose superblocks are damaged, or of an earlier version.
    Broken(Refusal),
}

/// What makes the area a region all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Formatting it, by the user's word, over the data that is there.
    Overwrite,
    /// Formatting it; nothing is lost.
    Format,
    /// Letting its disk be written.
    Writable,
}

impl Refused {
    /// Returns the refusal of an area that holds a format of this name.
    pub(super) fn foreign(what: &'static str) -> Self {
        if what == signature::ENCRYPTED { Self::Encrypted } else { Self::Foreign(what) }
    }

    /// Returns what would make the area a region all the same; `None` if nothing does.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Foreign(_)
            | Self::Elsewhere { .. }
            | Self::Unknown
            | Self::Condemned
            | Self::Encrypted
            | Self::OtherKey
            | Self::NotEncrypted
            | Self::Superblock(_) => Some(Remedy::Overwrite),
            Self::Shrunk { bytes, .. } => {
                Geometry::for_region(*bytes, SlotSize::K64).map(|_| Remedy::Overwrite)
            }
            Self::Unformatted(_) => Some(Remedy::Format),
            Self::ReadOnly => Some(Remedy::Writable),
            Self::NoDevice
            | Self::Range { .. }
            | Self::TooSmall { .. }
            | Self::TooLarge { .. }
            | Self::Unfit(_)
            | Self::Transfer { .. }
            | Self::Io(_) => None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice => f.write_str("there is no such disk"),
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::Range { disk } => {
                write!(f, "it does not lie, 4096-aligned, inside its disk of {disk} bytes")
            }
            Self::TooSmall { bytes } => write!(f, "{bytes} bytes are too few for one slot"),
            Self::Shrunk { says, bytes } => write!(
                f,
                "the region has {says} bytes, of which {bytes} are left: its disk has shrunk"
            ),
            Self::TooLarge { need, have } => {
                write!(f, "its tables take {need} bytes of memory, and may take {have}")
            }
            Self::Transfer { max } => write!(f, "its disk takes {max} bytes at a time"),
            Self::Foreign(what) => write!(f, "the area holds {what}"),
            Self::Elsewhere { start } => {
                write!(
                    f,
                    "the area has bytes of a region that starts at byte {start:#x} of the disk"
                )
            }
            Self::Unknown => f.write_str("the area holds unknown data"),
            Self::Unformatted(vacant) => vacant.fmt(f),
            Self::ReadOnly => f.write_str("it is not formatted, and its disk is read-only"),
            Self::Condemned => {
                f.write_str("it failed its checks, and a feature of it is not known")
            }
            Self::Encrypted => f.write_str("it is encrypted, and no key was given"),
            Self::OtherKey => f.write_str("it is encrypted with another key than the given one"),
            Self::NotEncrypted => f.write_str("it is not encrypted, and a key was given"),
            Self::Superblock(refusal) => refusal.fmt(f),
            Self::Io(kind) => {
                f.write_str("its disk failed")?;
                write_cause(f, kind)
            }
        }
    }
}

impl core::error::Error for Refused {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io(kind) => Some(kind),
            _ => None,
        }
    }
}

impl fmt::Display for Vacant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("the area is blank"),
            Self::Lost => f.write_str("the region lost both superblocks"),
            Self::Condemned => f.write_str("the region failed its checks"),
            Self::Broken(refusal) => refusal.fmt(f),
        }
    }
}
