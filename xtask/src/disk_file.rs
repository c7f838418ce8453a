//! What a file has to be to serve as a disk.
//!
//! Always: what is cut short is refused: QEMU would pad it to a whole sector with zeros, and a
//! guest could not tell them from data. An image that is packed has any length, and is told as
//! what it is.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::Result;
use rootlet::blob::foreign;

use crate::exit::usage;
use crate::monitor::Disk;
use crate::plan::SERIAL_OF_IMAGE;

/// A disk's unit in bytes (virtio 1.2 5.2.4).
const SECTOR_BYTES: u64 = 512;

/// Whether a file is there and may not be written: by its mode, whoever asks, or because its file
/// system does not allow it.
pub fn is_read_only(file: &Path) -> bool {
    let by_mode = fs::metadata(file).is_ok_and(|stat| stat.permissions().readonly());
    by_mode || (file.exists() && OpenOptions::new().write(true).open(file).is_err())
}

/// What is looked at of a file to tell what it is.
const SIGNATURES_BYTES: u64 = 128 << 10;

/// Checks that the file of `disk` is there and can be one.
pub fn check(disk: &Disk) -> Result<()> {
    let refuse = |why: &str| usage(format!("{} ({}): {why}", disk.file.display(), disk.serial));
    let stat = fs::metadata(&disk.file).map_err(|error| refuse(&error.to_string()))?;
    if !stat.is_file() && !stat.file_type().is_block_device() {
        return Err(refuse("neither a file nor a block device"));
    }
    let file = File::open(&disk.file).map_err(|error| refuse(&error.to_string()))?;
    // Of a disk that is written to nobody expects what it held.
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
