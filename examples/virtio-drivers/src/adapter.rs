//! Block devices of the crate virtio-drivers as disks.

use rootlet::storage::{DeviceInfo, Disk, IoErrorKind};
use virtio_drivers::device::blk::{SECTOR_SIZE, VirtIOBlk};
use virtio_drivers::transport::Transport;
use virtio_drivers::{Error, Hal};

/// A device and its serial.
pub struct BlkDisk<H: Hal, T: Transport>(pub VirtIOBlk<H, T>, pub [u8; 20]);

impl<H: Hal, T: Transport> Disk for BlkDisk<H, T> {
    fn info(&self) -> DeviceInfo {
        let bytes = self.0.capacity() * SECTOR_SIZE as u64;
        DeviceInfo::new(bytes, SECTOR_SIZE as u32).with_read_only(self.0.readonly())
    }

    fn serial(&self) -> &str {
        core::str::from_utf8(&self.1).unwrap_or("").trim_end_matches('\0')
    }

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
        self.0.read_blocks(at as usize / SECTOR_SIZE, out).map(|()| out.len()).map_err(kind)
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<usize, IoErrorKind> {
        self.0.write_blocks(at as usize / SECTOR_SIZE, data).map(|()| data.len()).map_err(kind)
    }

    fn flush(&mut self) -> Result<(), IoErrorKind> {
        self.0.flush().map_err(kind)
    }
}

fn kind(error: Error) -> IoErrorKind {
    match error {
        Error::IoError => IoErrorKind::Device(1),
        _ => IoErrorKind::Protocol,
    }
}
