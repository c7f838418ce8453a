//! The superblock and the device table (Linux `fs/erofs/erofs_fs.h`).
//!
//! Always: the superblock is at byte 1024, the device table directly after its 128 bytes.

use crc::{CRC_32_ISCSI, Crc};

use super::options::Options;

/// Byte offset of the superblock.
pub const SUPERBLOCK_AT: u64 = 1024;
/// Byte offset of the first device slot.
pub const DEVICE_TABLE_AT: u64 = 1152;
/// Bytes of a device slot.
pub const SLOT_BYTES: u64 = 128;

const MAGIC: u32 = 0xe0f5_e1e2;

/// What the superblock says.
pub(super) struct Facts<'o> {
    pub options: &'o Options,
    pub epoch_s: i64,
    pub inos: u64,
    pub primary_blocks: u64,
    pub root_nid: u64,
    pub meta_block: u64,
    pub xattr_block: u64,
    pub chunked: bool,
}

impl Facts<'_> {
    pub fn bytes(&self) -> Result<Vec<u8>, &'static str> {
        let options = self.options;
        let wide = options.has_48bit();
        let word14 = if wide { self.primary_blocks >> 32 } else { self.root_nid };
        let word14 = u16::try_from(word14).map_err(|_| "root nid or block count too high")?;
        if !wide && self.primary_blocks > u64::from(u32::MAX) {
            return Err("block count beyond 32 bits without 48BIT");
        }
        let compat: u32 = u32::from(options.checksum) | 2;
        let incompat: u32 = (u32::from(self.chunked) << 2)
            | (u32::from(options.blobs > 0) << 3)
            | (u32::from(wide) << 7);
        let slot_off = if options.blobs > 0 { DEVICE_TABLE_AT / SLOT_BYTES } else { 0 };
        let mut out = vec![0; 128];
        let mut put = |at: usize, field: &[u8]| out[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC.to_le_bytes());
        put(8, &compat.to_le_bytes());
        put(12, &[options.block_bits]);
        put(14, &word14.to_le_bytes());
        put(16, &self.inos.to_le_bytes());
        put(24, &self.epoch_s.to_le_bytes());
        put(36, &(self.primary_blocks as u32).to_le_bytes());
        put(40, &(self.meta_block as u32).to_le_bytes());
        put(44, &(self.xattr_block as u32).to_le_bytes());
        put(48, &options.uuid);
        put(64, &options.volume);
        put(80, &incompat.to_le_bytes());
        put(86, &options.blobs.to_le_bytes());
        put(88, &(slot_off as u16).to_le_bytes());
        if wide {
            put(112, &self.root_nid.to_le_bytes());
        }
        Ok(out)
    }
}

/// The slot of blob `number` (counted from 0).
pub(super) fn device_slot(
    options: &Options,
    number: usize,
    blocks: u64,
    uniaddr: u64,
) -> Result<Vec<u8>, &'static str> {
    let blocks = if options.slot_blocks { blocks } else { 0 };
    let uniaddr = if options.uniaddr { uniaddr } else { 0 };
    let blocks_hi = u32::try_from(blocks >> 32).map_err(|_| "blob too long")?;
    let uniaddr_hi = u16::try_from(uniaddr >> 32).map_err(|_| "blob too far away")?;
    if !options.has_48bit() && (blocks_hi != 0 || uniaddr_hi != 0) {
        return Err("device slot beyond 32 bits without 48BIT");
    }
    let mut slot = options.tags.get(number).cloned().unwrap_or_default();
    slot.resize(64, 0);
    slot.extend_from_slice(&(blocks as u32).to_le_bytes());
    slot.extend_from_slice(&(uniaddr as u32).to_le_bytes());
    slot.extend_from_slice(&blocks_hi.to_le_bytes());
    slot.extend_from_slice(&uniaddr_hi.to_le_bytes());
    slot.resize(SLOT_BYTES as usize, 0);
    Ok(slot)
}

/// The checksum that `image` should have: CRC-32C, all ones at the start and not inverted at
/// the end, from the superblock to the end of its block, the field itself taken as zero.
pub(super) fn checksum(image: &[u8]) -> u32 {
    let start = SUPERBLOCK_AT as usize;
    let bits = image.get(start + 12).copied().unwrap_or(12).min(30);
    let block = 1_usize << bits;
    let len = if block > start { block - start } else { block };
    let end = image.len().min(start + len);
    let mut covered = image[start..end].to_vec();
    if let Some(field) = covered.get_mut(4..8) {
        field.fill(0);
    }
    !Crc::<u32>::new(&CRC_32_ISCSI).checksum(&covered)
}
