//! Small files that a mount reads whole: a seal, the key of a region.
//!
//! Always: no more is read than such a file may have, and a sector.

use crate::config::SourceName;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use rootlet::Error;
use rootlet::blob::BindError;
use rootlet::storage::{Discover, Storage as _, Unfit, read_exact};
use rootlet_base::num::{OrBug, narrow, wide};
use rootlet_base::units::ByteRange;

/// Why a small file was not read.
pub enum Unread {
    /// It is not there.
    Absent(BindError),
    /// Nothing can be read from its disk.
    Disk(Unfit),
    /// Its bytes did not come.
    Failed(Error),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(BindError::Source { name, cause, .. }) => write!(f, "{name}: {cause:#}"),
            Self::Absent(error) => write!(f, "{error:#}"),
            Self::Disk(unfit) => unfit.fmt(f),
            Self::Failed(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<Error>> From<E> for Unread {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Returns the bytes of a file, or of a disk up to the zeros that fill its last sector; more than
/// `most` of one that has more.
pub fn read<S: Discover>(
    storage: &mut S,
    name: &SourceName,
    most: usize,
) -> Result<Vec<u8>, Unread> {
    let device = name.find(storage).map_err(Unread::Absent)?;
    let info = storage.info(device).or_bug()?;
    info.check().map_err(Unread::Disk)?;
    // A byte more than the file may have shows that there are more.
    let most = wide(most).checked_add(u64::from(info.sector_bytes)).or_bug()?;
    let mut bytes = vec![0; narrow(ByteRange::first(info.bytes.min(most)).len())?];
    read_exact(storage, device, 0, &mut bytes)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.wrapping_add(1));
    bytes.truncate(end);
    Ok(bytes)
}
