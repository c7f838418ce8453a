//! Discovery: finds devices by the names that a machine gives them.
//!
//! Always: a name that fits several devices is refused; no device is picked among them.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use core::fmt;

#[cfg(feature = "alloc")]
use super::Cipher;
use super::share::{FileType, LinkFault, PathFault};
use super::{DeviceId, Errno, IoErrorKind, Storage, Version};
use rootlet_base::cause::write_cause;

/// The longest virtio-blk serial in bytes (virtio 1.2 5.2.6.1).
pub const SERIAL_BYTES: usize = 20;

/// A storage that finds devices by the names that a machine gives them.
pub trait Discover: Storage {
    /// Returns the disk with this virtio-blk serial; only the first [`SERIAL_BYTES`] bytes count.
    ///
    /// # Errors
    /// [`DiscoverError::Ambiguous`] if several disks have it; [`DiscoverError::NotFound`] where
    /// disks have no serials, as here.
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        let _ = serial;
        Err(DiscoverError::NotFound)
    }

    /// Opens the file `name` on the share with this mount tag, or on any share if `None`. A file is
    /// one device, also if it is opened under several names.
    ///
    /// # Errors
    /// [`DiscoverError::MountTags`] and [`DiscoverError::Files`] if several files fit;
    /// [`DiscoverError::NotFound`] where there are no shares, as here.
    fn share_file(
        &mut self,
        mount_tag: Option<&str>,
        name: &str,
    ) -> Result<DeviceId, DiscoverError> {
        let _ = (mount_tag, name);
        Err(DiscoverError::NotFound)
    }

    /// Calls `each` with the serial and the device of every disk: for messages.
    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        let _ = each;
    }

    /// Returns the device that is the part of `device` of `bytes` bytes from byte `start` on: a
    /// partition. The same part is the same device.
    ///
    /// # Errors
    /// [`DiscoverError::Part`] if the device has no such sectors, or where there are no parts, as
    /// here. A storage over another one hands the question on.
    fn part(
        &mut self,
        device: DeviceId,
        start: u64,
        bytes: u64,
    ) -> Result<DeviceId, DiscoverError> {
        let _ = (device, start, bytes);
        Err(DiscoverError::Part)
    }

    /// Returns the device that is the part of `device` of `bytes` bytes from byte `start` on, whose
    /// bytes are on `device` as `cipher` enciphers them. It has sectors of 4 KiB.
    ///
    /// # Errors
    /// As [`Discover::part`].
    #[cfg(feature = "alloc")]
    fn enciphered(
        &mut self,
        device: DeviceId,
        (start, bytes): (u64, u64),
        cipher: Box<dyn Cipher>,
    ) -> Result<DeviceId, DiscoverError> {
        let _ = (device, start, bytes, cipher);
        Err(DiscoverError::Part)
    }

    /// Sets the version of the content of `device`, see [`super::DeviceInfo::version`]. Does
    /// nothing if there is no such device, or where no device has a version, as here: a region then
    /// serves the old content of a device that changed.
    fn set_version(&mut self, device: DeviceId, version: Version) {
        let _ = (device, version);
    }

    /// Declares that `device` may be lost at any instant, as a region's disk may, and that no
    /// reader may be lost with it. A storage that cannot take a reader's memory back from a device
    /// that never answers lends no such memory to `device` from now on;
    /// [`super::DeviceInfo::transfer_bytes_max`] may shrink. Other storage does nothing.
    fn set_expendable(&mut self, device: DeviceId) {
        let _ = device;
    }
}

/// The reason why a name leads to no device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoverError {
    /// No device has that name.
    NotFound,
    /// Several disks have that serial; the number counts them.
    Ambiguous(u32),
    /// Several shares have that mount tag; the number counts them.
    MountTags(u32),
    /// Several shares have a file of that name; the number counts them.
    Files(u32),
    /// The share has no such file, or cannot open it; the number is the errno.
    Share(u32),
    /// The name is not a path on a share.
    Path(PathFault),
    /// A symbolic link on the path is not followed.
    Link(LinkFault),
    /// A node has the wrong type for its place in the path: the last must be a regular file, all
    /// others directories. The number is its mode.
    Type(u32),
    /// The share's daemon does not answer or breaks its protocol.
    Daemon(IoErrorKind),
    /// The device has no such part: it ends before, or the part is not whole sectors.
    Part,
    /// The storage has no room for another disk or open file.
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
            Self::Path(fault) => {
                f.write_str("its path is refused")?;
                write_cause(f, fault)
            }
            Self::Link(fault) => fault.fmt(f),
            Self::Type(mode) => write!(
                f,
                "it is a {}; wanted is a regular file, or a directory on the way to one (mode {mode:#o})",
                FileType::of(*mode)
            ),
            Self::Daemon(kind) => {
                f.write_str("the share's daemon failed")?;
                write_cause(f, kind)
            }
            Self::Part => f.write_str("it has no such bytes, or they are not whole sectors"),
            Self::TooMany => {
                write!(f, "a machine has at most {} disks and open files", u16::MAX)
            }
        }
    }
}

