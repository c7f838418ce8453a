//! A region, an image or a blob that is a partition: found in a GPT by its name or its type.
//!
//! Always: a table counts only if the checksums of its header and its entries are right, else its
//! backup at the end of the disk; a partition lies inside the disk; if several partitions fit where one
//! is wanted, none is taken. Nothing in a table is trusted: a digest decides what the bytes are.

use crate::config::{Part, Sectors};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use gpt_disk_io::gpt_disk_types::{BlockSize, GptHeader, GptPartitionEntry, GptPartitionType, Lba};
use gpt_disk_io::{BlockIo, Disk, DiskError};
use rootlet::storage::{DeviceId, Discover, IoErrorKind, Storage, read_exact};
use rootlet_base::num::{index, low32, wide};
use rootlet_base::units::{ByteRange, Pow2};

/// The most bytes of partition entries that are read: 1024 entries of the usual size.
const ENTRIES_BYTES_MAX: usize = 128 << 10;

/// Why a partition was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionError {
    /// The disk has no valid GPT, neither at its start nor at its end.
    NoTable,
    /// The disk has a table in its master boot record, and no GPT.
    Mbr,
    /// No partition has the name or the type.
    NotFound,
    /// Partitions have names with numbers, of which this one is left out.
    Gap(u64),
    /// This number of partitions have the name or the type.
    Ambiguous(u32),
    /// The partition ends beyond the disk, or before it starts.
    Range {
        /// The first logical block.
        first: u64,
        /// The last logical block.
        last: u64,
    },
    /// The sectors end beyond 64 bits of bytes.
    Sectors(Sectors),
    /// The table could not be read.
    Io(IoErrorKind),
    /// The disk has no such bytes, or they are not whole sectors.
    Bytes {
        /// The first byte.
        start: u64,
        /// The length in bytes.
        bytes: u64,
    },
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("it has no valid GPT"),
            Self::Mbr => f.write_str(
                "its partition table is an MBR, which is not read: make it a GPT (`sgdisk --mbrtogpt`), \
                 or give the sectors (@SECTOR+COUNT)",
            ),
            Self::Gap(number) => {
                write!(f, "its GPT has partitions of that name before and after number {number}, and not that")
            }
            Self::NotFound => f.write_str("its GPT has no such partition"),
            Self::Ambiguous(count) => write!(f, "its GPT has {count} such partitions"),
            Self::Range { first, last } => {
                write!(f, "its GPT has the partition at blocks {first} to {last}, beyond its end")
            }
            Self::Sectors(Sectors { first, count }) => {
                write!(f, "no disk has {count} sectors from sector {first}")
            }
            Self::Bytes { start, bytes } => {
                write!(f, "it has no {bytes} bytes of whole sectors from byte {start} on")
            }
            Self::Io(kind) => write!(f, "its GPT could not be read: {kind}"),
        }
    }
}

impl core::error::Error for PartitionError {}

/// A partition that fits.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    bytes: ByteRange,
}

