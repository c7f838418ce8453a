//! A region that is a partition: found in a GPT by its name or its type.
//!
//! Always: a table is believed only if its header and its entries check out, else its backup at
//! the end of the disk; a partition lies inside the disk; what cannot be told apart is refused.

use crate::config::Part;
use alloc::vec;
use core::cell::Cell;
use core::fmt;
pub use gpt_disk_io::gpt_disk_types::Guid;
use gpt_disk_io::gpt_disk_types::{
    BlockSize, GptHeader, GptPartitionEntry, GptPartitionType, Lba, guid,
};
use gpt_disk_io::{BlockIo, Disk, DiskError};
use rootlet::storage::{DeviceId, IoErrorKind, Storage, Transfer};

/// The type of a partition that holds a region, see `crates/region/FORMAT.md`.
pub const REGION_TYPE: Guid = guid!("5e4a3680-bb1e-4551-8d14-7538e87347a3");

/// Bytes of partition entries that are looked at: 1024 of the usual size.
const ENTRIES_BYTES_MAX: usize = 128 << 10;

/// Why a partition was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionError {
    /// The disk has no valid GPT, neither at its start nor at its end.
    NoTable,
    /// No partition is called so, or is of that type.
    NotFound,
    /// Several are.
    Ambiguous(u32),
    /// The table has it end beyond the disk, or before its start.
    Range {
        /// Its first logical block.
        first: u64,
        /// Its last.
        last: u64,
    },
    /// The table could not be read.
    Io(IoErrorKind),
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("it has no valid GPT"),
            Self::NotFound => f.write_str("its GPT has no such partition"),
            Self::Ambiguous(count) => write!(f, "{count} of its partitions are such"),
            Self::Range { first, last } => {
                write!(
                    f,
                    "its GPT has the partition from block {first} to {last}, which it has not"
                )
            }
            Self::Io(kind) => write!(f, "its GPT could not be read: {kind}"),
        }
    }
}

impl core::error::Error for PartitionError {}

impl Part {
    /// First byte and length of the part on `device`; no length means to the end of the disk.
    ///
    /// # Errors
    /// Why the partition that it names is not found.
    pub fn find<S: Storage>(
        &self,
        storage: &mut S,
        device: DeviceId,
    ) -> Result<(u64, Option<u64>), PartitionError> {
        let wanted: &dyn Fn(&GptPartitionEntry) -> bool = match self {
            Self::Whole => return Ok((0, None)),
            Self::Sectors(sectors) => {
                let bytes = |sectors: u64| sectors.saturating_mul(512);
                return Ok((bytes(sectors.first), Some(bytes(sectors.count))));
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
        let (start, bytes) = find(storage, device, wanted)?;
        Ok((start, Some(bytes)))
    }
}

fn find<S: Storage>(
    storage: &mut S,
    device: DeviceId,
    wanted: &dyn Fn(&GptPartitionEntry) -> bool,
) -> Result<(u64, u64), PartitionError> {
    let gone = PartitionError::Io(IoErrorKind::Gone);
    let sector = storage.info(device).ok_or(gone)?.sector_bytes;
    // A file has the blocks of the disk that it was copied from, which it does not tell.
    let sizes = [BlockSize::BS_512, BlockSize::BS_4096];
    let mut failed = None;
    for size in sizes.into_iter().filter(|size| size.to_u32() >= sector) {
        for backup in [false, true] {
            match in_table(storage, device, size, backup, wanted) {
                Err(PartitionError::NoTable) => {}
                // The other copy of the table may be readable.
                Err(PartitionError::Io(kind)) => failed = Some(kind),
                found => return found,
            }
        }
    }
    Err(failed.map_or(PartitionError::NoTable, PartitionError::Io))
}

/// Looks in one copy of a table of blocks of this size.
fn in_table<S: Storage>(
    storage: &mut S,
    device: DeviceId,
    size: BlockSize,
    backup: bool,
    wanted: &dyn Fn(&GptPartitionEntry) -> bool,
) -> Result<(u64, u64), PartitionError> {
    let blocks = Blocks { storage, device, size };
    let blocks_count = blocks.count();
    let mut disk = Disk::new(blocks).map_err(error)?;
    let mut buffer = vec![0; size.to_usize().unwrap_or(4096)];
    let (header, at) = if backup {
        (disk.read_secondary_gpt_header(&mut buffer), blocks_count.saturating_sub(1))
    } else {
        (disk.read_primary_gpt_header(&mut buffer), 1)
    };
    let header = header.map_err(error)?;
    if !is_valid(&header, at) {
        return Err(PartitionError::NoTable);
    }
    let layout = header.get_partition_entry_array_layout();
    let layout = layout.map_err(|_| PartitionError::NoTable)?;
    let bytes = layout.num_bytes_rounded_to_block_as_usize(size).unwrap_or(usize::MAX);
    if bytes > ENTRIES_BYTES_MAX {
        return Err(PartitionError::NoTable);
    }
    let mut entries = vec![0; bytes];
    let entries = disk.read_gpt_partition_entry_array(layout, &mut entries).map_err(error)?;
    let check = header.partition_entry_array_crc32;
    if entries.calculate_crc32() != check {
        return Err(PartitionError::NoTable);
    }
    let all = (0..layout.num_entries).filter_map(|index| entries.get_partition_entry(index));
    let found = Cell::new(0_u32);
    let mut one = None;
    for entry in all.filter(|entry| entry.is_used() && wanted(entry)) {
        found.set(found.get().saturating_add(1));
        one = Some(*entry);
    }
    let entry = match (one, found.get()) {
        (Some(entry), 1) => entry,
        (None, _) => return Err(PartitionError::NotFound),
        (_, count) => return Err(PartitionError::Ambiguous(count)),
    };
    let (first, last) = (entry.starting_lba.to_u64(), entry.ending_lba.to_u64());
    let range = PartitionError::Range { first, last };
    let blocks = last.checked_sub(first).and_then(|blocks| blocks.checked_add(1)).ok_or(range)?;
    if last >= blocks_count || first < 2 {
        return Err(range);
    }
    let in_bytes = |blocks: u64| blocks.checked_mul(size.to_u64()).ok_or(range);
    Ok((in_bytes(first)?, in_bytes(blocks)?))
}

/// Whether this is the header of block `at`, as it was written there.
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
}

impl<S: Storage> Blocks<'_, S> {
    fn count(&self) -> u64 {
        let bytes = self.storage.info(self.device).map_or(0, |info| info.bytes);
        bytes.checked_div(self.size.to_u64()).unwrap_or(0)
    }
}

impl<S: Storage> BlockIo for Blocks<'_, S> {
    type Error = IoErrorKind;

    fn block_size(&self) -> BlockSize {
        self.size
    }

    fn num_blocks(&mut self) -> Result<u64, Self::Error> {
        Ok(self.count())
    }

    fn read_blocks(&mut self, start: Lba, out: &mut [u8]) -> Result<(), Self::Error> {
        let at = start.to_u64().checked_mul(self.size.to_u64()).ok_or(IoErrorKind::OutOfRange)?;
        let info = self.storage.info(self.device).ok_or(IoErrorKind::Gone)?;
        let end = u64::try_from(out.len()).ok().and_then(|len| at.checked_add(len));
        if end.is_none_or(|end| end > info.bytes) {
            return Err(IoErrorKind::OutOfRange);
        }
        let block = self.size.to_usize().unwrap_or(4096);
        let places = (at..).step_by(block);
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
