//! The error of binding: names the slot, and the source that was looked for.

use core::fmt;
use rootlet_base::cause::write_cause;

use crate::storage::{DeviceId, DiscoverError, Errno, Unfit};

/// The errno of a share that does not have a file.
pub(super) const ENOENT: u32 = Errno::ENOENT.0;

/// The longest name in a message, in bytes.
const NAME_BYTES_MAX: usize = 72;

/// A name in a message, cut to 72 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name(heapless::String<NAME_BYTES_MAX>);

impl Name {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromIterator<char> for Name {
    /// Returns the name with these characters, as many as fit.
    fn from_iter<C: IntoIterator<Item = char>>(chars: C) -> Self {
        let mut name = heapless::String::new();
        for c in chars {
            if name.push(c).is_err() {
                break;
            }
        }
        Self(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A device of the machine that is not a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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

/// The reason why a device slot has no source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindError {
    /// The configured source of a slot (0: the image) was not found.
    Source {
        /// The slot.
        slot: u16,
        /// The name that was looked for.
        name: Name,
        /// Why it was not found.
        cause: DiscoverError,
    },
    /// Nothing is configured for the slot, and no source has its tag.
    Missing {
        /// The slot.
        slot: u16,
        /// The slot's tag; often empty.
        tag: Name,
        /// The device that has the tag for a name, but cannot be a blob.
        own: Option<Own>,
    },
    /// Two slots, or the image and a slot, would have the same source, and are not known to be one
    /// blob.
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
        /// The number of slots in the image.
        slots: u16,
    },
    /// The device of a slot (0: the image) cannot be read from.
    Unfit {
        /// The slot.
        slot: u16,
        /// The device.
        device: DeviceId,
        /// The property that prevents it.
        unfit: Unfit,
    },
    /// The slot's part of a flattened image does not begin at a sector of its disk.
    Unaligned {
        /// The slot.
        slot: u16,
        /// The byte of the disk where the part begins.
        base: u64,
        /// The sector size of the disk in bytes.
        sector: u32,
    },
    /// A source ends before its slot does.
    Short {
        /// The slot.
        slot: u16,
        /// The bytes that the slot says it has.
        need: u64,
        /// The bytes that the source has.
        got: u64,
    },
    /// The sources are those of another image.
    OtherImage,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source { slot: 0, name, cause } => {
                write!(f, "the image ({name})")?;
                write_cause(f, cause)
            }
            Self::Source { slot, name, cause } => {
                write!(f, "blob of slot {slot} ({name})")?;
                write_cause(f, cause)
            }
            Self::Missing { slot, tag, .. } if tag.as_str().is_empty() => write!(
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
            Self::Unfit { slot: 0, device, unfit } => {
                write!(f, "the image ({device})")?;
                write_cause(f, unfit)
            }
            Self::Unfit { slot, device, unfit } => {
                write!(f, "blob of slot {slot} ({device})")?;
                write_cause(f, unfit)
            }
            Self::Unaligned { slot, base, sector } => write!(
                f,
                "slot {slot} begins at byte {base} of the image, inside a sector of {sector} bytes"
            ),
            Self::Short { slot, need, got } => {
                write!(f, "blob of slot {slot} is too short: {got} bytes, the slot needs {need}")
            }
            Self::OtherImage => f.write_str("the sources are those of another image"),
        }
    }
}

impl core::error::Error for BindError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Source { cause, .. } => Some(cause),
            Self::Unfit { unfit, .. } => Some(unfit),
            _ => None,
        }
    }
}

impl BindError {
    /// Returns whether the source is absent or does not answer, as opposed to present and wrong.
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
