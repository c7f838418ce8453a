//! Devices by the names that a machine gives them.
//!
//! Always: a name that fits more than one device is refused, and never taken for the first of them.

use core::fmt;

use super::share::{FileType, LinkFault, PathFault};
use super::{DeviceId, Errno, IoErrorKind, Storage, Version};

/// Bytes of a virtio-blk serial that count (virtio 1.2 5.2.6.1).
pub const SERIAL_BYTES: usize = 20;

/// Finds devices by the names that a machine gives them.
pub trait Discover: Storage {
    /// Returns the disk with this virtio-blk serial ([`SERIAL_BYTES`] of it count).
    ///
    /// # Errors
    /// [`DiscoverError::Ambiguous`] if several have it.
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError>;

    /// Opens the file `name` on the share with this mount tag; `None` means on any share. One file
    /// is one device, under whatever names it is opened.
    ///
    /// # Errors
    /// [`DiscoverError::MountTags`] and [`DiscoverError::Files`] if it could be another one as well.
    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError>;

    /// Calls `each` with every name that [`Discover::disk`] would find, for messages.
    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId));

    /// Says which version of its content `device` has, in place of what is known of it; see
    /// [`super::DeviceInfo::version`]. Does nothing if there is no such device.
    fn set_version(&mut self, device: DeviceId, version: Version);

    /// Says that `device` may be lost at any instant, as a region's disk may, and no reader for it.
    /// A storage that cannot take a reader's memory back from a device that never answers lends it
    /// none from now on, and [`super::DeviceInfo::transfer_bytes_max`] may be less. Any other has
    /// nothing to do.
    fn set_expendable(&mut self, device: DeviceId) {
        let _ = device;
    }
}

/// A source could not be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoverError {
    /// Nothing has that name.
    NotFound,
    /// Several disks have that serial; the number is how many.
    Ambiguous(u32),
    /// Several shares have that mount tag; the number is how many.
    MountTags(u32),
    /// Several shares have a file of that name; the number is how many.
    Files(u32),
    /// The share has no such file or it cannot be opened; the number is the errno.
    Share(u32),
    /// The name is no path on a share.
    Path(PathFault),
    /// A symbolic link on the way is not followed.
    Link(LinkFault),
    /// What is there has the wrong type for its place in the path: the last one must be a regular
    /// file, all others directories. The number is its mode.
    Type(u32),
    /// The share's daemon does not answer or breaks its protocol.
    Daemon(IoErrorKind),
    /// There are as many disks and open files as there can be.
    TooMany,
}

impl fmt::Display for DiscoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Ambiguous(count) => write!(f, "{count} disks have this serial"),
            Self::MountTags(count) => write!(f, "{count} shares have this mount tag"),
            Self::Files(count) => write!(
                f,
                "{count} shares have such a file (share:TAG:NAME says which of them is meant)"
            ),
            Self::Share(2) => f.write_str("the share has no such file"),
            Self::Share(errno) => write!(f, "the share refuses it: {}", Errno(*errno)),
            Self::Path(fault) => write!(f, "its path is refused: {fault}"),
            Self::Link(fault) => fault.fmt(f),
            Self::Type(mode) => write!(
                f,
                "it is a {}; wanted is a regular file, or a directory on the way to one (mode {mode:#o})",
                FileType::of(*mode)
            ),
            Self::Daemon(kind) => write!(f, "the share's daemon failed: {kind}"),
            Self::TooMany => {
                write!(f, "no room for one more beside {} disks and open files", u16::MAX)
            }
        }
    }
}

impl core::error::Error for DiscoverError {}

/// Returns the bytes of a serial that count.
pub fn serial(name: &str) -> &[u8] {
    name.as_bytes().get(..SERIAL_BYTES).unwrap_or(name.as_bytes())
}

/// Returns the only disk of those that have the serial which was looked for.
///
/// # Errors
/// [`DiscoverError::NotFound`], [`DiscoverError::Ambiguous`].
pub fn only(found: impl Iterator<Item = DeviceId>) -> Result<DeviceId, DiscoverError> {
    match found.zip(1..).last() {
        None => Err(DiscoverError::NotFound),
        Some((device, 1)) => Ok(device),
        Some((_, count)) => Err(DiscoverError::Ambiguous(count)),
    }
}

