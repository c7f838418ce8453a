//! The superblock: 128 bytes at byte 1024.
//!
//! Always: its checksum was right if it has one, and each of its incompatible features is
//! supported.

mod checksum;
mod features;
mod places;

use super::block::{BlockSize, Nid};
use super::compression::Compression;
use super::corrupt::{Corrupt, Part};
use super::error::{FormatError, Unsupported};
use super::feature::{Compat, Incompat};
use super::limits::{DEVICES_MAX, SLOT_BITS};
use super::origin::Origin;
use super::rafs::Rafs;
use super::record::{Record, block48};

const MAGIC: u32 = 0xe0f5_e1e2;
const AT: usize = 1024;
const LEN: usize = 128;
/// The start of the extensions.
const EXTENSIONS_AT: usize = AT + LEN;
/// The binary logarithm of an extension's bytes.
const EXTENSION_BITS: u32 = 4;
/// The latest end of the extensions, as in Linux.
const END_MAX: usize = 4096;

/// A validated superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The size of a block.
    block_size: BlockSize,
    /// The features that a reader may ignore, unknown ones included.
    compat: Compat,
    /// The features that a reader must know: all are supported.
    incompat: Incompat,
    /// The inode number of the root directory.
    root: Nid,
    /// The number of inodes; for messages only.
    inodes: u64,
    /// The number of blocks of the primary device; 0 if the image does not state it.
    blocks: u64,
    /// The time that the mtime of compact inodes counts from, or is; in seconds since 1970.
    epoch: i64,
    /// The nanoseconds of the mtime of compact inodes.
    epoch_nanoseconds: u32,
    /// The UUID of the volume.
    uuid: [u8; 16],
    /// The label of the volume, padded with NULs.
    volume_name: [u8; 16],
    /// The number of device slots, without the primary device; at most [`DEVICES_MAX`].
    extra_devices: u16,
    /// The compression settings.
    compression: Compression,
    /// The packed inode, which holds the fragments of files.
    packed: Option<Nid>,
    /// The metabox inode, whose data holds other inodes. It lies outside the metabox.
    metabox: Option<Nid>,
    /// The table of long prefixes of xattr names.
    xattr_prefixes: Option<XattrPrefixes>,
    meta_block: u32,
    xattr_block: u32,
    device_table: u64,
    /// What Nydus says of the image's blobs.
    rafs: Option<Rafs>,
    origin: Origin,
    /// The inode number 0 of the image in its stack.
    layer: Nid,
}

/// The table of long prefixes of xattr names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct XattrPrefixes {
    /// The first byte of the table.
    pub at: u64,
    /// The number of prefixes, at least one.
    pub count: u8,
    /// Whether the table lies in the image itself, not in the metabox or the packed inode.
    pub plain: bool,
    /// The number of the prefix that is the whole name of the xattr with a file's fingerprint, if the
    /// image has fingerprints.
    pub fingerprint: Option<u8>,
}

impl Superblock {
    /// The most bytes that [`Superblock::from_bytes`] needs, at any block size.
    pub const BYTES_MAX: usize = BlockSize::BYTES_MAX;

    /// The number of bytes that [`Superblock::peek`] needs. Each image is at least this long.
    pub const PEEK_BYTES: usize = AT + 512;

    /// Returns the number of first bytes of an image that [`Superblock::from_bytes`] needs: 1,536
    /// to [`Superblock::BYTES_MAX`]. Checks only the magic number and the block size.
    pub fn peek(first: &[u8]) -> Result<usize, FormatError> {
        let raw = record(first)?;
        Ok(checksum::end(block_size(raw)?))
    }

    /// Parses the first bytes of an image: at least the number that [`Superblock::peek`] returned;
    /// more are ignored.
    ///
    /// # Errors
    /// Corrupt if magic, block size or checksum are wrong, or if the root directory or the device
    /// table lie outside the image; unsupported if a feature is not supported.
    pub fn from_bytes(first: &[u8]) -> Result<Self, FormatError> {
        let raw = record(first)?;
        let block_size = block_size(raw)?;
        let compat = Compat(raw.u32::<8>());
        let incompat = Incompat(raw.u32::<80>());
        if compat.has(Compat::SB_CHKSUM) {
            checksum::verify(first, block_size, raw.u32::<{ checksum::CHECKSUM_AT }>())?;
        }
        let refused = incompat.without(Incompat::SUPPORTED);
        if !refused.is_empty() {
            return Err(Unsupported::Features(refused).into());
        }
        check_geometry(raw)?;
        // Without a 64-bit root nid, the field of the block count's high half holds the root nid.
        let wide_root = if incompat.has(Incompat::BITS_48) { raw.u64::<112>() } else { 0 };
        let (root, blocks_high) = if wide_root == 0 {
            (u64::from(raw.u16::<14>()), 0)
        } else {
            (wide_root, raw.u16::<14>())
        };
        let has_table = incompat.has(Incompat::DEVICE_TABLE);
        let superblock = Self {
            block_size,
            compat,
            incompat,
            root: Nid(root),
            inodes: raw.u64::<16>(),
            blocks: block48(blocks_high, raw.u32::<36>()),
            epoch: i64::from_le_bytes(raw.bytes::<24, 8>()),
            epoch_nanoseconds: raw.u32::<32>(),
            uuid: raw.bytes::<48, 16>(),
            volume_name: raw.bytes::<64, 16>(),
            extra_devices: if has_table { raw.u16::<86>() } else { 0 },
            compression: features::compression(first, raw, incompat, block_size)?,
            packed: (incompat.has(Incompat::FRAGMENTS) && raw.u64::<96>() != 0)
                .then(|| Nid(raw.u64::<96>())),
            metabox: features::metabox(first, raw, incompat)?,
            xattr_prefixes: features::xattr_prefixes(raw, compat, incompat),
            meta_block: raw.u32::<40>(),
            xattr_block: raw.u32::<44>(),
            device_table: u64::from(raw.u16::<88>()) << SLOT_BITS,
            rafs: Rafs::from_bytes(first, compat),
            origin: Origin::NONE,
            layer: Nid(0),
        };
        superblock.check_devices()?;
        superblock.inode_at(superblock.root)?;
        Ok(superblock)
    }

