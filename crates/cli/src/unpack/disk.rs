//! One disk with a partition for each layer, as Kata and nerdbox hand it to a guest.
//!
//! Always: 128 entries after the header; partition N is called erofs-layer-N, begins at a whole
//! mebibyte, and is the lowest layer for N = 0; there is no backup table. All identifiers come from
//! the content.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use gpt_disk_io::gpt_disk_types::{
    BlockSize, Crc32, GptHeader, GptPartitionEntry, GptPartitionEntryArray,
    GptPartitionEntryArrayLayout, GptPartitionEntrySize, GptPartitionType, Guid, Lba, LbaLe, U32Le,
    guid,
};
use gpt_disk_io::{BlockIo, Disk};

/// The type of a Linux file system.
const LINUX: Guid = guid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
/// The unit of a disk, and of its table.
const SECTOR_BYTES: u64 = 512;
/// Where partitions begin, and whereof disks are a multiple.
const ALIGN_BYTES: u64 = 1 << 20;
/// The entries of a table, and so the most layers.
pub const LAYERS_MAX: usize = 128;
/// The sectors that 128 entries of 128 bytes take.
const ENTRIES_SECTORS: u64 = 32;

/// A layer in a file of its own.
#[derive(Debug)]
pub struct Piece {
    /// The file.
    pub file: PathBuf,
    /// 16 bytes that name the content.
    pub id: [u8; 16],
}

/// Writes the disk. `id` are 16 bytes that name the content of all layers.
pub fn write(out: &mut File, id: [u8; 16], pieces: &[Piece]) -> Result<()> {
    if pieces.len() > LAYERS_MAX {
        bail!("{} layers, and a disk has room for {LAYERS_MAX}", pieces.len());
    }
    let mut array = vec![0; LAYERS_MAX * 128];
    let layout = GptPartitionEntryArrayLayout {
        start_lba: Lba(2),
        entry_size: GptPartitionEntrySize::new(128).context("entries of 128 bytes")?,
        num_entries: LAYERS_MAX as u32,
    };
    let mut array = GptPartitionEntryArray::new(layout, BlockSize::BS_512, &mut array)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut at = ALIGN_BYTES;
    for (number, piece) in (0_u32..).zip(pieces) {
        let mut file = File::open(&piece.file).with_context(|| piece.file.display().to_string())?;
        out.seek(SeekFrom::Start(at))?;
        let bytes = std::io::copy(&mut file, out)?.max(1).next_multiple_of(SECTOR_BYTES);
        let name = format!("erofs-layer-{number}");
        let entry = array.get_partition_entry_mut(number).context("an entry")?;
        *entry = GptPartitionEntry {
            partition_type_guid: GptPartitionType(LINUX),
            unique_partition_guid: Guid::from_bytes(piece.id),
            starting_lba: LbaLe::from_u64(at / SECTOR_BYTES),
            ending_lba: LbaLe::from_u64((at + bytes) / SECTOR_BYTES - 1),
            name: name.parse().ok().context("the name of a partition")?,
            ..GptPartitionEntry::default()
        };
        at = (at + bytes).next_multiple_of(ALIGN_BYTES);
    }
    out.set_len(at)?;
    let last = at / SECTOR_BYTES - 1;
    let mut header = GptHeader {
        my_lba: LbaLe::from_u64(1),
        alternate_lba: LbaLe::from_u64(0),
        first_usable_lba: LbaLe::from_u64(2 + ENTRIES_SECTORS),
        last_usable_lba: LbaLe::from_u64(last),
        disk_guid: Guid::from_bytes(id),
        partition_entry_lba: LbaLe::from_u64(2),
        number_of_partition_entries: U32Le::from_u32(LAYERS_MAX as u32),
        partition_entry_array_crc32: array.calculate_crc32(),
        header_crc32: Crc32(U32Le::from_u32(0)),
        ..GptHeader::default()
    };
    header.update_header_crc32();
    let mut disk = Disk::new(Sectors { file: out, sectors: last + 1 }).map_err(wrong)?;
    let mut buffer = [0; SECTOR_BYTES as usize];
    disk.write_protective_mbr(&mut buffer).map_err(wrong)?;
    disk.write_primary_gpt_header(&header, &mut buffer).map_err(wrong)?;
    disk.write_gpt_partition_entry_array(&array).map_err(wrong)?;
    disk.flush().map_err(wrong)?;
    Ok(())
}

fn wrong(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("the partition table: {error}")
}

/// The sectors of a file, for the crate that writes tables.
struct Sectors<'f> {
    file: &'f mut File,
    sectors: u64,
}

impl Sectors<'_> {
    fn seek(&mut self, to: Lba) -> std::io::Result<()> {
        let at = to.to_u64().checked_mul(SECTOR_BYTES);
        let at = at.ok_or(std::io::ErrorKind::InvalidInput)?;
        self.file.seek(SeekFrom::Start(at)).map(drop)
    }
}

impl BlockIo for Sectors<'_> {
    type Error = std::io::Error;

    fn block_size(&self) -> BlockSize {
        BlockSize::BS_512
    }

    fn num_blocks(&mut self) -> Result<u64, Self::Error> {
        Ok(self.sectors)
    }

    fn read_blocks(&mut self, from: Lba, out: &mut [u8]) -> Result<(), Self::Error> {
        self.seek(from)?;
        std::io::Read::read_exact(self.file, out)
    }

    fn write_blocks(&mut self, to: Lba, bytes: &[u8]) -> Result<(), Self::Error> {
        self.seek(to)?;
        self.file.write_all(bytes)
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        self.file.flush()
    }
}
