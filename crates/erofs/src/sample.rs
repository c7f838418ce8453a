//! Images for tests: one that mkfs made, and one built byte by byte.
//!
//! Always: a sealed image has a valid checksum, computed by other means than the parser's.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests index their own bytes; a panic is a failed test"
)]

use std::vec;
use std::vec::Vec;

use super::{FormatError, Inode, Nid, Superblock};

/// 8 KiB, by mkfs.erofs 1.5 with `-T1700000000 -U 00112233-4455-6677-8899-aabbccddeeff -x2`.
pub const TINY: &[u8] = include_bytes!("../../../tests/data/tiny.erofs");

/// Where tests put the inode of nid 100, in block 1 of an image with 512-byte blocks.
pub const NID: Nid = Nid(100);

/// An image of 64 blocks of 512 bytes with a valid superblock: metadata from block 0, shared
/// xattrs from block 10, root nid 100.
pub struct Sample(pub Vec<u8>);

impl Sample {
    pub fn new() -> Self {
        let mut sample = Self(vec![0; 64 * 512]);
        sample.put(0, &0xe0f5_e1e2_u32.to_le_bytes()).put(8, &[1, 0, 0, 0, 9]);
        sample.put(14, &100_u16.to_le_bytes()).put(24, &1_700_000_000_u64.to_le_bytes());
        sample.put(32, &7_u32.to_le_bytes()).put(36, &64_u32.to_le_bytes()).put(44, &[10]);
        sample
    }

    /// Returns an image with `count` extra devices, whose table lies at byte 2048.
    pub fn with_devices(count: u16) -> Self {
        let mut sample = Self::new();
        sample.put(80, &[8]).put(86, &count.to_le_bytes()).put(88, &[16]);
        sample
    }

    /// Changes bytes of the superblock.
    pub fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[1024 + at..][..bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Sets the checksum, and parses the superblock.
    pub fn seal(&mut self) -> Result<Superblock, FormatError> {
        seal(&mut self.0);
        Superblock::from_bytes(&self.0)
    }

    /// Sets the checksum, and returns the superblock, which must be valid.
    pub fn superblock(&mut self) -> Superblock {
        self.seal().unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Makes the checksum right: CRC-32C, bit by bit.
pub fn seal(image: &mut [u8]) {
    let block = 1_usize << image[1024 + 12];
    let len = if block > 1024 { block - 1024 } else { block };
    image[1028..1032].fill(0);
    let mut crc = u32::MAX;
    for byte in &image[1024..1024 + len] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    image[1028..1032].copy_from_slice(&crc.to_le_bytes());
}

/// A compact inode: format, xattr count, mode, size and `i_u`.
pub fn compact(format: u16, xattrs: u16, mode: u16, size: u32, union: u32) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0..2].copy_from_slice(&format.to_le_bytes());
    bytes[2..4].copy_from_slice(&xattrs.to_le_bytes());
    bytes[4..6].copy_from_slice(&mode.to_le_bytes());
    bytes[6..8].copy_from_slice(&5_u16.to_le_bytes());
    bytes[8..12].copy_from_slice(&size.to_le_bytes());
    bytes[12..16].copy_from_slice(&60_u32.to_le_bytes());
    bytes[16..20].copy_from_slice(&union.to_le_bytes());
    bytes[24..28].copy_from_slice(&[0xe8, 3, 100, 0]);
    bytes
}

/// An extended inode: as [`compact`], with a 64-bit size and the high half of the start block.
pub fn extended(format: u16, mode: u16, size: u64, union: u32, high: u16) -> [u8; 64] {
    let mut bytes = compact(format | 1, 0, mode, 0, union);
    bytes[6..8].copy_from_slice(&high.to_le_bytes());
    bytes[8..16].copy_from_slice(&size.to_le_bytes());
    bytes[24..28].copy_from_slice(&70_000_u32.to_le_bytes());
    bytes[28..32].copy_from_slice(&70_001_u32.to_le_bytes());
    bytes[32..40].copy_from_slice(&(-5_i64).to_le_bytes());
    bytes[40..44].copy_from_slice(&999_999_999_u32.to_le_bytes());
    bytes[44..48].copy_from_slice(&3_u32.to_le_bytes());
    bytes
}

/// The inode of nid 100 in a plain sample.
pub fn inode(bytes: &[u8]) -> Result<Inode, FormatError> {
    Inode::from_bytes(&Sample::new().superblock(), NID, bytes)
}

/// A directory block with these entries, padded to `len` bytes.
pub fn dir_block(names: &[&[u8]], len: usize) -> Vec<u8> {
    let mut bytes = vec![0; names.len() * 12];
    for (index, name) in names.iter().enumerate() {
        let nameoff = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        bytes[index * 12] = u8::try_from(index + 1).unwrap_or(u8::MAX);
        bytes[index * 12 + 8..][..2].copy_from_slice(&nameoff.to_le_bytes());
        bytes[index * 12 + 10] = 1;
        bytes.extend_from_slice(name);
    }
    assert!(bytes.len() <= len, "the names do not fit");
    bytes.resize(len, 0);
    bytes
}
