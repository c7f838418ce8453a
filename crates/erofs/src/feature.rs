//! The feature bits of the superblock, and their names.
//!
//! Always: features that share a bit have a common name, joined by a slash.

use core::fmt;

/// Features that a reader may ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compat(pub u32);

impl Compat {
    /// The superblock's checksum is valid.
    pub const SB_CHKSUM: Self = Self(0x01);
    /// Inodes carry mtime.
    pub const MTIME: Self = Self(0x02);
    /// Xattr bodies carry a filter of their names.
    pub const XATTR_FILTER: Self = Self(0x04);
    /// Shared xattrs lie in the metabox.
    pub const SHARED_EA_IN_METABOX: Self = Self(0x08);
    /// Long prefixes of xattr names lie in the image itself, not in the packed inode.
    pub const PLAIN_XATTR_PFX: Self = Self(0x10);
    /// An xattr of each file holds the digest of its data.
    pub const ISHARE_XATTRS: Self = Self(0x20);
    /// Nydus RAFS v6 wrote the image.
    pub const RAFS_V6: Self = Self(0x4000_0000);

    /// Returns whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Features that a reader must know. Displayed by their names; unknown bits as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incompat(pub u32);

impl Incompat {
    /// Padding of compressed clusters is at their front.
    pub const LZ4_0PADDING: Self = Self(0x01);
    /// Records of compression settings follow the superblock; pclusters may span blocks.
    pub const COMPR_CFGS: Self = Self(0x02);
    /// Chunk-based inodes.
    pub const CHUNKED_FILE: Self = Self(0x04);
    /// A device table, or a second compression algorithm per file.
    pub const DEVICE_TABLE: Self = Self(0x08);
    /// Inline compressed tails.
    pub const ZTAILPACKING: Self = Self(0x10);
    /// Fragments in the packed inode, or partially referenced pclusters.
    pub const FRAGMENTS: Self = Self(0x20);
    /// Long prefixes of xattr names.
    pub const XATTR_PREFIXES: Self = Self(0x40);
    /// Block numbers of 48 bits, a root nid of 64, mtime in compact inodes.
    pub const BITS_48: Self = Self(0x80);
    /// Inodes inside the metabox.
    pub const METABOX: Self = Self(0x100);

    /// The supported features: all that Linux 7.2 knows.
    pub const SUPPORTED: Self = Self((Self::METABOX.0 << 1) - 1);

    /// The features with which each byte of a device stands for at most one byte of metadata.
    pub const UNPACKED: Self = Self(
        Self::CHUNKED_FILE.0 | Self::DEVICE_TABLE.0 | Self::XATTR_PREFIXES.0 | Self::BITS_48.0,
    );

    const NAMES: [(Self, &'static str); 9] = [
        (Self::LZ4_0PADDING, "LZ4_0PADDING"),
        (Self::COMPR_CFGS, "COMPR_CFGS/BIG_PCLUSTER"),
        (Self::CHUNKED_FILE, "CHUNKED_FILE"),
        (Self::DEVICE_TABLE, "DEVICE_TABLE/COMPR_HEAD2"),
        (Self::ZTAILPACKING, "ZTAILPACKING"),
        (Self::FRAGMENTS, "FRAGMENTS/DEDUPE"),
        (Self::XATTR_PREFIXES, "XATTR_PREFIXES"),
        (Self::BITS_48, "48BIT"),
        (Self::METABOX, "METABOX"),
    ];

    /// Returns whether every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the bits that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether no bit is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Incompat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unknown = *self;
        let mut separator = "";
        for (feature, name) in Self::NAMES {
            if self.has(feature) {
                write!(f, "{separator}{name}")?;
                separator = ", ";
                unknown = unknown.without(feature);
            }
        }
        if !unknown.is_empty() {
            write!(f, "{separator}unknown bits {:#x}", unknown.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn unknown_bits_are_shown_as_a_number_after_the_names() {
        let set = Incompat(0x0000_0520);
        assert_eq!(set.to_string(), "FRAGMENTS/DEDUPE, METABOX, unknown bits 0x400");
        assert_eq!(Incompat(0x8000_0000).to_string(), "unknown bits 0x80000000");
    }
}
