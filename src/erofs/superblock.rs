//! The superblock: 128 bytes at byte 1024, and where it says that everything else lies.
//!
//! Always: its checksum held where it has one, and every feature it asks for is read.

use crc::{CRC_32_ISCSI, Crc, Table};

use super::block::{BlockSize, Nid, Space, Span};
use super::compression::Compression;
use super::corrupt::{Corrupt, Part};
use super::device::{DEVICES_MAX, SLOT_BYTES};
use super::error::{FormatError, Unsupported};
use super::feature::{Compat, Incompat};
use super::record::{Record, block48};

const MAGIC: u32 = 0xe0f5_e1e2;
const AT: usize = 1024;
const LEN: usize = 128;
const CHECKSUM_AT: usize = 4;
const EXTENSION_BYTES: usize = 16;
/// Linux keeps the superblock within the first 4 KiB.
const LEN_MAX: usize = 4096 - 1024;
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
    /// How files may be compressed.
    pub compression: Compression,
    /// The inode that holds the fragments of files.
    pub packed: Option<Nid>,
    /// The inode whose data holds other inodes; itself in no metabox.
    pub metabox: Option<Nid>,
    /// The long prefixes of xattr names.
    pub xattr_prefixes: Option<XattrPrefixes>,
    meta_block: u32,
    xattr_block: u32,
    device_table: u64,
}

