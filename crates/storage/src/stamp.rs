//! Versions: numbers that change with the content of a device, made from a file's stamp.
//!
//! Always: a file has the same version in every boot and through every device: a region that was
//! filled through a share is warm through a disk over the same file, and the other way round.

use twox_hash::XxHash3_64;

/// The version of a device's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// Unknown, as for a disk without a configured version.
    #[default]
    Unknown,
    /// The digest of a text from the configuration; never 0. Several devices may have the same.
    Said(u64),
    /// The version of a file ([`FileStamp::version`]). Devices with the same one are the same file.
    File(u64),
}

impl Version {
    /// Returns the number that changes when the content may have changed; 0 if unknown.
    pub fn number(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Said(number) | Self::File(number) => number,
        }
    }
}

/// A time of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileTime {
    /// Seconds since 1970, in two's complement.
    pub seconds: u64,
    /// Nanoseconds of the second.
    pub nanoseconds: u64,
}

/// The properties of a file, as its host reports them, that change with its content. The host's
/// device number is left out: it changes when a file system is mounted again.
///
/// Limit: a host counts times in ticks (4 ms on many machines). A file that is changed in place,
/// read here and changed again, with the same length and within one tick, has one stamp for two
/// contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStamp {
    /// The inode number.
    pub inode: u64,
    /// The length in bytes.
    pub bytes: u64,
    /// The time of the last change of content, which the owner may set to any time.
    pub mtime: FileTime,
    /// The time of the last change of content or inode, which only the host sets.
    pub ctime: FileTime,
}

impl FileStamp {
    /// Returns the digest (XXH3-64) of all fields; never 0, which stands for no version.
    pub fn version(&self) -> u64 {
        let Self { inode, bytes, mtime, ctime } = *self;
        let fields =
            [inode, bytes, mtime.seconds, mtime.nanoseconds, ctime.seconds, ctime.nanoseconds];
        XxHash3_64::oneshot(fields.map(u64::to_le_bytes).as_flattened()).max(1)
    }
}

#[cfg(all(feature = "std", unix))]
impl From<&std::fs::Metadata> for FileStamp {
    fn from(stat: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let time = |seconds: i64, nanoseconds: i64| FileTime {
            seconds: seconds.cast_unsigned(),
            nanoseconds: nanoseconds.cast_unsigned(),
        };
        Self {
            inode: stat.ino(),
            bytes: stat.len(),
            mtime: time(stat.mtime(), stat.mtime_nsec()),
            ctime: time(stat.ctime(), stat.ctime_nsec()),
        }
    }
}

#[cfg(all(feature = "std", unix))]
impl FileStamp {
    /// Returns the stamp of a file that is written here, without the times of its content: our own
    /// writes change these, and would give the file another version after each run.
    ///
    /// Limit: writes of others to the same file do not change the stamp. A new file with the same
    /// name has another birth time or inode, and so another stamp.
    pub fn of_written(stat: &std::fs::Metadata) -> Self {
        let since = |born: std::time::SystemTime| born.duration_since(std::time::UNIX_EPOCH).ok();
        // Not every file system keeps the time of birth.
        let born = stat.created().ok().and_then(since).map_or(FileTime::default(), |born| {
            FileTime { seconds: born.as_secs(), nanoseconds: born.subsec_nanos().into() }
        });
        Self { mtime: born, ctime: FileTime::default(), ..Self::from(stat) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_changes_the_version() {
        let one = FileTime { seconds: 1, nanoseconds: 0 };
        let tick = FileTime { seconds: 0, nanoseconds: 1 };
        let stamps = [
            FileStamp::default(),
            FileStamp { inode: 1, ..FileStamp::default() },
            FileStamp { bytes: 1, ..FileStamp::default() },
            FileStamp { mtime: one, ..FileStamp::default() },
            FileStamp { mtime: tick, ..FileStamp::default() },
            FileStamp { ctime: one, ..FileStamp::default() },
            FileStamp { ctime: tick, ..FileStamp::default() },
        ];
        let versions = stamps.map(|stamp| stamp.version());
        for (number, version) in versions.iter().enumerate() {
            assert_ne!(*version, 0);
            assert!(!versions.iter().skip(number + 1).any(|other| other == version), "{number}");
        }
    }
}
