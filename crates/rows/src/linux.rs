//! Linux as a reader: the rows of a mounted image, or of any directory.
//!
//! Always: a mount is a descriptor that no directory shows, so it ends with the process whatever
//! ends that.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::{Row, Rows, hex, sum, text_of, time_ns};

/// A mount without a place.
#[derive(Debug)]
pub struct Mounted(OwnedFd);

impl Mounted {
    /// Mounts an image, its devices in the order of their slots.
    ///
    /// # Errors
    /// Those of Linux; [`unable`] says which of them are not the image's fault.
    pub fn new(image: &Path, devices: &[PathBuf]) -> Result<Self, Errno> {
        let context = rustix::mount::fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&context, "source", image)?;
        for device in devices {
            rustix::mount::fsconfig_set_string(&context, "device", device)?;
        }
        rustix::mount::fsconfig_set_flag(&context, "ro")?;
        rustix::mount::fsconfig_create(&context)?;
        let flags = FsMountFlags::FSMOUNT_CLOEXEC;
        rustix::mount::fsmount(&context, flags, MountAttrFlags::MOUNT_ATTR_RDONLY).map(Self)
    }

    /// Returns the root directory, as long as the mount is there.
    pub fn root(&self) -> PathBuf {
        format!("/proc/self/fd/{}/", self.0.as_raw_fd()).into()
    }

    /// Returns what Linux says of everything in the image.
    ///
    /// # Errors
    /// What cannot be read, in words.
    pub fn rows(&self) -> Result<Rows, String> {
        rows(&self.root())
    }
}

/// Returns why Linux cannot be asked about images, of which `sound` is one that it takes. Where
/// this user may not mount, or the kernel does not read EROFS out of files (Linux 6.12 and later
/// do, if they were built so).
///
/// # Panics
/// If Linux refuses the image.
pub fn unable(sound: &Path) -> Option<String> {
    match Mounted::new(sound, &[]) {
        Ok(_) => None,
        Err(Errno::PERM) => Some("only root may mount".into()),
        Err(error @ (Errno::NODEV | Errno::NOTBLK | Errno::NOSYS)) => {
            Some(format!("this kernel does not read EROFS out of files ({error})"))
        }
        Err(error) => panic!("Linux does not mount {}: {error}", sound.display()),
    }
}

/// Returns what Linux says of everything below a directory. The root, which ends in a slash, is
/// followed to where it is.
///
/// # Errors
/// What cannot be read, in words.
pub fn rows(root: &Path) -> Result<Rows, String> {
    let mut rows = Rows::new();
    let mut ahead = vec![root.to_path_buf()];
    while let Some(path) = ahead.pop() {
        let below = path.strip_prefix(root).expect("a path is longer than its root");
        let name = text_of(below.as_os_str().as_bytes());
        let failed = |error: std::io::Error| format!("{name:?}: {error}");
        let row = match row_of(&path) {
            // Linux lists a whiteout of a directory that one layer alone has, and does not find it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path != root => continue,
            row => row.map_err(failed)?,
        };
        if row.mode & 0o170_000 == 0o040_000 {
            for entry in fs::read_dir(&path).map_err(failed)? {
                ahead.push(entry.map_err(failed)?.path());
            }
        }
        rows.insert(name, row);
    }
    Ok(rows)
}

fn row_of(path: &Path) -> std::io::Result<Row> {
    let stat = fs::symlink_metadata(path)?;
    let kind = stat.file_type();
    let mut row = Row {
        mode: stat.mode(),
        owner: (stat.uid(), stat.gid()),
        // Not below a second in every image.
        mtime_ns: time_ns(stat.mtime(), 0) + i128::from(stat.mtime_nsec()),
        size: Some(stat.size()),
        nlink: Some(stat.nlink() as u32),
        blocks: Some(stat.blocks()),
        ..Row::default()
    };
    if kind.is_file() {
        let bytes = fs::read(path)?;
        assert_eq!(bytes.len() as u64, stat.size());
        row.sha256 = Some(sum(&bytes));
    }
    if kind.is_symlink() {
        row.target = Some(text_of(fs::read_link(path)?.as_os_str().as_bytes()));
    }
    if kind.is_char_device() || kind.is_block_device() {
        row.rdev = Some((rustix::fs::major(stat.rdev()), rustix::fs::minor(stat.rdev())));
    }
    let mut names = vec![0; 1 << 16];
    let len = llistxattr(path, &mut names[..])?;
    for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 16];
        match lgetxattr(path, name, &mut value[..]) {
            Ok(len) => drop(row.xattrs.insert(text_of(name), hex(&value[..len]))),
            // Listed, and not there: our rows have one more.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(row)
}

/// Mounts an overlay of mounted images, the bottom first.
///
/// # Errors
/// Those of Linux.
pub fn overlay(layers: &[Mounted]) -> Result<Mounted, Errno> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in layers.iter().rev() {
        rustix::mount::fsconfig_set_string(&context, "lowerdir+", layer.root())?;
    }
    rustix::mount::fsconfig_create(&context)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    rustix::mount::fsmount(&context, flags, MountAttrFlags::MOUNT_ATTR_RDONLY).map(Mounted)
}
