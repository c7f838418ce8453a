//! The version of a file: one number out of what its host says of it.
//!
//! Always: the same file has the same number in every boot, whoever asks for it: a region that was
//! filled through a share is warm through a disk of the same file, and the other way round.

use twox_hash::XxHash3_64;

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
    /// A digest (XXH3-64) that is never 0, which stands for no version.
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
