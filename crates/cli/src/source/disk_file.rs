//! The checks that a file has to pass to serve as a disk.
//!
//! Always: a file that is cut short is refused: QEMU would pad it to a whole sector with zeros, and
//! a guest could not tell these from data. A packed image may have any length; the error names its
//! format.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::Result;
use rootlet::blob::foreign;

use crate::boot::monitor::Disk;
use crate::boot::plan::SERIAL_OF_IMAGE;
use crate::exit::usage;

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

/// Checks that the file of `disk` exists and can serve as a disk.
pub fn check(disk: &Disk) -> Result<()> {
    let refuse = |why: &str| usage(format!("{} ({}): {why}", disk.file.display(), disk.serial));
    let stat = fs::metadata(&disk.file).map_err(|error| refuse(&error.to_string()))?;
    if !stat.is_file() && !stat.file_type().is_block_device() {
        return Err(refuse("neither a file nor a block device"));
    }
    let file = File::open(&disk.file).map_err(|error| refuse(&error.to_string()))?;
    // The old content of a disk that the guest may write is not checked: any content is fine.
    let cut = stat.len() % SECTOR_BYTES;
    if disk.read_only && stat.is_file() && cut != 0 {
        let mut head = Vec::new();
        file.take(SIGNATURES_BYTES)
            .read_to_end(&mut head)
            .map_err(|error| refuse(&error.to_string()))?;
        // A blob may be anything.
        if let Some(foreign) = foreign(&head).filter(|_| disk.serial == SERIAL_OF_IMAGE) {
            return Err(refuse(&foreign.to_string()));
        }
        let bytes = stat.len();
        return Err(refuse(&format!(
            "{bytes} bytes, {cut} more than whole sectors of {SECTOR_BYTES}: it is cut short, or \
             lacks its padding (`truncate -s %{SECTOR_BYTES} FILE` adds it)"
        )));
    }
    Ok(())
}
