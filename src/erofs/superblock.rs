//! The superblock: 128 bytes at byte 1024, and where it says that everything else lies.
//!
//! Always: its checksum held where it has one, and every feature it asks for is read.

use crc::{CRC_32_ISCSI, Crc, Table};

use super::block::{BlockSize, Nid, Span};
use super::corrupt::{Corrupt, Part};
use super::device::{DEVICES_MAX, SLOT_BYTES};
use super::error::{FormatError, Unsupported};
use super::feature::{Compat, Incompat};
use super::record::{Record, block48};

const MAGIC: u32 = 0xe0f5_e1e2;
const AT: usize = 1024;
const LEN: usize = 128;
const CHECKSUM_AT: usize = 4;
const EXTENSION_BYTES: u64 = 16;
/// Linux keeps the superblock within the first 4 KiB.
const LEN_MAX: u64 = 4096 - 1024;
/// An inode begins at a multiple of this many bytes of the metadata area.
const INODE_SLOT_BYTES: u64 = 32;
/// A shared xattr id counts units of this many bytes.
const SHARED_XATTR_UNIT: u64 = 4;

/// CRC-32C; EROFS stores it without the final inversion.
static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

/// A validated superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Size of a block.
    pub block_size: BlockSize,
    /// Ignorable features, unknown ones included.
    pub compat: Compat,
    /// Features, all of them supported.
    pub incompat: Incompat,
    /// The root directory.
    pub root: Nid,
    /// How many inodes there are; for messages only.
    pub inodes: u64,
    /// Blocks of the primary device; 0 where the image does not say.
    pub blocks: u64,
    /// Seconds since 1970 that compact inodes count from, or have.
    pub epoch: i64,
    /// Nanoseconds of every compact inode's mtime.
    pub epoch_nanoseconds: u32,
    /// Identity of the volume.
    pub uuid: [u8; 16],
    /// Label of the volume, padded with NULs.
    pub volume_name: [u8; 16],
    /// Device slots besides the primary, at most [`DEVICES_MAX`].
    pub extra_devices: u16,
    meta_block: u32,
    xattr_block: u32,
    device_table: u64,
}

impl Superblock {
    /// The most bytes that [`Superblock::from_bytes`] needs, whatever the block size.
    pub const BYTES_MAX: usize = BlockSize::BYTES_MAX;

    /// How many bytes [`Superblock::peek`] needs. Every image is at least this long.
    pub const PEEK_BYTES: usize = AT + 512;

    /// From the first bytes of an image, how many of them [`Superblock::from_bytes`] needs: 1,536
    /// to [`Superblock::BYTES_MAX`]. Checks the magic number and the block size, nothing else.
    pub fn peek(first: &[u8]) -> Result<usize, FormatError> {
        let raw = record(first)?;
        let block_size = block_size(raw)?;
        Ok(AT.saturating_add(checksummed_len(block_size)))
    }