impl core::error::Error for DiscoverError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Path(fault) => Some(fault),
            Self::Daemon(kind) => Some(kind),
            _ => None,
        }
    }
}

/// Returns the first [`SERIAL_BYTES`] bytes of `name`, or all if there are fewer: a serial.
pub fn serial(name: &str) -> &[u8] {
    name.as_bytes().get(..SERIAL_BYTES).unwrap_or(name.as_bytes())
}

/// Returns the disk that has the serial `name` among `disks`, each with its serial, if there is
/// exactly one. No name is that of a disk without a serial.
///
/// # Errors
/// As [`only`].
pub fn named<'d>(
    disks: impl Iterator<Item = (&'d str, DeviceId)>,
    name: &str,
) -> Result<DeviceId, DiscoverError> {
    let same = disks.filter(|(own, _)| !own.is_empty() && serial(own) == serial(name));
    only(same.map(|(_, device)| device))
}

/// Returns the disk in `found`, the disks with a serial, if there is exactly one.
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

/// A search for one file on several shares.
#[derive(Debug)]
pub struct ShareSearch {
    found: Option<(DeviceId, u32)>,
    failure: DiscoverError,
}

impl ShareSearch {
    /// Begins a search on `shares` shares: those with the mount tag, or all if there is none.
    ///
    /// # Errors
    /// [`DiscoverError::MountTags`] if several shares have the mount tag.
    pub fn new(mount_tag: Option<&str>, shares: usize) -> Result<Self, DiscoverError> {
        if mount_tag.is_some() && shares > 1 {
            let count = u32::try_from(shares).map_err(|_| DiscoverError::TooMany)?;
            return Err(DiscoverError::MountTags(count));
        }
        Ok(Self { found: None, failure: DiscoverError::NotFound })
    }

    /// Adds the answer of a share.
    pub fn add(&mut self, answer: Result<DeviceId, DiscoverError>) {
        const ENOENT: DiscoverError = DiscoverError::Share(Errno::ENOENT.0);
        match (answer, &mut self.found) {
            (Ok(device), None) => self.found = Some((device, 1)),
            (Ok(device), Some((known, _))) if *known == device => {}
            (Ok(_), Some((_, count))) => match count.checked_add(1) {
                Some(more) => *count = more,
                None => self.failure = DiscoverError::TooMany,
            },
            // A failure tells more than the absence of the file on another share.
            (Err(ENOENT), _) if self.failure != DiscoverError::NotFound => {}
            (Err(failure), _) => self.failure = failure,
        }
    }

    /// Ends the search, and returns the device of the file.
    ///
    /// # Errors
    /// [`DiscoverError::Files`] if several shares have the file; the failure of a share if none
    /// has.
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
            assert_eq!(std::format!("{error:#}"), words);
        }
    }

    #[test]
    fn disk_is_found_by_its_serial_if_no_other_has_the_same() {
        let disks = [("", A), ("one", A), ("0123456789abcdefghijk", B), ("two", A), ("two", B)];
        let find = |name| named(disks.into_iter(), name);
        assert_eq!(find("one"), Ok(A));
        assert_eq!(find("0123456789abcdefghijxyz"), Ok(B));
        assert_eq!(find("two"), Err(DiscoverError::Ambiguous(2)));
        assert_eq!(
            (find(""), find("on")),
            (Err(DiscoverError::NotFound), Err(DiscoverError::NotFound))
        );
    }

    #[test]
    fn twenty_bytes_of_a_serial_count() {
        assert_eq!(serial("0123456789abcdefghijk"), b"0123456789abcdefghij");
        assert_eq!(serial("short"), b"short");
    }
}
