//! A file of the debugger's host as a disk of sectors: it stands for a card behind SPI or SDIO.

use rootlet::storage::{DeviceInfo, Disk, IoErrorKind};
use semihosting::fs::File;
use semihosting::io::{self, Read as _, Seek as _, SeekFrom};

/// A file, by semihosting.
pub struct HostFile {
    file: File,
    bytes: u64,
}

impl HostFile {
    /// Opens the file `name` of the folder in which the debugger runs.
    pub fn open(name: &core::ffi::CStr) -> io::Result<Self> {
        let file = File::open(name)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

impl Disk for HostFile {
    fn info(&self) -> DeviceInfo {
        DeviceInfo::new(self.bytes, 512).with_read_only(true)
    }

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
        let failed = |_| IoErrorKind::Device(1);
        self.file.seek(SeekFrom::Start(at)).map_err(failed)?;
        self.file.read_exact(out).map_err(failed)?;
        Ok(out.len())
    }
}
