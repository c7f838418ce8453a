//! Why a slot could not be bound, in words that name the slot and what was looked for.

use core::fmt;

use crate::storage::{DeviceId, DiscoverError, Errno, Unfit};

/// The errno of a share that has no such file.
pub(super) const ENOENT: u32 = Errno::ENOENT.0;

/// A name in a message, cut to what fits.
pub type Name = heapless::String<72>;

/// What a machine has beside blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// The image.
    Image,
    /// The disk with the region.
    Region,
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "the image itself",
            Self::Region => "the disk with the region",
        })
    }
}

/// Why a slot has no source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindError {
    /// The configured source of a slot (0: the image) cannot be had.
    Source {
        /// The slot.
        slot: u16,
        /// What was looked for.
        name: Name,
        /// Why it is not there.
        cause: DiscoverError,
    },
    /// Nothing was configured for the slot, and nothing has its tag.
    Missing {
        /// The slot.
        slot: u16,
        /// Its tag; often empty.
        tag: Name,
        /// What has the tag for a name and cannot be a blob.
        own: Option<Own>,
    },
    /// Two slots, or the image and a slot, would have one source, and are not known to be one blob.
    Shared {
        /// The slots, the lower one first; 0 is the image.
        slots: [u16; 2],
        /// The source, as the higher slot names it.
        name: Name,
    },
    /// A source is configured for a slot that the image does not have.
    NoSlot {
        /// The slot.
        slot: u16,
        /// How many there are.
        slots: u16,
    },
    /// Nothing can be read from the device of a slot (0: the image).
    Unfit {
        /// The slot.
        slot: u16,
        /// The device.
        device: DeviceId,
        /// What is wrong with it.
        unfit: Unfit,
    },
    /// The slot's part of a flattened image does not begin at a sector of its disk.
    Unaligned {
        /// The slot.
        slot: u16,
        /// Where its part begins, in bytes.
        base: u64,
        /// Sector of the disk in bytes.
        sector: u32,
    },
    /// A source ends before its slot does.
    Short {
        /// The slot.
        slot: u16,
        /// Bytes that the slot says it has.
        need: u64,
        /// Bytes that the source has.
        got: u64,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { slot: 0, name, cause } => write!(f, "the image ({name}): {cause}"),
            Self::Source { slot, name, cause } => {
                write!(f, "blob of slot {slot} ({name}): {cause}")
            }
            Self::Missing { slot, tag, .. } if tag.is_empty() => write!(
                f,
                "blob of slot {slot}: none given (blob{slot}=...), and the slot has no tag to find it by"
            ),
            Self::Missing { slot, tag, own: None } => write!(
                f,
                "blob of slot {slot}: none given (blob{slot}=...), and no disk or shared file is called \"{tag}\""
            ),
            Self::Missing { slot, tag, own: Some(own) } => write!(
                f,
                "blob of slot {slot}: none given (blob{slot}=...), and what is called \"{tag}\" is {own}"
            ),
            Self::Shared { slots: [0, slot], name } => {
                write!(
                    f,
                    "slot {slot} would be {name}, which is the image itself; blob{slot}=... names its blob"
                )
            }
            Self::Shared { slots: [low, high], name } => write!(
                f,
                "slots {low} and {high} would both be {name}; blob{low}=... and blob{high}=... tell them apart"
            ),
            Self::NoSlot { slot, slots } => {
                write!(f, "a blob is given for slot {slot}, the image has {slots} device slots")
            }
            Self::Unfit { slot: 0, device, unfit } => write!(f, "the image ({device}): {unfit}"),
            Self::Unfit { slot, device, unfit } => {
                write!(f, "blob of slot {slot} ({device}): {unfit}")
            }
            Self::Unaligned { slot, base, sector } => write!(
                f,
                "slot {slot} begins at byte {base} of the image, inside a sector of {sector} bytes"
            ),
            Self::Short { slot, need, got } => {
                write!(f, "blob of slot {slot} is too short: {got} bytes, the slot needs {need}")
            }
        }
    }
}

impl core::error::Error for BindError {}

impl BindError {
    /// Returns whether a source is not there, or does not answer; not one that is there and wrong.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::Source { cause, .. } => matches!(
                cause,
                DiscoverError::NotFound | DiscoverError::Share(ENOENT) | DiscoverError::Daemon(_)
            ),
            Self::Missing { .. } => true,
            _ => false,
        }
    }
}
