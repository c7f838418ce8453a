//! The checks that a file has to pass to serve as a disk.
//!
//! Always: a file that is cut short is refused: QEMU would pad it to a whole sector with zeros, and
//! a guest could not tell these from data. A file of another format is not an image, whatever its length;
//! the error names the format.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use anyhow::Result;
use rootlet::blob::foreign;

use crate::boot::monitor::Disk;
use crate::boot::plan::{SERIAL_OF_IMAGE, SERIAL_OF_KEY};
use crate::exit::usage;
use crate::source::Source;

/// A disk's unit in bytes (virtio 1.2 5.2.4).
const SECTOR_BYTES: u64 = 512;

/// Returns whether a file exists and may not be written: its mode forbids it to everybody, or its
/// file system to this user.
pub fn is_read_only(file: &Path) -> bool {
    let by_mode = fs::metadata(file).is_ok_and(|stat| stat.permissions().readonly());
    by_mode || (file.exists() && OpenOptions::new().write(true).open(file).is_err())
}

/// Bytes at the start of a file that show its format.
const SIGNATURES_BYTES: u64 = 128 << 10;

/// The magic number of EROFS, little-endian, at byte 1024 of an image.
const EROFS_MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();

/// Returns whether a file has the magic number of EROFS.
pub fn is_erofs(file: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(file).and_then(|file| file.read_exact_at(&mut magic, 1024));
    read.is_ok() && magic == EROFS_MAGIC
}

/// Checks that the file of `disk` exists and can serve as a disk; whether a server is there shows
/// when the monitor asks it.
///
/// # Errors
/// Status 2, with what the file is, and the way to an image where one was meant.
pub fn check(disk: &Disk) -> Result<()> {
    let refuse = |why: &str| usage(format!("{} ({}): {why}", disk.source, disk.serial));
    let node_file = match &disk.source {
        Source::File(file) => return check_raw(disk, file, &refuse),
        Source::Node(node) => node.file(),
        Source::Web(_) | Source::Oci(_) | Source::Store(_) | Source::VhostUser(_) => None,
    };
    match node_file.map(fs::metadata) {
        Some(Err(error)) => Err(refuse(&error.to_string())),
        Some(Ok(stat)) if stat.is_dir() => Err(refuse("a directory")),
        _ => Ok(()),
    }
}

fn check_raw(disk: &Disk, path: &Path, refuse: &dyn Fn(&str) -> anyhow::Error) -> Result<()> {
    let stat = fs::metadata(path).map_err(|error| refuse(&error.to_string()))?;
    // A blob may be anything.
    let is_image = disk.serial == SERIAL_OF_IMAGE;
    if stat.is_dir() && is_image {
        return Err(refuse("a directory; make an image of its files: mkfs.erofs root.erofs DIR"));
    }
    if !stat.is_file() && !stat.file_type().is_block_device() {
        return Err(refuse("neither a file nor a block device"));
    }
    let file = File::open(path).map_err(|error| refuse(&error.to_string()))?;
    if is_image {
        let mut head = Vec::new();
        let read = (&file).take(SIGNATURES_BYTES).read_to_end(&mut head);
        read.map_err(|error| refuse(&error.to_string()))?;
        if let Some(foreign) = foreign(&head) {
            return Err(refuse(&foreign.to_string()));
        }
    }
    // The old content of a disk that the guest may write is not checked: any content is fine.
    let cut = stat.len() % SECTOR_BYTES;
    // Zeros at the end of a key do not count.
    if disk.serial == SERIAL_OF_KEY {
        return Ok(());
    }
    if !disk.read_only || !stat.is_file() || cut == 0 {
        return Ok(());
    }
    if is_image && !is_erofs(path) {
        return Err(refuse("not an EROFS image; mkfs.erofs root.erofs DIR makes one"));
    }
    let bytes = stat.len();
    Err(refuse(&format!(
        "{bytes} bytes, {cut} more than whole sectors of {SECTOR_BYTES}: it is cut short, or lacks \
         its padding (`truncate -s %{SECTOR_BYTES} FILE` adds it)"
    )))
}