/// Where the table of long xattr prefixes lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XattrPrefixes {
    /// Its first byte.
    pub at: u64,
    /// How many prefixes it has, at least one.
    pub count: u8,
    /// In the image itself, whatever else there is.
    pub plain: bool,
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
            compression: compression(first, raw, incompat, block_size)?,
            packed: (incompat.has(Incompat::FRAGMENTS) && raw.u64::<96>() != 0)
                .then(|| Nid(raw.u64::<96>())),
            metabox: metabox(first, raw, incompat)?,
            xattr_prefixes: xattr_prefixes(raw, compat, incompat),
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

    /// The byte of its space at which an inode begins. At least the 32 bytes of a compact one lie
    /// in the image, if it is there.
    pub fn inode_at(&self, nid: Nid) -> Result<u64, FormatError> {
        let part = Part::Inode(nid);
        let first = match nid.space() {
            Space::Image => self.meta_block,
            Space::Metabox if self.metabox.is_none() => {
                return Err(Corrupt::NotInMetabox { nid }.into());
            }
            Space::Metabox => 0,
        };
        let at = self.offset(first, nid.slot(), INODE_SLOT_BYTES, part)?;
        self.within(Span { at, len: INODE_SLOT_BYTES }, part)?;
        Ok(at)
    }

    /// Where the shared xattr entry `id` begins. Its 4-byte header lies in the image, if it is
    /// there.
    pub fn shared_xattr_at(&self, id: u32) -> Result<(Space, u64), FormatError> {
        let part = Part::SharedXattr(id);
        let at = self.offset(self.xattr_block, u64::from(id), SHARED_XATTR_UNIT, part)?;
        if self.metabox.is_some() && self.compat.has(Compat::SHARED_EA_IN_METABOX) {
            return Ok((Space::Metabox, at));
        }
        self.within(Span { at, len: SHARED_XATTR_UNIT }, part)?;
        Ok((Space::Image, at))
    }

    /// Refuses the shared xattr entry `id`, which begins at byte `at` of `space`, if its `len` bytes
    /// end beyond the image. Where the metabox ends is known by who reads it.
    pub fn check_shared_xattr(
        &self,
        id: u32,
        (space, at): (Space, u64),
        len: u64,
    ) -> Result<(), FormatError> {
        match space {
            Space::Image => Ok(self.within(Span { at, len }, Part::SharedXattr(id))?),
            Space::Metabox => Ok(()),
        }
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

    /// Refuses a span that ends beyond the image. Where a metabox ends is known by who reads it.
    pub(super) fn within(&self, span: Span, part: Part) -> Result<(), Corrupt> {
        let end = span.at.checked_add(span.len).ok_or(Corrupt::Overflow(part))?;
        match self.image_bytes() {
            Some(image) if end > image && part.space() == Space::Image => {
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

/// The compression settings: behind the superblock, or implied by the lack of them.
fn compression(
    first: &[u8],
    raw: Record<'_, LEN>,
    incompat: Incompat,
    block_size: BlockSize,
) -> Result<Compression, FormatError> {
    if !incompat.has(Incompat::COMPR_CFGS) {
        return Ok(Compression::implied(raw.u16::<84>()));
    }
    let extensions = usize::from(raw.u8::<13>()).saturating_mul(EXTENSION_BYTES);
    let at = AT.saturating_add(LEN).saturating_add(extensions);
    let records = first.get(at..).unwrap_or_default();
    Compression::from_bytes(raw.u16::<84>(), block_size.bits(), records)
}

/// The metabox, whose nid is in the first extension of the superblock.
fn metabox(
    first: &[u8],
    raw: Record<'_, LEN>,
    incompat: Incompat,
) -> Result<Option<Nid>, FormatError> {
    if !incompat.has(Incompat::METABOX) {
        return Ok(None);
    }
    let extension = first.get(AT.saturating_add(LEN)..).and_then(Record::<16>::first_of);
    match extension {
        Some(extension) if raw.u8::<13>() != 0 => {
            let nid = Nid(extension.u64::<0>());
            match nid.space() {
                Space::Image => Ok(Some(nid)),
                Space::Metabox => Err(Corrupt::MetaboxInItself { nid }.into()),
            }
        }
        _ => Err(Corrupt::NoMetabox.into()),
    }
}

fn xattr_prefixes(
    raw: Record<'_, LEN>,
    compat: Compat,
    incompat: Incompat,
) -> Option<XattrPrefixes> {
    let count = raw.u8::<91>();
    (incompat.has(Incompat::XATTR_PREFIXES) && count != 0).then(|| XattrPrefixes {
        at: u64::from(raw.u32::<92>()).saturating_mul(SHARED_XATTR_UNIT),
        count,
        plain: compat.has(Compat::PLAIN_XATTR_PFX),
    })
}

fn check_geometry(raw: Record<'_, LEN>) -> Result<(), FormatError> {
    let slots = raw.u8::<13>();
    let extensions = usize::from(slots).saturating_mul(EXTENSION_BYTES);
    if extensions > LEN_MAX.saturating_sub(LEN) {
        return Err(Corrupt::SuperblockSlots(slots).into());
    }
    match raw.u8::<90>() {
        0 => Ok(()),
        bits => Err(Unsupported::DirBlockBits(bits).into()),
    }
}

const _: () = assert!(Superblock::PEEK_BYTES >= AT + LEN);

#[cfg(test)]
mod tests {
    use super::super::codec::Algorithm;
    use super::super::sample::{Sample, TINY, seal};
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
    fn compression_settings_follow_the_superblock_and_its_extensions() {
        let mut sample = Sample::new();
        sample.put(80, &[2]).put(84, &[8]).put(128, &[6, 0, 0, 5]);
        assert_eq!(sample.superblock().compression.zstd_window_bytes, 32 << 10);
        sample.put(13, &[2]).put(160, &[6, 0, 0, 6]);
        assert_eq!(sample.superblock().compression.zstd_window_bytes, 64 << 10);
        let error = Corrupt::CompressionLimit { algorithm: Algorithm::Zstd, value: 11 };
        assert_eq!(sample.put(163, &[11]).seal(), Err(error.into()));
        let plain = Sample::new().put(84, &[0, 16]).superblock().compression;
        assert_eq!((plain.lz4_distance, plain.algorithms.has(Algorithm::Zstd)), (4096, false));
    }

    #[test]
    fn metabox_without_its_nid_is_corrupt() {
        assert_eq!(patched(80, &[0, 1]), Err(Corrupt::NoMetabox.into()));
    }

    #[test]
    fn metabox_is_named_by_the_first_extension_and_lies_outside_itself() {
        let mut sample = Sample::new();
        sample.put(80, &[0, 1]).put(13, &[1]).put(128, &[101]);
        let superblock = sample.superblock();
        assert_eq!(superblock.metabox, Some(Nid(101)));
        assert_eq!(superblock.inode_at(Nid(1 << 63 | 3)), Ok(96));
        let nid = Nid(1 << 63 | 101);
        let error = sample.put(128, &nid.0.to_le_bytes()).seal();
        assert_eq!(error, Err(Corrupt::MetaboxInItself { nid }.into()));
    }

    #[test]
    fn packed_inode_and_prefixes_count_with_their_features_only() {
        let mut sample = Sample::new();
        sample.put(96, &[7]).put(91, &[2]).put(92, &[5]);
        let superblock = sample.superblock();
        assert_eq!((superblock.packed, superblock.xattr_prefixes), (None, None));
        let superblock = sample.put(80, &[0x60]).put(8, &[0x11]).superblock();
        assert_eq!(superblock.packed, Some(Nid(7)));
        let prefixes = XattrPrefixes { at: 20, count: 2, plain: true };
        assert_eq!(superblock.xattr_prefixes, Some(prefixes));
    }

    #[test]
    fn shared_xattrs_lie_in_the_metabox_where_the_image_says_so() {
        let mut sample = Sample::new();
        sample.put(80, &[0, 1]).put(13, &[1]).put(128, &[101]);
        assert_eq!(sample.superblock().shared_xattr_at(3), Ok((Space::Image, 10 * 512 + 12)));
        let shared = sample.put(8, &[9]).superblock().shared_xattr_at(3);
        assert_eq!(shared, Ok((Space::Metabox, 10 * 512 + 12)));
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
    fn a_second_has_fewer_nanoseconds_than_a_billion() {
        let nanoseconds = 1_000_000_000;
        let error = Corrupt::Nanoseconds { nid: None, nanoseconds };
        assert_eq!(patched(32, &nanoseconds.to_le_bytes()), Err(error.into()));
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
    fn nid_that_overflows_or_lies_in_no_metabox_has_no_place() {
        let superblock = Sample::new().superblock();
        let nid = Nid(1 << 62);
        assert_eq!(superblock.inode_at(nid), Err(Corrupt::Overflow(Part::Inode(nid)).into()));
        let nid = Nid(1 << 63 | 100);
        assert_eq!(superblock.inode_at(nid), Err(Corrupt::NotInMetabox { nid }.into()));
    }

    #[test]
    fn shared_xattr_counts_from_its_block_in_units_of_four() {
        let superblock = Sample::new().superblock();
        assert_eq!(superblock.shared_xattr_at(3), Ok((Space::Image, 10 * 512 + 12)));
        let (at, part) = (10 * 512 + 4 * 7000, Part::SharedXattr(7000));
        let error = Corrupt::BeyondImage { part, at, len: 4, image: 0x8000 };
        assert_eq!(superblock.shared_xattr_at(7000), Err(error.into()));
    }

    #[test]
    fn device_table_is_where_its_slot_says_and_inside() {
        let mut sample = Sample::with_devices(3);
        let table = Span { at: 2048, len: 384 };
        assert_eq!(sample.superblock().device_table_at(), Some(table));
        let outside = sample.put(88, &254_u16.to_le_bytes()).seal();
        let (part, at) = (Part::DeviceTable, 254 * 128);
        let error = Corrupt::BeyondImage { part, at, len: 384, image: 0x8000 };
        assert_eq!(outside, Err(error.into()));
    }

    #[test]
    fn more_slots_than_the_table_holds_are_refused() {
        assert!(Sample::with_devices(64).seal().is_ok());
        assert_eq!(Sample::with_devices(65).seal(), Err(Unsupported::Devices(65).into()));
    }

    #[test]
    fn device_count_means_nothing_without_its_feature() {
        let superblock = Sample::with_devices(65).put(80, &[0]).superblock();
        assert_eq!((superblock.extra_devices, superblock.device_id_mask()), (0, 0));
    }

    #[test]
    fn device_id_mask_reaches_the_next_power_of_two() {
        for (count, mask) in [(1, 1), (2, 3), (3, 3), (4, 7), (63, 63), (64, 127)] {
            assert_eq!(Sample::with_devices(count).superblock().device_id_mask(), mask);
        }
    }
}
