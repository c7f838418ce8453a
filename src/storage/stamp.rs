//! Versions: what changes with the content behind a device, and a file's out of what its host says.
//!
//! Always: the same file has the same number in every boot, whoever asks for it: a region that was
//! filled through a share is warm through a disk of the same file, and the other way round.

use twox_hash::XxHash3_64;

/// What is known of the content behind a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Nothing, as of a disk of which nobody said a version.
    #[default]
    Unknown,
    /// The digest of a text that the configuration has; never 0. Other devices may have the same.
    Said(u64),
    /// That of a file ([`FileStamp::version`]). Devices with the same one are the same file.
    File(u64),
}

impl Version {
    /// Returns the number that changes when the content may have changed; 0 if nothing is known.
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

/// What a host says of a file that changes with its content. Not the device number, which changes
/// when a file system is mounted anew.
///
/// Limit: a host counts its times in ticks (4 ms on many machines). A file that is changed in
/// place, is read here, and is changed again, with the same length and within one tick, has one
/// stamp for two contents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStamp {
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// When the content changed, as whoever wrote it says: it can be set back.
    pub mtime: FileTime,
    /// When content or inode changed, as the host says: nobody sets it back.
    pub ctime: FileTime,
}

impl FileStamp {
    /// Returns a digest (XXH3-64) that is never 0, which stands for no version.
    pub fn version(&self) -> u64 {
        let Self { inode, bytes, mtime, ctime } = *self;
        let fields =
            [inode, bytes, mtime.seconds, mtime.nanoseconds, ctime.seconds, ctime.nanoseconds];
        XxHash3_64::oneshot(fields.map(u64::to_le_bytes).as_flattened()).max(1)
    }
}

#[cfg(feature = "std")]
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

#[cfg(feature = "std")]
impl FileStamp {
    /// Returns the stamp of a file that is written here: without the times of its content, which
    /// these writes change. They would give what nobody touched another version after each run.
    ///
    /// Limit: what somebody else writes to the same file does not change it. Another file of the
    /// same name has another birth or inode, and its own stamp.
    pub fn of_written(stat: &std::fs::Metadata) -> Self {
        let since = |born: std::time::SystemTime| born.duration_since(std::time::UNIX_EPOCH).ok();
        // Not every file system has births.
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
