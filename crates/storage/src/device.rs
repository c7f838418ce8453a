//! A device: its number, its properties, and the transfers that these allow.
//!
//! Always: a device that passes [`DeviceInfo::check`] has whole sectors, of a power of two.

use core::fmt;

use rootlet_base::num::wide;
use rootlet_base::units::Pow2;

use super::{IoErrorKind, Version};

/// A device of one [`Storage`](crate::Storage): a disk, or one open file of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// No device: stands for the absent source of a slot. No storage has a device with this number.
    pub const NONE: Self = Self(u16::MAX);

    /// Returns the device with this number; `None` if no storage can have it.
    pub fn of(number: usize) -> Option<Self> {
        u16::try_from(number).ok().map(Self).filter(|device| *device != Self::NONE)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("a source that is not there");
        }
        write!(f, "device {}", self.0)
    }
}

/// The properties of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// The length in bytes: a multiple of `sector_bytes`.
    pub bytes: u64,
    /// The unit of transfers in bytes: their offsets and lengths are multiples of it. 1 for a file
    /// or memory, else a power of two from 512 to 4096.
    pub sector_bytes: u32,
    /// The longest single transfer in bytes: a multiple of `sector_bytes`, not 0.
    pub transfer_bytes_max: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// The alignment of memory that the device takes, in bytes: a power of two of at most 4096. A
    /// job's buffer is aligned to 4096; a reader's memory may begin anywhere, and [`Simple`](crate::simple::Simple) copies
    /// what a driver cannot take. Any other storage copies for itself.
    pub memory_align: u32,
    /// The version of the device's content, if known: from a file's stamp, or from
    /// [`Discover::set_version`](crate::Discover::set_version).
    pub version: Version,
    /// Whether [`Storage::vouch`](crate::Storage::vouch) knows the digests of the device's bytes.
    pub pinned: bool,
}

/// The longest sector of a device, in bytes: the read path cuts reads at blocks of 4 KiB.
const SECTOR_BYTES_MAX: u32 = 4096;

/// The most that a device may want memory to be aligned to.
const MEMORY_ALIGN_MAX: u32 = 4096;
/// The longest transfer of a device of which nothing else was said.
const TRANSFER_BYTES_MAX: u32 = 1 << 20;

impl DeviceInfo {
    /// Returns a device of `bytes` bytes with sectors of `sector_bytes`, that can be written, takes
    /// memory that begins anywhere, at most 1 MiB at a time, and is of an unknown version.
    pub const fn new(bytes: u64, sector_bytes: u32) -> Self {
        Self {
            bytes,
            sector_bytes,
            transfer_bytes_max: TRANSFER_BYTES_MAX,
            read_only: false,
            memory_align: 1,
            version: Version::Unknown,
            pinned: false,
        }
    }

    /// Returns the same device with another [`DeviceInfo::read_only`].
    #[must_use]
    pub const fn with_read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// Returns the same device with another [`DeviceInfo::transfer_bytes_max`].
    #[must_use]
    pub const fn with_transfer_bytes_max(self, transfer_bytes_max: u32) -> Self {
        Self { transfer_bytes_max, ..self }
    }

    /// Returns the same device with another [`DeviceInfo::memory_align`].
    #[must_use]
    pub const fn with_memory_align(self, memory_align: u32) -> Self {
        Self { memory_align, ..self }
    }

    /// Returns the same device with another [`DeviceInfo::version`].
    #[must_use]
    pub const fn with_version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Returns the same device with another [`DeviceInfo::pinned`].
    #[must_use]
    pub const fn with_pinned(self, pinned: bool) -> Self {
        Self { pinned, ..self }
    }

    /// Checks that reads can be cut into transfers of the device.
    ///
    /// # Errors
    /// The property that prevents it.
    pub fn check(&self) -> Result<(), Unfit> {
        let (sector, max) = (self.sector_bytes, self.transfer_bytes_max);
        let fits = sector == 1 || (512..=SECTOR_BYTES_MAX).contains(&sector);
        let Some(unit) = Pow2::of(sector.into()).filter(|_| fits) else {
            return Err(Unfit::Sector(sector));
        };
        if max == 0 || !max.is_multiple_of(sector) {
            return Err(Unfit::Transfer { max, sector });
        }
        if unit.offset(self.bytes) != 0 {
            return Err(Unfit::Length { bytes: self.bytes, sector });
        }
        let align = self.memory_align;
        if !align.is_power_of_two() || align > MEMORY_ALIGN_MAX {
            return Err(Unfit::Memory(align));
        }
        Ok(())
    }

    /// Checks that the device can move `len` bytes at byte `at` in one transfer: whole sectors,
    /// within the device and its longest transfer.
    ///
    /// # Errors
    /// [`IoErrorKind::Unaligned`], [`IoErrorKind::OutOfRange`].
    pub fn check_transfer(&self, at: u64, len: usize) -> Result<(), IoErrorKind> {
        let (sector, len) = (Pow2::of(self.sector_bytes.into()), wide(len));
        let is_whole = |sector: Pow2| sector.offset(at) == 0 && sector.offset(len) == 0;
        if !sector.is_some_and(is_whole) || len > u64::from(self.transfer_bytes_max) {
            return Err(IoErrorKind::Unaligned);
        }
        match at.checked_add(len) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(IoErrorKind::OutOfRange),
        }
    }
}

/// The reason why a device cannot be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// The size of its sectors, in bytes.
    Sector(u32),
    /// Its longest transfer is not a whole number of sectors.
    Transfer {
        /// The longest transfer in bytes.
        max: u32,
        /// The sector in bytes.
        sector: u32,
    },
    /// It ends within a sector.
    Length {
        /// The length in bytes.
        bytes: u64,
        /// The sector in bytes.
        sector: u32,
    },
    /// It wants memory aligned to this many bytes.
    Memory(u32),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sector(bytes) => write!(
                f,
                "its sectors have {bytes} bytes: a sector has 1 byte, or a power of two from 512 to {SECTOR_BYTES_MAX}"
            ),
            Self::Transfer { max, sector } => write!(
                f,
                "its longest transfer has {max} bytes: not a multiple of its sector of {sector} bytes"
            ),
            Self::Length { bytes, sector } => {
                write!(f, "it has {bytes} bytes: no whole sectors of {sector} bytes")
            }
            Self::Memory(align) => write!(
                f,
                "it wants memory aligned to {align} bytes: a power of two up to {MEMORY_ALIGN_MAX} is possible"
            ),
        }
    }
}

impl core::error::Error for Unfit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transfer_has_whole_sectors_within_the_device_and_the_longest_transfer() {
        let device = DeviceInfo::new(8192, 512).with_transfer_bytes_max(4096);
        for (at, len) in [(0, 0), (0, 4096), (4096, 4096), (7680, 512), (8192, 0)] {
            assert_eq!(device.check_transfer(at, len), Ok(()), "{len} at {at}");
        }
        for (at, len) in [(1, 512), (0, 511), (0, 4608), (0, usize::MAX)] {
            let unaligned = Err(IoErrorKind::Unaligned);
            assert_eq!(device.check_transfer(at, len), unaligned, "{len} at {at}");
        }
        for (at, len) in [(8192, 512), (7680, 1024), (u64::MAX - 511, 512)] {
            let beyond = Err(IoErrorKind::OutOfRange);
            assert_eq!(device.check_transfer(at, len), beyond, "{len} at {at}");
        }
        let broken = DeviceInfo::new(8192, 0).check_transfer(0, 512);
        assert_eq!(broken, Err(IoErrorKind::Unaligned), "no sector is as long");
    }
}
