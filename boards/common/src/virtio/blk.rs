//! A disk: its configuration, and the head and status of a request (virtio 1.2, 5.2).
//!
//! Always: lengths here are bytes; the device counts sectors of 512 bytes whatever its block size.

use rootlet::storage::{DeviceInfo, IoErrorKind};
use virtio_drivers::transport::Transport;

use super::device::{Device, StartError};

const F_SIZE_MAX: u64 = 1 << 1;
const F_SEG_MAX: u64 = 1 << 2;
const F_RO: u64 = 1 << 5;
const F_BLK_SIZE: u64 = 1 << 6;
const F_FLUSH: u64 = 1 << 9;

/// The features that this driver uses.
pub(crate) const FEATURES: u64 = F_SIZE_MAX | F_SEG_MAX | F_RO | F_BLK_SIZE | F_FLUSH;

const SECTOR_BYTES: u64 = 512;
/// The largest block that is read: a region keeps blocks of this size.
const BLOCK_BYTES_MAX: u32 = 4096;
/// The longest transfer that is offered, where the device sets no limit: longer ones bring
/// nothing more, and shorter ones more of them in parallel.
const TRANSFER_BYTES_MAX: u32 = 4 << 20;

/// Length of a serial in bytes (virtio 1.2, 5.2.6.1); a shorter one ends in zeros.
pub(crate) const SERIAL_BYTES: usize = 20;

/// Offsets in the configuration (virtio 1.2, 5.2.4).
const CAPACITY: usize = 0;
const SIZE_MAX: usize = 8;
const SEG_MAX: usize = 12;
const BLK_SIZE: usize = 20;

/// What a request does (virtio 1.2, 5.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Operation {
    Read = 0,
    Write = 1,
    Flush = 4,
    GetId = 8,
}

/// Bytes of a request's head.
pub(crate) const HEAD_BYTES: usize = 16;
/// Bytes of a request's tail.
pub(crate) const STATUS_BYTES: usize = 1;

/// Returns the head of a request at byte `at`, a multiple of 512.
pub(crate) fn head(operation: Operation, at: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&(operation as u32).to_le_bytes());
    head[8..].copy_from_slice(&(at / SECTOR_BYTES).to_le_bytes());
    head
}

/// Returns the outcome from the status byte, and from how many bytes the device says it wrote (data
/// and status) where `data_bytes` of data were wanted.
pub(crate) fn outcome(status: u8, device_bytes: u32, data_bytes: usize) -> Result<(), IoErrorKind> {
    match status {
        0 => {}
        1 | 2 => return Err(IoErrorKind::Device(status.into())),
        _ => return Err(IoErrorKind::Protocol),
    }
    if data_bytes == 0 {
        return Ok(());
    }
    match device_bytes.checked_sub(STATUS_BYTES as u32) {
        Some(written) if written as usize >= data_bytes => Ok(()),
        Some(written) => Err(IoErrorKind::Short(written)),
        // It does not even count the status.
        None => Err(IoErrorKind::Short(0)),
    }
}

/// Returns whether a flush means anything to the device; if not, its writes are durable as they
/// complete.
pub(crate) fn has_flush<T: Transport>(device: &Device<T>) -> bool {
    device.features & F_FLUSH != 0
}

/// Returns what the disk can do.
///
/// # Errors
///
/// [`StartError::Field`] with the field and its number, if no transfer can be made of it.
pub(crate) fn info<T: Transport>(device: &Device<T>) -> Result<DeviceInfo, StartError> {
    let has = |feature| device.features & feature != 0;
    let (bytes, size_max, seg_max, blk_size) = device.config(|config| {
        let field = |feature, at| match has(feature) {
            true => config.read_config_space::<u32>(at).map(Some),
            false => Ok(None),
        };
        let (size_max, seg_max) = (field(F_SIZE_MAX, SIZE_MAX)?, field(F_SEG_MAX, SEG_MAX)?);
        Ok((config.read_config_space(CAPACITY)?, size_max, seg_max, field(F_BLK_SIZE, BLK_SIZE)?))
    })?;
    let bytes = bytes_of(bytes)?;
    let refused =
        |name, value: u32, wanted| Err(StartError::Field { name, value: value.into(), wanted });
    let sector_bytes = match blk_size {
        Some(blk_size) => blk_size,
        None => SECTOR_BYTES as u32,
    };
    let is_block = (SECTOR_BYTES as u32..=BLOCK_BYTES_MAX).contains(&sector_bytes);
    if !is_block || !sector_bytes.is_power_of_two() {
        return refused("blk_size", sector_bytes, "a power of two from 512 to 4096");
    }
    // One data segment a request, so its limit is the request's.
    let size_max = match size_max {
        // 0 is what QEMU's storage daemon has for no limit (vhost-user-blk-server.c).
        None | Some(0) => TRANSFER_BYTES_MAX,
        Some(size_max) if size_max < sector_bytes => {
            return refused("size_max", size_max, "0 for no limit, or blk_size at least");
        }
        Some(size_max) => size_max,
    };
    if seg_max == Some(0) {
        return refused("seg_max", 0, "one segment at least");
    }
    let transfer_bytes_max = size_max.min(TRANSFER_BYTES_MAX) / sector_bytes * sector_bytes;
    let read_only = has(F_RO);
    let info = DeviceInfo::new(bytes, sector_bytes).with_read_only(read_only);
    Ok(info.with_transfer_bytes_max(transfer_bytes_max))
}

/// Returns how many bytes the disk says that it has now.
pub(crate) fn capacity_bytes<T: Transport>(device: &Device<T>) -> Result<u64, StartError> {
    bytes_of(device.config(|config| config.read_config_space(CAPACITY))?)
}

fn bytes_of(sectors: u64) -> Result<u64, StartError> {
    sectors.checked_mul(SECTOR_BYTES).ok_or(StartError::Capacity(sectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_counts_sectors_of_512_bytes() {
        let want = [1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(head(Operation::Write, 4096), want);
    }

    #[test]
    fn disk_that_says_ok_but_wrote_less_is_short() {
        assert_eq!(outcome(0, 4097, 4096), Ok(()));
        assert_eq!(outcome(0, 4096, 4096), Err(IoErrorKind::Short(4095)));
        assert_eq!(outcome(0, 0, 4096), Err(IoErrorKind::Short(0)));
        assert_eq!(outcome(0, 1, 0), Ok(()));
    }

    #[test]
    fn status_that_was_never_written_is_a_broken_protocol() {
        assert_eq!(outcome(1, 1, 0), Err(IoErrorKind::Device(1)));
        assert_eq!(outcome(0xff, 1, 0), Err(IoErrorKind::Protocol));
    }
}