    /// Returns the same superblock for the image that a reader calls `origin`: inodes parsed with it
    /// have this origin.
    #[must_use]
    pub const fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Returns the same superblock for the image with this number in a stack: its inodes have the
    /// numbers that [`Nid::in_layer`] gives.
    ///
    /// # Errors
    /// Corrupt if an inode number of the superblock lies in no image.
    pub fn in_layer(self, layer: u8) -> Result<Self, Corrupt> {
        let of = |nid: Option<Nid>| nid.map(|nid| nid.in_layer(layer)).transpose();
        let (packed, metabox) = (of(self.packed)?, of(self.metabox)?);
        let (root, layer) = (self.root.in_layer(layer)?, Nid(0).in_layer(layer)?);
        Ok(Self { root, packed, metabox, layer, ..self })
    }

    /// Returns the number of the image in its stack, from 1; 0 for an image alone.
    pub const fn layer(&self) -> u8 {
        self.layer.layer()
    }

    /// Returns the origin of the inodes that are parsed with this superblock.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    fn check_devices(&self) -> Result<(), FormatError> {
        if usize::from(self.extra_devices) > DEVICES_MAX {
            return Err(Unsupported::Devices(self.extra_devices).into());
        }
        if let Some(table) = self.device_table_at() {
            self.within(table, Part::DeviceTable)?;
        }
        Ok(())
    }

    /// Returns the size of a block.
    pub const fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// Returns the features that a reader may ignore, unknown ones included.
    pub const fn compat(&self) -> Compat {
        self.compat
    }

    /// Returns the flags of Nydus for an image of RAFS v6 whose blobs have packed chunks; `None` for
    /// any other image.
    pub fn packed_by_nydus(&self) -> Option<u64> {
        self.rafs.and_then(Rafs::packed)
    }

    /// Returns the features that a reader must know: all are supported.
    pub const fn incompat(&self) -> Incompat {
        self.incompat
    }

    /// Returns the inode number of the root directory.
    pub const fn root(&self) -> Nid {
        self.root
    }

    /// Returns the number of inodes; for messages only.
    pub const fn inodes(&self) -> u64 {
        self.inodes
    }

    /// Returns the number of blocks of the primary device; 0 if the image does not state it.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Returns the time that the mtime of compact inodes counts from, or is; in seconds since 1970.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Returns the nanoseconds of the mtime of compact inodes.
    pub const fn epoch_nanoseconds(&self) -> u32 {
        self.epoch_nanoseconds
    }

    /// Returns the UUID of the volume.
    pub const fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// Returns the label of the volume, padded with NULs.
    pub const fn volume_name(&self) -> [u8; 16] {
        self.volume_name
    }

    /// Returns the number of device slots, without the primary device; at most [`DEVICES_MAX`].
    pub const fn extra_devices(&self) -> u16 {
        self.extra_devices
    }

    /// Returns the compression settings.
    pub const fn compression(&self) -> &Compression {
        &self.compression
    }

    /// Returns the packed inode, which holds the fragments of files.
    pub const fn packed(&self) -> Option<Nid> {
        self.packed
    }

    /// Returns the metabox inode, whose data holds other inodes. It lies outside the metabox.
    pub const fn metabox(&self) -> Option<Nid> {
        self.metabox
    }

    /// Returns the table of long prefixes of xattr names.
    pub const fn xattr_prefixes(&self) -> Option<XattrPrefixes> {
        self.xattr_prefixes
    }
}

fn record(first: &[u8]) -> Result<Record<'_, LEN>, Corrupt> {
    let short =
        Corrupt::Short { part: Part::Superblock, need: Superblock::PEEK_BYTES, got: first.len() };
    let raw = first.get(AT..).and_then(Record::first_of).ok_or(short)?;
    let magic = raw.u32::<0>();
    if magic == MAGIC { Ok(raw) } else { Err(Corrupt::Magic(magic)) }
}

