//! A region that is a partition: found in a GPT by its name or its type.
//!
//! Always: a table counts only if the checksums of its header and its entries are right, else its
//! backup at the end of the disk; a partition lies inside the disk; if several partitions fit, none
//! is taken.

use crate::config::{Part, Sectors};
use alloc::vec;
use core::fmt;
use gpt_disk_io::gpt_disk_types::{BlockSize, GptHeader, GptPartitionEntry, GptPartitionType, Lba};
use gpt_disk_io::{BlockIo, Disk, DiskError};
use rootlet::storage::{DeviceId, IoErrorKind, Storage, Transfer};
use rootlet_base::num::{index, wide};
use rootlet_base::units::{ByteRange, Count, Pow2};

/// The most bytes of partition entries that are read: 1024 entries of the usual size.
const ENTRIES_BYTES_MAX: usize = 128 << 10;

/// Why a partition was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionError {
    /// The disk has no valid GPT, neither at its start nor at its end.
    NoTable,
    /// No partition has the name or the type.
    NotFound,
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
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("it has no valid GPT"),
            Self::NotFound => f.write_str("its GPT has no such partition"),
            Self::Ambiguous(count) => write!(f, "its GPT has {count} such partitions"),
            Self::Range { first, last } => {
                write!(f, "its GPT has the partition at blocks {first} to {last}, beyond its end")
            }
            Self::Sectors(Sectors { first, count }) => {
                write!(f, "no disk has {count} sectors from sector {first}")
            }
            Self::Io(kind) => write!(f, "its GPT could not be read: {kind}"),
        }
    }
}

impl core::error::Error for PartitionError {}

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
        let wanted: &dyn Fn(&GptPartitionEntry) -> bool = match self {
            Self::Whole => return Ok((0, None)),
            Self::Sectors(sectors) => {
                let bytes = sectors.bytes().ok_or(PartitionError::Sectors(*sectors))?;
                return Ok((bytes.start(), Some(bytes.len())));
            }
            Self::Named(name) => &|entry| {
                let own = entry.name;
                own.chars().eq(name.chars())
            },
            Self::Typed(kind) => &|entry| {
                let own = entry.partition_type_guid;
                own == GptPartitionType(*kind)
            },
        };
        let bytes = find(storage, device, wanted)?;
        Ok((bytes.start(), Some(bytes.len())))
    }
}

/// Returns the bytes of the partition that is wanted.
fn find<S: Storage>(
    storage: &mut S,
    device: DeviceId,
    wanted: &dyn Fn(&GptPartitionEntry) -> bool,
) -> Result<ByteRange, PartitionError> {
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
    Err(failed.map_or(PartitionError::NoTable, PartitionError::Io))
}

/// Looks in one copy of a table.
fn in_table<S: Storage>(
    blocks: Blocks<'_, S>,
    backup: bool,
    wanted: &dyn Fn(&GptPartitionEntry) -> bool,
) -> Result<ByteRange, PartitionError> {
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
    let mut found = Count::ZERO;
    let mut one = None;
    for entry in all.filter(|entry| entry.is_used() && wanted(entry)) {
        found.raise();
        one = Some(*entry);
    }
    let entry = match (one, found.get()) {
        (Some(entry), 1) => entry,
        (None, _) => return Err(PartitionError::NotFound),
        (_, count) => return Err(PartitionError::Ambiguous(count)),
    };
    let (first, last) = (entry.starting_lba.to_u64(), entry.ending_lba.to_u64());
    let range = PartitionError::Range { first, last };
    // The first two blocks are those of the protective MBR and the header.
    if !(2..count).contains(&first) || !(first..count).contains(&last) {
        return Err(range);
    }
    let end = last.checked_add(1).and_then(|end| unit.times(end));
    unit.times(first).zip(end).and_then(|(start, end)| ByteRange::new(start, end)).ok_or(range)
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
        let block = index(self.size.to_u32());
        let places = (range.start()..range.end()).step_by(block);
        for (piece, at) in out.chunks_mut(block).zip(places) {
            let mut batch = [Transfer::read(self.device, at, piece)];
            self.storage.run(&mut batch, &mut |_, _| {});
            for transfer in &batch {
                transfer.outcome().map_err(|error| error.kind)?;
            }
        }
        Ok(())
    }

    fn write_blocks(&mut self, _: Lba, _: &[u8]) -> Result<(), Self::Error> {
        Err(IoErrorKind::ReadOnly)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
