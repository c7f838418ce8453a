//! Disks in memory: images in flash, in a RAM disk, or mapped by the host.
//!
//! Always: read-only and viewed in place; a disk is found by the serial that it was added with.

use super::{
    DeviceId, DeviceInfo, Discover, DiscoverError, IoErrorKind, Lent, Storage, Transfer, Version,
    named,
};

/// The most disks of one storage, unless its type says otherwise: an image and 64 blobs.
pub const DISKS_MAX: usize = 65;
/// The longest single transfer, in bytes.
const TRANSFER_BYTES_MAX: u32 = 1 << 30;

/// A storage of at most `DISKS` disks whose bytes lie in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage<'m, const DISKS: usize = DISKS_MAX> {
    disks: heapless::Vec<Disk<'m>, DISKS>,
}

#[derive(Debug)]
struct Disk<'m> {
    serial: &'m str,
    bytes: &'m [u8],
    version: Version,
}

impl MemoryStorage<'_> {
    /// Returns a storage without disks.
    pub const fn new() -> Self {
        Self { disks: heapless::Vec::new() }
    }
}

impl<'m, const DISKS: usize> MemoryStorage<'m, DISKS> {
    /// Adds a disk of these bytes, and returns its device; `None` if there are `DISKS` disks.
    pub fn add_disk(&mut self, serial: &'m str, bytes: &'m [u8]) -> Option<DeviceId> {
        let device = DeviceId::of(self.disks.len())?;
        self.disks.push(Disk { serial, bytes, version: Version::Unknown }).ok()?;
        Some(device)
    }

    fn bytes(&self, device: DeviceId) -> Option<&'m [u8]> {
        self.disks.get(usize::from(device.0)).map(|disk| disk.bytes)
    }

    fn range(&self, device: DeviceId, at: u64, len: usize) -> Result<&'m [u8], IoErrorKind> {
        let bytes = self.bytes(device).ok_or(IoErrorKind::Gone)?;
        let at = usize::try_from(at).map_err(|_| IoErrorKind::OutOfRange)?;
        bytes.get(at..).and_then(|rest| rest.get(..len)).ok_or(IoErrorKind::OutOfRange)
    }
}

impl<const DISKS: usize> Storage for MemoryStorage<'_, DISKS> {
    fn info(&self, device: DeviceId) -> Option<DeviceInfo> {
        let Disk { bytes, version, .. } = self.disks.get(usize::from(device.0))?;
        let info = DeviceInfo::new(u64::try_from(bytes.len()).ok()?, 1).with_read_only(true);
        Some(info.with_transfer_bytes_max(TRANSFER_BYTES_MAX).with_version(*version))
    }

    fn run<'b>(&self, batch: &mut [Transfer<'b>], done: &mut dyn FnMut(usize, &mut Transfer<'b>)) {
        for (index, transfer) in batch.iter_mut().enumerate() {
            transfer.result = Some(match &mut transfer.lent {
                Lent::Read(out) => self
                    .range(transfer.device, transfer.at, out.len())
                    .map(|bytes| out.copy_from_slice(bytes)),
                Lent::Write(_) => Err(IoErrorKind::ReadOnly),
                Lent::Flush => Ok(()),
            });
            done(index, transfer);
        }
    }

    fn view(&self, device: DeviceId, at: u64, len: usize) -> Option<&[u8]> {
        self.range(device, at, len).ok()
    }

    /// Returns 0: there is no clock, and nothing takes time.
    fn now_ns(&self) -> u64 {
        0
    }
}

impl<const DISKS: usize> Discover for MemoryStorage<'_, DISKS> {
    fn disk(&mut self, name: &str) -> Result<DeviceId, DiscoverError> {
        named(
            self.disks.iter().zip(0..).map(|(disk, number)| (disk.serial, DeviceId(number))),
            name,
        )
    }

    fn disks(&mut self, each: &mut dyn FnMut(&str, DeviceId)) {
        for (number, disk) in (0..).zip(&self.disks) {
            each(disk.serial, DeviceId(number));
        }
    }

    fn set_version(&mut self, device: DeviceId, version: Version) {
        if let Some(disk) = self.disks.get_mut(usize::from(device.0)) {
            disk.version = version;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_beyond_the_end_has_no_view_and_no_bytes() {
        let mut storage = MemoryStorage::new();
        let device = storage.add_disk("a", b"0123456789").unwrap_or(DeviceId(9));
        assert_eq!(storage.view(device, 8, 2), Some(b"89".as_slice()));
        assert_eq!(storage.view(device, 8, 3), None);
        assert_eq!(storage.view(DeviceId(1), 0, 1), None);
        let mut out = [0; 3];
        let mut batch = [Transfer::read(device, 8, &mut out)];
        storage.run(&mut batch, &mut |_, _| {});
        assert_eq!(batch.first().and_then(|one| one.result), Some(Err(IoErrorKind::OutOfRange)));
    }

    #[test]
    fn disk_is_found_by_a_name_that_one_disk_has() {
        let mut storage = MemoryStorage::new();
        for name in ["a", "b", "b", "twenty-bytes-exactly-and-more"] {
            assert!(storage.add_disk(name, b"").is_some());
        }
        assert_eq!(storage.disk("a"), Ok(DeviceId(0)));
        assert_eq!(storage.disk("b"), Err(DiscoverError::Ambiguous(2)));
        assert_eq!(storage.disk("c"), Err(DiscoverError::NotFound));
        // As of any other disk, 20 bytes of the name count.
        assert_eq!(storage.disk("twenty-bytes-exactly, and others"), Ok(DeviceId(3)));
        assert_eq!(storage.disk("twenty-bytes"), Err(DiscoverError::NotFound));
    }

    #[test]
    fn type_says_how_many_disks_there_may_be() {
        let mut storage = MemoryStorage::<2>::default();
        assert_eq!(storage.add_disk("a", b""), Some(DeviceId(0)));
        assert_eq!(storage.add_disk("b", b""), Some(DeviceId(1)));
        assert_eq!(storage.add_disk("c", b""), None);
    }
}
