//! The files that a guest only reads, held open to see whether somebody wrote into them meanwhile.
//!
//! Always: a file that another one replaces under its name is not changed: the guest reads the old one.
//! A change that leaves length and time of the content alone is not seen; a digest would show it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use super::monitor::Disk;

/// The files of a boot.
#[derive(Debug)]
pub struct Held(Vec<Holding>);

#[derive(Debug)]
struct Holding {
    /// The disk, for messages.
    name: String,
    file: File,
    /// What its content had before the boot.
    before: (u64, SystemTime),
}

impl Held {
    /// Holds the files that lie below read-only disks and no other ones. What cannot be opened is reported
    /// where the disk is.
    pub fn open(disks: &[Disk]) -> Self {
        let of = |disk: &Disk| fs::metadata(disk.source.file()?).ok().filter(fs::Metadata::is_file);
        let number = |stat: &fs::Metadata| (stat.dev(), stat.ino());
        let is_written = |stat: &fs::Metadata| {
            let mut written = disks.iter().filter(|disk| !disk.read_only).filter_map(of);
            written.any(|other| number(&other) == number(stat))
        };
        let open = |disk: &Disk| {
            of(disk).filter(|stat| disk.read_only && !is_written(stat))?;
            let path = disk.source.file()?;
            let file = File::open(path).ok()?;
            let before = content(&file).ok()?;
            Some(Holding { name: format!("{} ({})", disk.source, disk.serial), file, before })
        };
        Self(disks.iter().filter_map(open).collect())
    }

    /// Returns the names of the disks whose content has changed.
    pub fn changed(&self) -> Vec<String> {
        let is_other = |held: &&Holding| !content(&held.file).is_ok_and(|now| now == held.before);
        self.0.iter().filter(is_other).map(|held| held.name.clone()).collect()
    }
}

/// Returns the length and the time of a file's content.
fn content(file: &File) -> io::Result<(u64, SystemTime)> {
    let stat = file.metadata()?;
    Ok((stat.len(), stat.modified()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn file_that_is_written_has_changed_and_one_that_is_replaced_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "1").unwrap();
        let disk = |read_only| Disk {
            serial: "blob1".into(),
            source: path.clone().into(),
            read_only,
            blkdebug: None,
            options: None,
        };
        let held = Held::open(&[disk(true)]);
        fs::write(dir.path().join("b"), "2").unwrap();
        fs::rename(dir.path().join("b"), &path).unwrap();
        assert!(held.changed().is_empty());
        let (held, written) = (Held::open(&[disk(true)]), Held::open(&[disk(true), disk(false)]));
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        assert_eq!(held.changed(), [format!("{} (blob1)", path.display())]);
        assert!(written.changed().is_empty());
    }
}
