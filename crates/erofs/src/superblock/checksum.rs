//! The checksum of the superblock: CRC-32C over the rest of its block.
//!
//! Always: pure; the field itself counts as zero.

use crc::{CRC_32_ISCSI, Crc};

use super::super::block::BlockSize;
use super::super::corrupt::{Corrupt, Part};
use super::super::error::FormatError;
use super::AT;
use rootlet_base::num::OrBug;

/// The offset of the field in the superblock.
pub(super) const CHECKSUM_AT: usize = 4;

/// The table of the checksum: 1 KiB, or none where memory is so short that there is no `alloc`.
#[cfg(feature = "alloc")]
type Table = crc::Table<1>;
#[cfg(not(feature = "alloc"))]
type Table = crc::NoTable;

/// CRC-32C, which EROFS stores without the final inversion.
static CRC: Crc<u32, Table> = Crc::<u32, Table>::new(&CRC_32_ISCSI);

/// Returns the end of the bytes under the checksum, which begin at byte 1024: the end of the block
/// that holds byte 1024.
#[expect(clippy::arithmetic_side_effects, reason = "a block of 512 or 1,024 bytes")]
pub(super) const fn end(block_size: BlockSize) -> usize {
    let block = block_size.bytes_usize();
    if block > AT { block } else { AT + block }
}

/// Refuses a wrong checksum.
pub(super) fn verify(first: &[u8], block_size: BlockSize, stored: u32) -> Result<(), FormatError> {
    let end = end(block_size);
    let short = Corrupt::Short { part: Part::Superblock, need: end, got: first.len() };
    let bytes = first.get(AT..end).ok_or(short)?;
    // The bytes are at least a block of 512.
    let computed = checksum(bytes).or_bug()?;
    if computed == stored { Ok(()) } else { Err(Corrupt::Checksum { stored, computed }.into()) }
}

/// Returns the CRC-32C of `bytes`, with zeros in place of the checksum field and without the final
/// inversion; `None` if `bytes` ends before the field does.
fn checksum(bytes: &[u8]) -> Option<u32> {
    let (before, rest) = bytes.split_first_chunk::<CHECKSUM_AT>()?;
    let (_, after) = rest.split_first_chunk::<4>()?;
    let mut digest = CRC.digest();
    // A loop, so that the compiler emits `update` once.
    for part in [&before[..], &[0; 4], after] {
        digest.update(part);
    }
    Some(!digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::{Sample, seal};
    use super::super::super::{FormatError, Superblock};
    use super::*;

    #[test]
    fn checksum_covers_the_block_that_begins_or_goes_on_at_byte_1024() {
        for (bits, need) in [(9, 1536), (10, 2048), (11, 2048), (12, 4096), (16, 65_536)] {
            let mut sample = Sample::new();
            sample.0.resize(65_536, 0xa5);
            assert!(sample.put(12, &[bits]).seal().is_ok(), "2^{bits}");
            assert_eq!(Superblock::peek(&sample.0), Ok(need), "2^{bits}");
            assert!(Superblock::from_bytes(sample.0.get(..need).unwrap_or(&[])).is_ok());
            let short = sample.0.get(..need.saturating_sub(1)).unwrap_or(&[]);
            let got = Superblock::from_bytes(short);
            let error = Corrupt::Short { part: Part::Superblock, need, got: short.len() };
            assert_eq!(got, Err(error.into()), "2^{bits}");
            if let Some(last) = need.checked_sub(1).and_then(|at| sample.0.get_mut(at)) {
                *last ^= 1;
            }
            let broken = Superblock::from_bytes(&sample.0);
            let checksum = matches!(broken, Err(FormatError::Corrupt(Corrupt::Checksum { .. })));
            assert!(checksum, "2^{bits}");
        }
    }

    #[test]
    fn wrong_checksum_is_reported_with_both_values() {
        let mut sample = Sample::new();
        seal(&mut sample.0);
        let stored = sample.0.get(1028..).and_then(|tail| tail.first_chunk()).copied();
        let computed = u32::from_le_bytes(stored.unwrap_or_default());
        sample.put(4, &[1, 2, 3, 4]);
        let error = Corrupt::Checksum { stored: 0x0403_0201, computed };
        assert_eq!(Superblock::from_bytes(&sample.0), Err(error.into()));
    }

    #[test]
    fn without_its_compat_bit_the_checksum_is_not_looked_at() {
        let mut sample = Sample::new();
        sample.put(8, &[0]);
        assert!(Superblock::from_bytes(&sample.0).is_ok());
    }
}
