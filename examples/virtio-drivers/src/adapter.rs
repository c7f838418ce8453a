//! Block devices of the crate virtio-drivers as disks.

use rootlet::storage::{DeviceInfo, Disk, IoErrorKind};
use virtio_drivers::device::blk::{SECTOR_SIZE, VirtIOBlk};
use virtio_drivers::transport::Transport;
use virtio_drivers::{Error, Hal};

/// A device, its length in bytes and its serial.
pub struct BlkDisk<H: Hal, T: Transport> {
    device: VirtIOBlk<H, T>,
    bytes: u64,
    serial: [u8; 20],
}

impl<H: Hal, T: Transport> BlkDisk<H, T> {
    /// Returns the disk behind `transport`.
    ///
    /// # Errors
    /// Those of the device; [`Error::InvalidParam`] if it says that it has 2^64 bytes or more.
    pub fn new(transport: T) -> Result<Self, Error> {
        let mut device = VirtIOBlk::new(transport)?;
        let mut serial = [0; 20];
        device.device_id(&mut serial)?;
        let bytes = device.capacity().checked_mul(SECTOR_SIZE as u64).ok_or(Error::InvalidParam)?;
        Ok(Self { device, bytes, serial })
    }
}

impl<H: Hal, T: Transport> Disk for BlkDisk<H, T> {
    fn info(&self) -> DeviceInfo {
        DeviceInfo::new(self.bytes, SECTOR_SIZE as u32).with_read_only(self.device.readonly())
    }

    fn serial(&self) -> &str {
        core::str::from_utf8(&self.serial).unwrap_or("").trim_end_matches('\0')
    }

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
        self.device.read_blocks(at as usize / SECTOR_SIZE, out).map(|()| out.len()).map_err(kind)
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<usize, IoErrorKind> {
        self.device.write_blocks(at as usize / SECTOR_SIZE, data).map(|()| data.len()).map_err(kind)
    }

    fn flush(&mut self) -> Result<(), IoErrorKind> {
        self.device.flush().map_err(kind)
    }
}

fn kind(error: Error) -> IoErrorKind {
    match error {
        Error::IoError => IoErrorKind::Device(1),
        _ => IoErrorKind::Protocol,
    }
}
