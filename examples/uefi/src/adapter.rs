//! Block I/O of the firmware as disks (UEFI 2.10, 13.9).

use rootlet::storage::{DeviceInfo, Disk, IoErrorKind};
use uefi::boot::ScopedProtocol;
use uefi::proto::media::block::BlockIO;
use uefi::{Error, Status};

/// A whole disk of the firmware.
pub struct FirmwareDisk {
    protocol: ScopedProtocol<BlockIO>,
    bytes: u64,
}

impl FirmwareDisk {
    /// Returns the disk behind `protocol`; `None` if it says that it has 2^64 bytes or more.
    pub fn new(protocol: ScopedProtocol<BlockIO>) -> Option<Self> {
        let media = protocol.media();
        let blocks = media.last_block().checked_add(1)?;
        let bytes = blocks.checked_mul(u64::from(media.block_size()))?;
        Some(Self { protocol, bytes })
    }
}

impl Disk for FirmwareDisk {
    fn info(&self) -> DeviceInfo {
        let media = self.protocol.media();
        let info = DeviceInfo::new(self.bytes, media.block_size());
        let info = info.with_read_only(media.is_read_only());
        info.with_memory_align(media.io_align().max(1))
    }

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
        let (id, block) = (self.protocol.media().media_id(), self.protocol.media().block_size());
        self.protocol.read_blocks(id, at / u64::from(block), out).map(|()| out.len()).map_err(kind)
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<usize, IoErrorKind> {
        let (id, block) = (self.protocol.media().media_id(), self.protocol.media().block_size());
        self.protocol
            .write_blocks(id, at / u64::from(block), data)
            .map(|()| data.len())
            .map_err(kind)
    }

    fn flush(&mut self) -> Result<(), IoErrorKind> {
        self.protocol.flush_blocks().map_err(kind)
    }
}

fn kind(error: Error) -> IoErrorKind {
    match error.status() {
        Status::NO_MEDIA | Status::MEDIA_CHANGED => IoErrorKind::Gone,
        status => IoErrorKind::Device(status.0 as u32), // Its highest bit says that it is an error.
    }
}