impl Part {
    /// Returns the first byte and the length of the part on `device`; without a length the part
    /// ends where the disk does.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub fn find<S: Storage>(
        &self,
        storage: &mut S,
        device: DeviceId,
    ) -> Result<(u64, Option<u64>), PartitionError> {
        match self {
            Self::Whole => Ok((0, None)),
            Self::Sectors(sectors) => {
                let bytes = sectors.bytes().ok_or(PartitionError::Sectors(*sectors))?;
                Ok((bytes.start(), Some(bytes.len())))
            }
            _ => match self.fitting(storage, device)?.as_slice() {
                [] => Err(PartitionError::NotFound),
                [one] => Ok((one.bytes.start(), Some(one.bytes.len()))),
                several => Err(PartitionError::Ambiguous(low32(wide(several.len())))),
            },
        }
    }

    /// Returns the partitions that fit, in the order of the numbers at the end of their names.
    fn fitting<S: Storage>(
        &self,
        storage: &mut S,
        device: DeviceId,
    ) -> Result<Vec<Found>, PartitionError> {
        find(storage, device, &|entry| {
            let (name, kind) = (entry.name, entry.partition_type_guid);
            match self {
                Self::Named(wanted) => name.chars().eq(wanted.chars()),
                Self::Matching(start) => {
                    let mut rest = name.chars();
                    start.chars().all(|char| rest.next() == Some(char))
                }
                Self::Typed(wanted) => kind == GptPartitionType(*wanted),
                Self::Role(role) => role.has(&kind.0),
                Self::Whole | Self::Sectors(_) => false,
            }
        })
    }

    /// Opens the part of `device` as a device of its own; for a whole disk that is `device`.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub fn open<S: Discover>(
        &self,
        storage: &mut S,
        device: DeviceId,
    ) -> Result<DeviceId, PartitionError> {
        let (start, bytes) = match self.find(storage, device)? {
            (0, None) => return Ok(device),
            found => found,
        };
        let bytes = bytes.ok_or(PartitionError::NotFound)?;
        let refused = PartitionError::Bytes { start, bytes };
        storage.part(device, start, bytes).map_err(|_| refused)
    }

    /// Opens all parts of `device` that fit, in the order of their names, numbers by their values.
    ///
    /// # Errors
    /// [`PartitionError`], also when no partition fits, two have the same name, or one of those with
    /// numbers is left out.
    pub fn open_all<S: Discover>(
        &self,
        storage: &mut S,
        device: DeviceId,
    ) -> Result<Vec<(Self, DeviceId)>, PartitionError> {
        let Self::Matching(start) = self else {
            return Ok(vec![(self.clone(), self.open(storage, device)?)]);
        };
        let mut found = self.fitting(storage, device)?;
        let number = |found: &Found| found.name.get(start.len()..)?.parse::<u64>().ok();
        found.sort_by(|a, b| (number(a), &a.name).cmp(&(number(b), &b.name)));
        if found.is_empty() {
            return Err(PartitionError::NotFound);
        }
        if found.windows(2).any(|pair| matches!(pair, [a, b] if a.name == b.name)) {
            return Err(PartitionError::Ambiguous(2));
        }
        let numbers: Option<Vec<u64>> = found.iter().map(number).collect();
        let mut next = numbers.as_ref().and_then(|numbers| numbers.first().copied());
        for number in numbers.into_iter().flatten() {
            // The first of all is 0 or 1.
            let due = next.filter(|next| *next == number).and_then(|next| next.checked_add(1));
            next = Some(due.ok_or(PartitionError::Gap(next.map_or(number, |next| next)))?);
        }
        let open = |Found { name, bytes }: Found| {
            let (start, bytes) = (bytes.start(), bytes.len());
            let device = storage.part(device, start, bytes);
            Ok((Self::Named(name), device.map_err(|_| PartitionError::Bytes { start, bytes })?))
        };
        found.into_iter().map(open).collect()
    }
}

/// Returns the partitions that are wanted.
fn find<S: Storage>(
    storage: &mut S,
    device: DeviceId,
    wanted: &dyn Fn(&GptPartitionEntry) -> bool,
) -> Result<Vec<Found>, PartitionError> {
    let gone = PartitionError::Io(IoErrorKind::Gone);
    let info = storage.info(device).ok_or(gone)?;
    // A file has the blocks of the disk that it was copied from, whose size it does not say.
    let sizes = [BlockSize::BS_512, BlockSize::BS_4096];
    let mut failed = None;
    for size in sizes.into_iter().filter(|size| size.to_u32() >= info.sector_bytes) {
        for backup in [false, true] {
            let blocks = Blocks { storage, device, size, disk: ByteRange::first(info.bytes) };
            match in_table(blocks, backup, wanted) {
                Err(PartitionError::NoTable) => {}
                // The other copy of the table may be readable.
                Err(PartitionError::Io(kind)) => failed = Some(kind),
                found => return found,
            }
        }
    }
    let blocks = Blocks {
        storage,
        device,
        size: if info.sector_bytes > 512 { BlockSize::BS_4096 } else { BlockSize::BS_512 },
        disk: ByteRange::first(info.bytes),
    };
    match failed {
        Some(kind) => Err(PartitionError::Io(kind)),
        None if has_mbr(blocks) => Err(PartitionError::Mbr),
        None => Err(PartitionError::NoTable),
    }
}

/// Returns whether the first block is a master boot record with a partition that is not the one that
/// protects a GPT.
fn has_mbr<S: Storage>(mut blocks: Blocks<'_, S>) -> bool {
    /// The table and the signature after it.
    const TABLE: core::ops::Range<usize> = 446..510;
    const SIGNATURE: [u8; 2] = [0x55, 0xaa];
    const PROTECTIVE: u8 = 0xee;
    let mut first = vec![0; index(blocks.size.to_u32())];
    if blocks.read_blocks(Lba(0), &mut first).is_err() || first.get(510..512) != Some(&SIGNATURE) {
        return false;
    }
    let entries = first.get(TABLE).map_or(&[][..], |table| table.as_chunks::<16>().0);
    entries.iter().any(|[_, _, _, _, kind, ..]| ![0, PROTECTIVE].contains(kind))
}

