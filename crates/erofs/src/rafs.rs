//! The extended superblock of Nydus RAFS v6, as far as a reader has to know of it.
//!
//! Always: an image of RAFS whose chunks may be packed is known as one, so that the bytes of a packed
//! blob are never taken for those of a file.
//!
//! Source of the format: Nydus, `rafs/src/metadata/layout/v6.rs`, `RafsV6SuperBlockExt`.

use super::feature::Compat;
use super::record::Record;
use core::fmt;

/// The byte of the extended superblock: after the 128 bytes of the superblock.
const AT: usize = 1024 + 128;
/// The blobs are tar files, of which files are parts.
const TARFS: u64 = 0x200;
/// Chunks are encrypted.
const ENCRYPTED: u64 = 0x0200_0000;
/// How chunks are compressed.
const COMPRESSIONS: [(u64, &str); 3] = [(0x02, "lz4"), (0x40, "gzip"), (0x80, "zstd")];

/// The flags of an image of RAFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rafs(pub(super) u64);

impl Rafs {
    /// Returns the flags that follow the superblock; `None` for an image that is not one of RAFS.
    /// Those of a block that is too short for them are 0.
    pub(super) fn from_bytes(first: &[u8], compat: Compat) -> Option<Self> {
        let flags = || first.get(AT..).and_then(Record::<8>::first_of);
        compat.has(Compat::RAFS_V6).then(|| Self(flags().map_or(0, |raw| raw.u64::<0>())))
    }

    /// Returns the flags, if the chunks of blobs may be packed.
    pub(super) const fn packed(self) -> Option<u64> {
        if self.is_plain() { None } else { Some(self.0) }
    }

    /// Returns whether the blobs have the bytes of files as they are. Where chunks are not compressed
    /// they still lie elsewhere in the blob than the image says.
    const fn is_plain(self) -> bool {
        self.0 & TARFS != 0 && self.0 & ENCRYPTED == 0
    }
}

/// How chunks are packed.
impl fmt::Display for Rafs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = COMPRESSIONS.iter().find(|(flag, _)| self.0 & flag != 0);
        f.write_str(found.map_or("packed", |(_, name)| name))?;
        f.write_str(if self.0 & ENCRYPTED != 0 { ", encrypted" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use std::string::ToString;

    fn packed(compat: u32, flags: u64) -> Option<u64> {
        let mut sample = Sample::new();
        sample.put(8, &compat.to_le_bytes()).put(128, &flags.to_le_bytes());
        sample.superblock().packed_by_nydus()
    }

    #[test]
    fn flags_count_in_images_of_rafs_alone() {
        assert_eq!(packed(1, 0x42), None);
        for (flags, is_plain, words) in [
            (0x0100_020a, true, "lz4"),
            (0x0100_0209, true, "packed"),
            (0x0100_0009, false, "packed"),
            (0x0100_0088, false, "zstd"),
            (0x0100_0048, false, "gzip"),
            (0x0200_0202, false, "lz4, encrypted"),
            (0, false, "packed"),
        ] {
            assert_eq!(packed(0x4000_0001, flags), (!is_plain).then_some(flags), "{flags:#x}");
            assert_eq!(Rafs(flags).to_string(), words);
        }
    }
}
