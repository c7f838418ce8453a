//! What `extract` has done, and what this user or file system did not permit.

use anyhow::{Result, anyhow};

use crate::note;
use crate::size::{counted, human};

/// What was done, and what this user or file system did not permit.
#[derive(Debug, Default)]
pub struct Counts {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Hard links.
    pub links: u64,
    /// Symlinks, devices, fifos and sockets.
    pub others: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Owners that could not be set.
    pub no_owner: u64,
    /// Devices and other special files that could not be made.
    pub no_device: u64,
    /// Xattrs that could not be set.
    pub no_xattr: u64,
    /// Entries that could not be restored.
    pub failed: u64,
}

impl Counts {
    /// Adds what was done elsewhere.
    pub fn add(&mut self, more: Self) {
        self.files += more.files;
        self.dirs += more.dirs;
        self.links += more.links;
        self.others += more.others;
        self.bytes += more.bytes;
        self.no_owner += more.no_owner;
        self.no_device += more.no_device;
        self.no_xattr += more.no_xattr;
        self.failed += more.failed;
    }

    /// Says what was done, and what was not permitted.
    ///
    /// # Errors
    /// An entry could not be restored.
    pub fn tell(&self, is_root: bool) -> Result<()> {
        let bytes = human(self.bytes);
        note!(
            "extract {} with {bytes}, {}, {}, {}",
            counted(self.files, "file", "files"),
            counted(self.dirs, "directory", "directories"),
            counted(self.links, "hard link", "hard links"),
            counted(self.others, "other", "others")
        );
        let why = if is_root { "not permitted" } else { "only root may" };
        for (count, what) in [
            (self.no_owner, "owners, and set-id bits with them"),
            (self.no_device, "devices or other special files"),
            (self.no_xattr, "xattrs"),
        ] {
            if count > 0 {
                note!("        without {count} {what} ({why})");
            }
        }
        match self.failed {
            0 => Ok(()),
            failed => Err(anyhow!("{} could not be restored", counted(failed, "entry", "entries"))),
        }
    }
}
