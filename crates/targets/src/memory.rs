//! Devices in memory: bytes that many cases share, and what one case changes of them.
//!
//! Always: a request beyond a device or off its sectors fails; everything is counted.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use rootlet::storage::{
    DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind, Lent, Storage, Transfer,
};

/// Offsets and lengths of transfers are multiples of this.
pub const SECTOR: u64 = 512;

/// One device.
#[derive(Clone)]
pub struct Device {
    bytes: Arc<Vec<u8>>,
    /// Byte offsets and what is there in place of the shared bytes; the last one counts.
    patches: Vec<(u64, Vec<u8>)>,
}

impl Device {
    pub fn new(bytes: Arc<Vec<u8>>) -> Self {
        Self { bytes, patches: Vec::new() }
    }

    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Changes bytes; what lies beyond the end is dropped.
    pub fn patch(&mut self, at: u64, bytes: &[u8]) {
        let room = self.len().saturating_sub(at).min(bytes.len() as u64);
        if room > 0 {
            self.patches.push((at, bytes[..room as usize].to_vec()));
        }
    }

    /// Reads bytes, zeros beyond the end.
    pub fn read(&self, at: u64, out: &mut [u8]) {
        out.fill(0);
        let from = self.bytes.get(at.min(self.len()) as usize..).unwrap_or_default();
        let len = from.len().min(out.len());
        out[..len].copy_from_slice(&from[..len]);
        for (start, bytes) in &self.patches {
            for (at_byte, byte) in (*start..).zip(bytes) {
                if let Some(into) = at_byte.checked_sub(at)
                    && let Some(place) = out.get_mut(into as usize)
                {
                    *place = *byte;
                }
            }
        }
    }

    /// Makes the checksum of the superblock right, if there is a superblock.
    pub fn fix_checksum(&mut self) {
        let mut head = vec![0; 1024 + (64 << 10)];
        self.read(0, &mut head);
        let bits = head[1024 + 12];
        if !(9..=16).contains(&bits) {
            return;
        }
        let block = 1_usize << bits;
        let len = if block > 1024 { block - 1024 } else { block };
        head[1028..1032].fill(0);
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
        let sum = crc.checksum(&head[1024..1024 + len]) ^ u32::MAX;
        self.patch(1028, &sum.to_le_bytes());
    }
}

/// What the devices were asked for.
#[derive(Debug, Default)]
pub struct Asked {
    pub transfers: Cell<u64>,
    pub bytes: Cell<u64>,
}

/// Disk `image`, then `blob1` and so on.
pub struct Devices {
    pub devices: Vec<Device>,
    pub asked: Rc<Asked>,
}

impl Storage for Devices {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        let device = self.devices.get(usize::from(device.0))?;
        let bytes = device.len().next_multiple_of(SECTOR);
        Some(DeviceInfo::new(bytes, SECTOR as u32).with_read_only(true))
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        // The last one first: nothing may depend on the order.
        for (index, transfer) in batch.iter_mut().enumerate().rev() {
            let end = transfer.at.checked_add(transfer.len() as u64);
            let info = self.info(transfer.device);
            let aligned = transfer.at.is_multiple_of(SECTOR)
                && (transfer.len() as u64).is_multiple_of(SECTOR);
            transfer.result = Some(match (&mut transfer.lent, info, end) {
                (Lent::Read(_), _, _) if !aligned => Err(IoErrorKind::Unaligned),
                (Lent::Read(out), Some(info), Some(end)) if end <= info.bytes => {
                    self.asked.transfers.set(self.asked.transfers.get() + 1);
                    self.asked.bytes.set(self.asked.bytes.get() + out.len() as u64);
                    self.devices[usize::from(transfer.device.0)].read(transfer.at, out);
                    Ok(())
                }
                (Lent::Read(_), ..) => Err(IoErrorKind::OutOfRange),
                _ => Err(IoErrorKind::ReadOnly),
            });
            done(index, transfer);
        }
    }

    fn now_ns(&self) -> u64 {
        0
    }
}

impl Discover for Devices {
    fn disk(&mut self, serial: &str) -> Result<DeviceId, DiscoverError> {
        let number = serial.strip_prefix("blob").and_then(|number| number.parse().ok());
        let number = number.filter(|number| usize::from(*number) < self.devices.len());
        number.map(DeviceId).ok_or(DiscoverError::NotFound)
    }
}