fn block_size(raw: Record<'_, LEN>) -> Result<BlockSize, Corrupt> {
    let bits = raw.u8::<12>();
    BlockSize::from_bits(bits).ok_or(Corrupt::BlockBits(bits))
}

/// Returns the length of all extensions in bytes.
fn extension_bytes(raw: Record<'_, LEN>) -> usize {
    usize::from(raw.u8::<13>()) << EXTENSION_BITS
}

fn check_geometry(raw: Record<'_, LEN>) -> Result<(), FormatError> {
    if extension_bytes(raw) > const { END_MAX - EXTENSIONS_AT } {
        return Err(Corrupt::SuperblockSlots(raw.u8::<13>()).into());
    }
    match raw.u8::<90>() {
        0 => Ok(()),
        bits => Err(Unsupported::DirBlockBits(bits).into()),
    }
}

const _: () = assert!(Superblock::PEEK_BYTES >= AT + LEN);

#[cfg(test)]
mod tests {
    use super::super::sample::{Sample, TINY};
    use super::*;

    fn patched(at: usize, bytes: &[u8]) -> Result<Superblock, FormatError> {
        Sample::new().put(at, bytes).seal()
    }

    #[test]
    fn what_mkfs_wrote_is_read() {
        assert_eq!(Superblock::peek(TINY.get(..Superblock::PEEK_BYTES).unwrap_or(&[])), Ok(4096));
        let read = Superblock::from_bytes(TINY.get(..4096).unwrap_or(&[]));
        let superblock = read.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(superblock.block_size.bytes(), 4096);
        assert_eq!((superblock.blocks, superblock.root, superblock.inodes), (2, Nid(37), 12));
        assert_eq!(superblock.epoch, 1_700_000_000);
        assert_eq!(superblock.uuid.first_chunk(), Some(&[0, 0x11, 0x22, 0x33]));
        assert_eq!(superblock.inode_at(Nid(37)), Ok(37 * 32));
        assert_eq!(superblock.device_table_at(), None);
    }

    #[test]
    fn other_magic_is_no_image() {
        assert_eq!(patched(0, &[0xe3]), Err(Corrupt::Magic(0xe0f5_e1e3).into()));
    }

    #[test]
    fn block_of_256_bytes_or_128_kib_is_refused() {
        for bits in [8, 17, 255] {
            let mut sample = Sample::new();
            let error = Err(Corrupt::BlockBits(bits).into());
            assert_eq!(Superblock::from_bytes(&sample.put(12, &[bits]).0), error);
        }
    }

    #[test]
    fn unknown_incompat_bit_is_refused_by_number() {
        let error = patched(80, &0x4000_u32.to_le_bytes());
        assert_eq!(error, Err(Unsupported::Features(Incompat(0x4000)).into()));
    }

    #[test]
    fn unknown_compat_bits_are_ignored() {
        assert!(patched(8, &[0xff, 0xff, 0xff, 0xff]).is_ok());
    }

    #[test]
    fn directory_blocks_of_two_blocks_are_refused() {
        assert_eq!(patched(90, &[1]), Err(Unsupported::DirBlockBits(1).into()));
    }

    #[test]
    fn extension_slots_beyond_the_first_page_are_refused() {
        assert!(patched(13, &[184]).is_ok());
        assert_eq!(patched(13, &[185]), Err(Corrupt::SuperblockSlots(185).into()));
    }

    #[test]
    fn root_beyond_the_image_is_refused() {
        // 64 blocks of 512 bytes have 1,024 inode slots.
        let error = Corrupt::BeyondImage {
            part: Part::Inode(Nid(1024)),
            at: 0x8000,
            len: 32,
            image: 0x8000,
        };
        assert_eq!(patched(14, &1024_u16.to_le_bytes()), Err(error.into()));
        assert!(patched(14, &1023_u16.to_le_bytes()).is_ok());
    }

    #[test]
    fn wide_root_nid_supersedes_the_narrow_one_with_48bit_only() {
        let mut sample = Sample::new();
        sample.put(112, &200_u64.to_le_bytes());
        assert_eq!(sample.superblock().root, Nid(100));
        let wide = sample.put(80, &[0x80]).put(14, &[3, 0]).superblock();
        assert_eq!((wide.root, wide.blocks), (Nid(200), 3 << 32 | 64));
        let narrow = sample.put(112, &[0]).superblock();
        assert_eq!((narrow.root, narrow.blocks), (Nid(3), 64));
    }

    #[test]
    fn more_slots_than_there_is_room_for_are_refused() {
        assert!(Sample::with_devices(64).seal().is_ok());
        match DEVICES_MAX {
            64 => assert_eq!(Sample::with_devices(65).seal(), Err(Unsupported::Devices(65).into())),
            _ => assert!(Sample::with_devices(65).seal().is_ok()),
        }
    }

    #[test]
    fn device_count_means_nothing_without_its_feature() {
        let superblock = Sample::with_devices(65).put(80, &[0]).superblock();
        assert_eq!((superblock.extra_devices, superblock.device_id_mask()), (0, 0));
    }
}