/// What all shares say of one file.
#[derive(Debug)]
pub struct ShareSearch {
    found: Option<(DeviceId, u32)>,
    failure: DiscoverError,
}

impl ShareSearch {
    /// Returns a search on all the shares, or on those with the mount tag: `shares` of them.
    ///
    /// # Errors
    /// [`DiscoverError::MountTags`]: nobody knows which share of that tag is meant.
    pub fn new(mount_tag: Option<&str>, shares: usize) -> Result<Self, DiscoverError> {
        if mount_tag.is_some() && shares > 1 {
            let count = u32::try_from(shares).map_err(|_| DiscoverError::TooMany)?;
            return Err(DiscoverError::MountTags(count));
        }
        Ok(Self { found: None, failure: DiscoverError::NotFound })
    }

    /// Takes in what one more share says.
    pub fn add(&mut self, answer: Result<DeviceId, DiscoverError>) {
        const ENOENT: DiscoverError = DiscoverError::Share(Errno::ENOENT.0);
        match (answer, &mut self.found) {
            (Ok(device), None) => self.found = Some((device, 1)),
            (Ok(device), Some((known, _))) if *known == device => {}
            (Ok(_), Some((_, count))) => match count.checked_add(1) {
                Some(more) => *count = more,
                None => self.failure = DiscoverError::TooMany,
            },
            // A share without the file says less than one that fails.
            (Err(ENOENT), _) if self.failure != DiscoverError::NotFound => {}
            (Err(failure), _) => self.failure = failure,
        }
    }

    /// Ends the search, and returns the file.
    ///
    /// # Errors
    /// [`DiscoverError::Files`] if several shares have one; if none has, why.
    pub fn end(self) -> Result<DeviceId, DiscoverError> {
        match self.found {
            Some((device, 1)) => Ok(device),
            Some((_, count)) => Err(DiscoverError::Files(count)),
            None => Err(self.failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: DeviceId = DeviceId(3);
    const B: DeviceId = DeviceId(4);

    #[test]
    fn one_device_is_found_and_two_are_refused() {
        assert_eq!(only([].into_iter()), Err(DiscoverError::NotFound));
        assert_eq!(only([A].into_iter()), Ok(A));
        assert_eq!(only([A, B].into_iter()), Err(DiscoverError::Ambiguous(2)));
    }

    #[test]
    fn file_on_two_shares_is_refused_in_any_order_and_one_file_is_not_two() {
        let search = |answers: &[Result<DeviceId, DiscoverError>]| {
            let mut search = ShareSearch::new(None, answers.len())?;
            answers.iter().for_each(|answer| search.add(*answer));
            search.end()
        };
        let (none, fails) = (Err(DiscoverError::Share(2)), Err(DiscoverError::Share(13)));
        assert_eq!(search(&[]), Err(DiscoverError::NotFound));
        assert_eq!(search(&[none, Ok(A)]), Ok(A));
        assert_eq!(search(&[Ok(A), fails]), Ok(A));
        assert_eq!(search(&[Ok(A), Ok(A)]), Ok(A));
        assert_eq!(search(&[Ok(A), none, Ok(B)]), Err(DiscoverError::Files(2)));
        assert_eq!(search(&[Ok(B), none, Ok(A)]), Err(DiscoverError::Files(2)));
        assert_eq!(search(&[none, fails]), fails);
        assert_eq!(search(&[fails, none]), fails);
        let refused = ShareSearch::new(Some("tag"), 2).map(|_| ());
        assert_eq!(refused, Err(DiscoverError::MountTags(2)));
    }

    #[test]
    fn refusals_say_why() {
        for (error, words) in [
            (DiscoverError::Path(PathFault::Dots), "its path is refused: the name is '.' or '..'"),
            (
                DiscoverError::Type(0o040_755),
                "it is a directory; wanted is a regular file, or a directory on the way to one (mode \
                 0o40755)",
            ),
            (DiscoverError::Link(LinkFault::Leaves), "a symbolic link leads out of the share"),
            (DiscoverError::Share(13), "the share refuses it: permission denied (errno 13)"),
        ] {
            assert_eq!(std::format!("{error}"), words);
        }
    }

    #[test]
    fn twenty_bytes_of_a_serial_count() {
        assert_eq!(serial("0123456789abcdefghijk"), b"0123456789abcdefghij");
        assert_eq!(serial("short"), b"short");
    }
}
