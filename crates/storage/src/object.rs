//! Objects: bytes that are found by their digest, as the files of a composefs image name them.
//!
//! Always: an object is handed out only as bytes that its digest was compared with.

use core::fmt;

use super::{DeviceId, DiscoverError, IoErrorKind};
use rootlet_base::cause::write_cause;

/// Where the bytes of an object lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectPlace<'p> {
    /// Where it was found before; an object that nobody has found is absent.
    Known,
    /// In a file of the storage's folder, which the digest names.
    Folder,
    /// In these pieces, one after the other: those of a file in an image of objects.
    Pieces(&'p [ObjectPiece]),
}

/// A piece of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectPiece {
    /// This number of zeros.
    Zeros(u64),
    /// Bytes of a device.
    Bytes {
        /// The device.
        device: DeviceId,
        /// The first byte there.
        at: u64,
        /// The length in bytes.
        len: u64,
    },
}

impl ObjectPiece {
    /// Returns the length in bytes.
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Zeros(len) | Self::Bytes { len, .. } => *len,
        }
    }
}

/// The reason why an object cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjectFault {
    /// There are no objects.
    NoObjects,
    /// It is not among the objects.
    Absent,
    /// It has this many bytes, and another number is wanted.
    Length(u64),
    /// Its bytes have another digest.
    Untrue,
    /// The objects cannot be searched.
    Search(DiscoverError),
    /// It cannot be read.
    Io(IoErrorKind),
    /// Another file than that of the object is named for its bytes.
    Redirect,
    /// The image of objects has it compressed.
    Compressed,
    /// The image of objects has its last bytes in the metabox.
    Metabox,
    /// The image of objects has it in too many pieces.
    Scattered,
}

impl fmt::Display for ObjectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObjects => f.write_str("no objects are given (objects=)"),
            Self::Absent => f.write_str("it is not among the objects"),
            Self::Length(bytes) => write!(f, "it has {bytes} bytes"),
            Self::Untrue => f.write_str("its bytes have another digest"),
            Self::Search(error) => {
                f.write_str("the objects cannot be searched")?;
                write_cause(f, error)
            }
            Self::Io(kind) => {
                f.write_str("it cannot be read")?;
                write_cause(f, kind)
            }
            Self::Redirect => f.write_str("its redirect leads to another file"),
            Self::Compressed => {
                f.write_str("not supported: it is compressed in the image of objects")
            }
            Self::Metabox => {
                f.write_str("not supported: it ends in the metabox of the image of objects")
            }
            Self::Scattered => {
                f.write_str("not supported: it has over 16,384 pieces in the image of objects")
            }
        }
    }
}

impl core::error::Error for ObjectFault {}
