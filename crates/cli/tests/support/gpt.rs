//! A disk with a GPT, made by gpt_disk_io.

use gpt_disk_io::gpt_disk_types::{
    BlockSize, Crc32, GptHeader, GptPartitionEntry, GptPartitionEntryArray,
    GptPartitionEntryArrayLayout, GptPartitionEntrySize, GptPartitionType, Guid, Lba, LbaLe, U32Le,
    guid,
};
use gpt_disk_io::{BlockIoAdapter, Disk};

/// The type of a Linux file system.
pub const LINUX: Guid = guid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
/// The type of a region.
pub const REGION: Guid = guid!("5e4a3680-bb1e-4551-8d14-7538e87347a3");
/// Length of the disk.
pub const DISK_BYTES: usize = 8 << 20;

/// A partition: its name, its type, first and last megabyte.
pub type Part = (&'static str, Guid, u64, u64);
/// A partition that is not a region, then a region of 4 MiB.
pub const PARTS: [Part; 2] = [("data @ home", LINUX, 1, 2), ("rootlet-region", REGION, 3, 6)];

/// A disk with a GPT of blocks of `size`.
pub fn disk(size: BlockSize, parts: &[Part]) -> Vec<u8> {
    let mut bytes = vec![0; DISK_BYTES];
    let block = size.to_u64();
    let last = DISK_BYTES as u64 / block - 1;
    let entry_blocks = (128 * 128) / block;
    let mut disk = Disk::new(BlockIoAdapter::new(&mut bytes[..], size)).unwrap();
    let mut buffer = vec![0; block as usize];
    let mut entries = vec![0; 128 * 128];
    let layout = |start| GptPartitionEntryArrayLayout {
        start_lba: Lba(start),
        entry_size: GptPartitionEntrySize::new(128).unwrap(),
        num_entries: 128,
    };
    let mut array = GptPartitionEntryArray::new(layout(2), size, &mut entries).unwrap();
    for (at, (name, kind, first, last)) in (0u32..).zip(parts) {
        *array.get_partition_entry_mut(at).unwrap() = GptPartitionEntry {
            partition_type_guid: GptPartitionType(*kind),
            unique_partition_guid: guid!("37c75ffd-8932-467a-9c56-8cf1f0456b12"),
            starting_lba: LbaLe::from_u64((first << 20) / block),
            ending_lba: LbaLe::from_u64(((last + 1) << 20) / block - 1),
            name: name.parse().unwrap(),
            ..GptPartitionEntry::default()
        };
    }
    let array_crc = array.calculate_crc32();
    let header = |own, other, entries| {
        let mut header = GptHeader {
            my_lba: LbaLe::from_u64(own),
            alternate_lba: LbaLe::from_u64(other),
            first_usable_lba: LbaLe::from_u64(2 + entry_blocks),
            last_usable_lba: LbaLe::from_u64(last - entry_blocks - 1),
            partition_entry_lba: LbaLe::from_u64(entries),
            number_of_partition_entries: U32Le::from_u32(128),
            partition_entry_array_crc32: array_crc,
            header_crc32: Crc32(U32Le::from_u32(0)),
            ..GptHeader::default()
        };
        header.update_header_crc32();
        header
    };
    disk.write_protective_mbr(&mut buffer).unwrap();
    disk.write_primary_gpt_header(&header(1, last, 2), &mut buffer).unwrap();
    disk.write_secondary_gpt_header(&header(last, 1, last - entry_blocks), &mut buffer).unwrap();
    disk.write_gpt_partition_entry_array(&array).unwrap();
    array.set_start_lba(Lba(last - entry_blocks));
    disk.write_gpt_partition_entry_array(&array).unwrap();
    drop(disk);
    bytes
}