    /// From the first bytes of an image, as many as [`Superblock::peek`] said; more are ignored.
    ///
    /// # Errors
    /// Corrupt when magic, block size or checksum are wrong, or the root directory or the device
    /// table lie outside the image; unsupported when a feature is not read.
    pub fn from_bytes(first: &[u8]) -> Result<Self, FormatError> {
        let raw = record(first)?;
        let block_size = block_size(raw)?;
        let compat = Compat(raw.u32::<8>());
        let incompat = Incompat(raw.u32::<80>());
        if compat.has(Compat::SB_CHKSUM) {
            verify(first, block_size, raw.u32::<CHECKSUM_AT>())?;
        }
        let refused = incompat.without(Incompat::SUPPORTED);
        if !refused.is_empty() {
            return Err(Unsupported::Features(refused).into());
        }
        check_geometry(raw)?;
        let nanoseconds = raw.u32::<32>();
        if nanoseconds >= 1_000_000_000 {
            return Err(Corrupt::Nanoseconds { nid: None, nanoseconds }.into());
        }
        // Without the 64-bit root nid, the high half of the block count is the root nid.
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
            epoch_nanoseconds: nanoseconds,
            uuid: raw.bytes::<48, 16>(),
            volume_name: raw.bytes::<64, 16>(),
            extra_devices: if has_table { raw.u16::<86>() } else { 0 },
            meta_block: raw.u32::<40>(),
            xattr_block: raw.u32::<44>(),
            device_table: u64::from(raw.u16::<88>()).saturating_mul(SLOT_BYTES),
        };
        superblock.check_devices()?;
        superblock.inode_at(superblock.root)?;
        Ok(superblock)
    }

    /// Bytes of the primary device; `None` where the image does not say.
    pub fn image_bytes(&self) -> Option<u64> {
        if self.blocks == 0 { None } else { self.block_size.at(self.blocks) }
    }

    /// The byte at which an inode begins. At least the 32 bytes of a compact one lie in the image.
    pub fn inode_at(&self, nid: Nid) -> Result<u64, FormatError> {
        if nid.0 >> 63 != 0 {
            return Err(Unsupported::Metabox(nid).into());
        }
        let part = Part::Inode(nid);
        let at = self.offset(self.meta_block, nid.0, INODE_SLOT_BYTES, part)?;
        self.within(Span { at, len: INODE_SLOT_BYTES }, part)?;
        Ok(at)
    }

    /// The byte at which the shared xattr entry `id` begins. Its 4-byte header lies in the image.
    pub fn shared_xattr_at(&self, id: u32) -> Result<u64, FormatError> {
        let part = Part::SharedXattr(id);
        let at = self.offset(self.xattr_block, u64::from(id), SHARED_XATTR_UNIT, part)?;
        self.within(Span { at, len: SHARED_XATTR_UNIT }, part)?;
        Ok(at)
    }

    /// Where the device table lies; `None` if there are no extra devices. It is at most 8 KiB.
    pub fn device_table_at(&self) -> Option<Span> {
        let len = u64::from(self.extra_devices).saturating_mul(SLOT_BYTES);
        (len != 0).then_some(Span { at: self.device_table, len })
    }

    /// The bits of a chunk's device id that count: `roundup_pow2(extra_devices + 1) - 1`.
    pub fn device_id_mask(&self) -> u16 {
        let ids = u32::from(self.extra_devices).saturating_add(1);
        u16::try_from(ids.next_power_of_two().saturating_sub(1)).unwrap_or(u16::MAX)
    }

    /// Refuses a span that ends beyond the image.
    pub(super) fn within(&self, span: Span, part: Part) -> Result<(), Corrupt> {
        let end = span.at.checked_add(span.len).ok_or(Corrupt::Overflow(part))?;
        match self.image_bytes() {
            Some(image) if end > image => {
                Err(Corrupt::BeyondImage { part, at: span.at, len: span.len, image })
            }
            _ => Ok(()),
        }
    }

    fn offset(&self, block: u32, count: u64, unit: u64, part: Part) -> Result<u64, Corrupt> {
        let base = self.block_size.at(u64::from(block)).ok_or(Corrupt::Overflow(part))?;
        let skip = count.checked_mul(unit).ok_or(Corrupt::Overflow(part))?;
        base.checked_add(skip).ok_or(Corrupt::Overflow(part))
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

/// The checksum runs from byte 1024 to the end of its block; of a block that begins there, over
/// the whole of it.
fn checksummed_len(block_size: BlockSize) -> usize {
    match block_size.bytes_usize().checked_sub(AT) {
        None | Some(0) => block_size.bytes_usize(),
        Some(rest) => rest,
    }
}

fn verify(first: &[u8], block_size: BlockSize, stored: u32) -> Result<(), Corrupt> {
    let end = AT.saturating_add(checksummed_len(block_size));
    let short = Corrupt::Short { part: Part::Superblock, need: end, got: first.len() };
    let bytes = first.get(AT..end).ok_or(short)?;
    let computed = checksum(bytes);
    if computed == stored { Ok(()) } else { Err(Corrupt::Checksum { stored, computed }) }
}

/// CRC-32C of `bytes` with the checksum field taken as zero, without the final inversion.
fn checksum(bytes: &[u8]) -> u32 {
    let (before, rest) = bytes.split_at_checked(CHECKSUM_AT).unwrap_or((bytes, &[]));
    let mut digest = CRC.digest();
    digest.update(before);
    digest.update(&[0; 4]);
    digest.update(rest.get(4..).unwrap_or_default());
    !digest.finalize()
}

fn check_geometry(raw: Record<'_, LEN>) -> Result<(), FormatError> {
    let slots = raw.u8::<13>();
    let extensions = u64::from(slots).saturating_mul(EXTENSION_BYTES);
    if extensions > LEN_MAX.saturating_sub(128) {
        return Err(Corrupt::SuperblockSlots(slots).into());
    }
    match raw.u8::<90>() {
        0 => Ok(()),
        bits => Err(Unsupported::DirBlockBits(bits).into()),
    }
}

const _: () = assert!(Superblock::PEEK_BYTES >= AT + LEN);