/// Looks in one copy of a table.
fn in_table<S: Storage>(
    blocks: Blocks<'_, S>,
    backup: bool,
    wanted: &dyn Fn(&GptPartitionEntry) -> bool,
) -> Result<Vec<Found>, PartitionError> {
    let size = blocks.size;
    let unit = blocks.unit().ok_or(PartitionError::NoTable)?;
    let count = unit.whole(blocks.disk.len());
    let mut disk = Disk::new(blocks).map_err(error)?;
    let mut buffer = vec![0; index(size.to_u32())];
    let (header, at) = if backup {
        let last = count.checked_sub(1).ok_or(PartitionError::NoTable)?;
        (disk.read_secondary_gpt_header(&mut buffer), last)
    } else {
        (disk.read_primary_gpt_header(&mut buffer), 1)
    };
    let header = header.map_err(error)?;
    if !is_valid(&header, at) {
        return Err(PartitionError::NoTable);
    }
    let layout = header.get_partition_entry_array_layout();
    let layout = layout.map_err(|_| PartitionError::NoTable)?;
    let bytes = layout.num_bytes_rounded_to_block_as_usize(size);
    let bytes = bytes.filter(|bytes| *bytes <= ENTRIES_BYTES_MAX).ok_or(PartitionError::NoTable)?;
    let mut entries = vec![0; bytes];
    let entries = disk.read_gpt_partition_entry_array(layout, &mut entries).map_err(error)?;
    let check = header.partition_entry_array_crc32;
    if entries.calculate_crc32() != check {
        return Err(PartitionError::NoTable);
    }
    let all = (0..layout.num_entries).filter_map(|index| entries.get_partition_entry(index));
    let used = all.filter(|entry| entry.is_used() && wanted(entry));
    used.map(|entry| bytes_of(entry, unit, count)).collect()
}

/// Returns a partition of a disk of `count` blocks of `unit` bytes.
fn bytes_of(entry: &GptPartitionEntry, unit: Pow2, count: u64) -> Result<Found, PartitionError> {
    let name = entry.name;
    let (first, last) = (entry.starting_lba.to_u64(), entry.ending_lba.to_u64());
    let range = PartitionError::Range { first, last };
    // The first two blocks are those of the protective MBR and the header.
    if !(2..count).contains(&first) || !(first..count).contains(&last) {
        return Err(range);
    }
    let end = last.checked_add(1).and_then(|end| unit.times(end));
    let bytes = unit.times(first).zip(end).and_then(|(start, end)| ByteRange::new(start, end));
    Ok(Found { name: name.chars().collect(), bytes: bytes.ok_or(range)? })
}

/// Returns whether `header` is that of block `at`, as it was written there.
fn is_valid(header: &GptHeader, at: u64) -> bool {
    let (check, own) = (header.header_crc32, header.my_lba);
    header.is_signature_valid() && own.to_u64() == at && check == header.calculate_header_crc32()
}

fn error(error: DiskError<IoErrorKind>) -> PartitionError {
    match error {
        DiskError::Io(IoErrorKind::OutOfRange) => PartitionError::NoTable,
        DiskError::Io(kind) => PartitionError::Io(kind),
        _ => PartitionError::NoTable,
    }
}

/// A disk as `gpt_disk_io` reads it; it is never written.
struct Blocks<'s, S> {
    storage: &'s mut S,
    device: DeviceId,
    size: BlockSize,
    disk: ByteRange,
}

impl<S: Storage> Blocks<'_, S> {
    /// Returns the size of a block, which is a power of two.
    fn unit(&self) -> Option<Pow2> {
        Pow2::of(self.size.to_u64())
    }
}

impl<S: Storage> BlockIo for Blocks<'_, S> {
    type Error = IoErrorKind;

    fn block_size(&self) -> BlockSize {
        self.size
    }

    fn num_blocks(&mut self) -> Result<u64, Self::Error> {
        self.unit().map(|unit| unit.whole(self.disk.len())).ok_or(IoErrorKind::OutOfRange)
    }

    fn read_blocks(&mut self, start: Lba, out: &mut [u8]) -> Result<(), Self::Error> {
        let start = self.unit().and_then(|unit| unit.times(start.to_u64()));
        let range = start.and_then(|start| ByteRange::sized(start, wide(out.len())));
        let range = range.filter(|range| range.within(self.disk)).ok_or(IoErrorKind::OutOfRange)?;
        let read = read_exact(self.storage, self.device, range.start(), out);
        read.map_err(|error| error.kind)
    }

    fn write_blocks(&mut self, _: Lba, _: &[u8]) -> Result<(), Self::Error> {
        Err(IoErrorKind::ReadOnly)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
