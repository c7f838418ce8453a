//! Block I/O of the firmware as disks (UEFI 2.10, 13.9).

use rootlet::storage::{DeviceInfo, Disk, IoErrorKind};
use uefi::boot::ScopedProtocol;
use uefi::proto::media::block::BlockIO;
use uefi::{Error, Status};

/// A whole disk of the firmware.
pub struct FirmwareDisk(pub ScopedProtocol<BlockIO>);

impl Disk for FirmwareDisk {
    fn info(&self) -> DeviceInfo {
        let media = self.0.media();
        let bytes = (media.last_block() + 1) * u64::from(media.block_size());
        let info = DeviceInfo::new(bytes, media.block_size()).with_read_only(media.is_read_only());
        info.with_memory_align(media.io_align().max(1))
    }

    fn read(&mut self, at: u64, out: &mut [u8]) -> Result<usize, IoErrorKind> {
        let (id, block) = (self.0.media().media_id(), self.0.media().block_size());
        self.0.read_blocks(id, at / u64::from(block), out).map(|()| out.len()).map_err(kind)
    }

    fn write(&mut self, at: u64, data: &[u8]) -> Result<usize, IoErrorKind> {
        let (id, block) = (self.0.media().media_id(), self.0.media().block_size());
        self.0.write_blocks(id, at / u64::from(block), data).map(|()| data.len()).map_err(kind)
    }

    fn flush(&mut self) -> Result<(), IoErrorKind> {
        self.0.flush_blocks().map_err(kind)
    }
}

fn kind(error: Error) -> IoErrorKind {
    match error.status() {
        Status::NO_MEDIA | Status::MEDIA_CHANGED => IoErrorKind::Gone,
        status => IoErrorKind::Device(status.0 as u32), // Its highest bit says that it is an error.
    }
}
