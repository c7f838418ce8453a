//! An inode: compact (32 bytes) or extended (64), at a multiple of 32 bytes.
//!
//! Always: the size is below 2^63, the file type exists, and inode and xattrs lie in the image.

use super::block::{Nid, Span};
use super::chunk::ChunkMap;
use super::corrupt::{Corrupt, Part};
use super::error::{FormatError, Unsupported};
use super::feature::Incompat;
use super::kind::{DeviceNumber, FileKind};
use super::layout::{Compressed, CompressedForm, Layout};
use super::origin::Origin;
use super::outline::Outline;
use super::record::Record;
use super::superblock::Superblock;
use rootlet_base::num::{OrBug, wide};

const COMPACT: usize = 32;
const EXTENDED: usize = 64;
const FORMAT_EXTENDED: u16 = 0x01;
/// DOT_OMITTED of directories, NLINK_1 of other compact inodes.
const FORMAT_BIT_4: u16 = 0x10;
const FORMAT_KNOWN: u16 = 0x1f;
/// The longest target of a symlink: that of a path (`PATH_MAX` of Linux).
const SYMLINK_BYTES_MAX: u64 = 4096;

/// A time of modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtime {
    /// Seconds since 1970; negative before.
    pub seconds: i64,
    /// Nanoseconds after that second, as stored: some tools write more than 999,999,999, and Linux
    /// shows these too.
    pub nanoseconds: u32,
}

impl Mtime {
    /// Returns the nanoseconds since 1970.
    #[expect(clippy::arithmetic_side_effects, reason = "below 2^95")]
    pub fn total_ns(&self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

/// A validated inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// The number of the inode.
    nid: Nid,
    /// The type of the file.
    kind: FileKind,
    /// The permission bits of the mode, with the set-id and sticky bits.
    permissions: u16,
    /// The user id of the owner.
    uid: u32,
    /// The group id.
    gid: u32,
    /// The number of links.
    nlink: u32,
    /// The size in bytes, below 2^63.
    size: u64,
    /// The time of modification; that of the superblock for a compact inode without 48BIT.
    mtime: Mtime,
    /// The device number of a device file.
    rdev: Option<DeviceNumber>,
    /// The xattr body, for [`super::xattr::Body`]; at least 12 bytes, at most 262,148.
    xattrs: Option<Span>,
    /// The layout of the data.
    layout: Layout,
    /// Whether the inode has 64 bytes, not 32.
    extended: bool,
    /// Whether the directory lacks the entry `.`.
    dot_omitted: bool,
    origin: Origin,
}

/// The fields of both forms, as stored.
struct Fields {
    nb: u16,
    size: u64,
    union: u32,
    uid: u32,
    gid: u32,
    mtime: Mtime,
    nlink: u32,
}

impl Inode {
    /// The length of a compact inode in bytes, the shorter form.
    pub const BYTES_MIN: usize = COMPACT;
    /// The length of an extended inode in bytes, the longer form.
    pub const BYTES_MAX: usize = EXTENDED;

    /// Returns the length in bytes, 32 or 64, of an inode that begins with `first`.
    pub fn bytes_needed(first: [u8; 2]) -> usize {
        if u16::from_le_bytes(first) & FORMAT_EXTENDED == 0 { COMPACT } else { EXTENDED }
    }

    /// Parses the bytes at [`Superblock::inode_at`]: at least [`Inode::bytes_needed`]; more are
    /// ignored.
    pub fn from_bytes(
        superblock: &Superblock,
        nid: Nid,
        bytes: &[u8],
    ) -> Result<Self, FormatError> {
        let at = superblock.inode_at(nid)?;
        let raw = record::<COMPACT>(nid, bytes)?;
        let format = raw.u16::<0>();
        if format & !FORMAT_KNOWN != 0 {
            return Err(Unsupported::InodeFormat { nid, format }.into());
        }
        let extended = format & FORMAT_EXTENDED != 0;
        let mode = raw.u16::<4>();
        let kind = FileKind::from_mode(mode).ok_or(Corrupt::Mode { nid, mode })?;
        let directory = kind == FileKind::Directory;
        let bit_4 = format & FORMAT_BIT_4 != 0;
        let mut fields = if extended {
            Fields::from_extended(record::<EXTENDED>(nid, bytes)?)
        } else {
            Fields::from_compact(superblock, nid, raw)?
        };
        let one_link = bit_4 && !extended && !directory;
        if one_link {
            fields.nlink = 1;
        }
        check_size(nid, kind, fields.size)?;
        let len = wide(if extended { EXTENDED } else { COMPACT });
        let xattrs = xattrs(superblock, nid, Span { at, len }, raw)?;
        let outline = Outline {
            nid,
            size: fields.size,
            low: fields.union,
            high: (extended || one_link).then_some(fields.nb),
            // Within the image, as `xattrs` has checked.
            body_end: xattrs.end().or_bug()?,
        };
        Ok(Self {
            nid,
            kind,
            permissions: mode & 0o7777,
            uid: fields.uid,
            gid: fields.gid,
            nlink: fields.nlink,
            size: fields.size,
            mtime: fields.mtime,
            rdev: matches!(kind, FileKind::CharDevice | FileKind::BlockDevice)
                .then(|| DeviceNumber::from_raw(fields.union)),
            xattrs: (xattrs.len != 0).then_some(xattrs),
            layout: layout(superblock, kind, format, outline)?,
            extended,
            dot_omitted: directory && bit_4,
            origin: superblock.origin(),
        })
    }

    /// Returns the same inode without its xattrs: the data of a file can be read although its xattrs
    /// are damaged.
    #[must_use]
    pub const fn without_xattrs(self) -> Self {
        Self { xattrs: None, ..self }
    }

    /// Returns the origin of the superblock that the inode was parsed with.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns the `st_mode`: type and permissions.
    pub fn mode(&self) -> u16 {
        self.kind.mode_bits() | self.permissions
    }

    /// Returns the number of the inode.
    pub const fn nid(&self) -> Nid {
        self.nid
    }

    /// Returns the type of the file.
    pub const fn kind(&self) -> FileKind {
        self.kind
    }

    /// Returns the permission bits of the mode, with the set-id and sticky bits.
    pub const fn permissions(&self) -> u16 {
        self.permissions
    }

    /// Returns the user id of the owner.
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Returns the group id.
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// Returns the number of links.
    pub const fn nlink(&self) -> u32 {
        self.nlink
    }

    /// Returns the size in bytes, below 2^63.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the time of modification; that of the superblock for a compact inode without 48BIT.
    pub const fn mtime(&self) -> Mtime {
        self.mtime
    }

    /// Returns the device number of a device file.
    pub const fn rdev(&self) -> Option<DeviceNumber> {
        self.rdev
    }

    /// Returns the xattr body, for [`super::xattr::Body`]; at least 12 bytes, at most 262,148.
    pub const fn xattrs(&self) -> Option<Span> {
        self.xattrs
    }

    /// Returns the same inode with the bytes of an object for its data, from byte `at` of the
    /// objects' device on.
    #[must_use]
    pub const fn with_object(self, at: u64) -> Self {
        Self { layout: Layout::Object { at }, ..self }
    }

    /// Returns the layout of the data.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns whether the inode has 64 bytes, not 32.
    pub const fn extended(&self) -> bool {
        self.extended
    }

    /// Returns whether the directory lacks the entry `.`.
    pub const fn dot_omitted(&self) -> bool {
        self.dot_omitted
    }
}

impl Fields {
    fn from_compact(
        superblock: &Superblock,
        nid: Nid,
        raw: Record<'_, COMPACT>,
    ) -> Result<Self, Corrupt> {
        let epoch = superblock.epoch();
        // Without 48BIT the field is reserved.
        let wide = superblock.incompat().has(Incompat::BITS_48);
        let since = if wide { raw.u32::<12>() } else { 0 };
        let overflow = Corrupt::Mtime { nid, epoch, seconds: since };
        let seconds = epoch.checked_add(i64::from(since)).ok_or(overflow)?;
        Ok(Self {
            nb: raw.u16::<6>(),
            size: u64::from(raw.u32::<8>()),
            union: raw.u32::<16>(),
            uid: u32::from(raw.u16::<24>()),
            gid: u32::from(raw.u16::<26>()),
            mtime: Mtime { seconds, nanoseconds: superblock.epoch_nanoseconds() },
            nlink: u32::from(raw.u16::<6>()),
        })
    }

    fn from_extended(raw: Record<'_, EXTENDED>) -> Self {
        Self {
            nb: raw.u16::<6>(),
            size: raw.u64::<8>(),
            union: raw.u32::<16>(),
            uid: raw.u32::<24>(),
            gid: raw.u32::<28>(),
            mtime: Mtime {
                seconds: i64::from_le_bytes(raw.bytes::<32, 8>()),
                nanoseconds: raw.u32::<40>(),
            },
            nlink: raw.u32::<44>(),
        }
    }
}

fn record<const N: usize>(nid: Nid, bytes: &[u8]) -> Result<Record<'_, N>, Corrupt> {
    let short = Corrupt::Short { part: Part::Inode(nid), need: N, got: bytes.len() };
    Record::first_of(bytes).ok_or(short)
}

fn check_size(nid: Nid, kind: FileKind, size: u64) -> Result<(), Corrupt> {
    if i64::try_from(size).is_err() {
        return Err(Corrupt::Size { nid, size });
    }
    if kind == FileKind::Symlink && size > SYMLINK_BYTES_MAX {
        return Err(Corrupt::SymlinkSize { nid, size });
    }
    Ok(())
}

/// Returns the bytes of the xattr body, which lies right after the inode at `inode`; an empty span
/// if there are no xattrs.
fn xattrs(
    superblock: &Superblock,
    nid: Nid,
    inode: Span,
    raw: Record<'_, COMPACT>,
) -> Result<Span, Corrupt> {
    superblock.within(inode, Part::Inode(nid))?;
    let part = Part::Xattrs(nid);
    // A header of 12 bytes, and units of 4 after the first.
    let len = match u64::from(raw.u16::<2>()).checked_sub(1) {
        None => 0,
        Some(units) => (units << 2).checked_add(12).ok_or(Corrupt::Overflow(part))?,
    };
    let body = Span { at: inode.end().ok_or(Corrupt::Overflow(part))?, len };
    superblock.within(body, part)?;
    Ok(body)
}

fn layout(
    superblock: &Superblock,
    kind: FileKind,
    format: u16,
    outline: Outline,
) -> Result<Layout, FormatError> {
    let [number, _] = (format >> 1 & 0x7).to_le_bytes();
    if number > 4 {
        return Err(Unsupported::Layout { nid: outline.nid, layout: number }.into());
    }
    if !matches!(kind, FileKind::Regular | FileKind::Directory | FileKind::Symlink) {
        return Ok(Layout::None);
    }
    let (body_end, blocks) = (outline.body_end, outline.low);
    let compressed = |form| Layout::Compressed(Compressed { form, body_end, blocks });
    match number {
        0 => Layout::plain(outline, superblock, superblock.incompat().has(Incompat::BITS_48)),
        1 => Ok(compressed(CompressedForm::Full)),
        2 => Layout::inline(outline, superblock),
        3 => Ok(compressed(CompressedForm::Compact)),
        _ => Ok(Layout::Chunked(ChunkMap::from_outline(superblock, outline)?)),
    }
}

const _: () = assert!(COMPACT == 32 && EXTENDED == 2 * COMPACT);

#[cfg(test)]
mod tests {
    use super::super::sample::{NID, Sample, TINY, compact, extended, inode};
    use super::*;

    fn valid(bytes: &[u8]) -> Inode {
        inode(bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn what_mkfs_wrote_is_read() {
        let superblock = Superblock::from_bytes(TINY).unwrap_or_else(|error| panic!("{error}"));
        let at = superblock.inode_at(Nid(45)).ok().and_then(|at| usize::try_from(at).ok());
        let bytes = TINY.get(at.unwrap_or(0)..).unwrap_or(&[]);
        let hello = Inode::from_bytes(&superblock, Nid(45), bytes);
        let hello = hello.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((hello.mode(), hello.size, hello.nlink), (0o100_644, 6, 1));
        assert_eq!(hello.xattrs, Some(Span { at: 45 * 32 + 32, len: 24 }));
        let tail = Span { at: 45 * 32 + 56, len: 6 };
        assert!(matches!(hello.layout, Layout::Inline { tail: found, .. } if found == tail));
        let text = TINY.get(45 * 32 + 56..).and_then(|tail| tail.first_chunk());
        assert_eq!(text, Some(b"hello\n"));
    }

    #[test]
    fn compact_inode_has_the_time_of_the_superblock() {
        let inode = valid(&compact(0, 0, 0o104_755, 10, 1));
        assert_eq!(inode.mtime, Mtime { seconds: 1_700_000_000, nanoseconds: 7 });
        assert_eq!((inode.uid, inode.gid, inode.nlink), (1000, 100, 5));
        assert_eq!((inode.kind, inode.permissions), (FileKind::Regular, 0o4755));
        assert_eq!((inode.xattrs, inode.rdev, inode.extended), (None, None, false));
    }

    #[test]
    fn compact_mtime_counts_from_the_epoch_with_48bit() {
        let superblock = Sample::new().put(80, &[0x80]).superblock();
        let inode = Inode::from_bytes(&superblock, NID, &compact(0, 0, 0o100_644, 10, 1));
        assert_eq!(inode.map(|inode| inode.mtime.seconds), Ok(1_700_000_060));
    }

    #[test]
    fn mtime_beyond_64_bits_is_corrupt() {
        let epoch = i64::MAX;
        let superblock = Sample::new().put(80, &[0x80]).put(24, &epoch.to_le_bytes()).superblock();
        let inode = Inode::from_bytes(&superblock, NID, &compact(0, 0, 0o100_644, 10, 1));
        assert_eq!(inode, Err(Corrupt::Mtime { nid: NID, epoch, seconds: 60 }.into()));
    }

    #[test]
    fn extended_inode_has_its_own_time_and_wide_owners() {
        let inode = valid(&extended(0, 0o100_600, 10, 1, 0));
        assert_eq!(inode.mtime, Mtime { seconds: -5, nanoseconds: 999_999_999 });
        assert_eq!((inode.uid, inode.gid, inode.nlink), (70_000, 70_001, 3));
    }

    #[test]
    fn nanoseconds_of_more_than_a_second_are_kept_as_linux_shows_them() {
        let mut bytes = extended(0, 0o100_600, 10, 1, 0);
        for nanoseconds in [1_000_000_000, 1_500_000_000, u32::MAX] {
            if let Some(field) = bytes.get_mut(40..44) {
                field.copy_from_slice(&nanoseconds.to_le_bytes());
            }
            assert_eq!(valid(&bytes).mtime, Mtime { seconds: -5, nanoseconds });
        }
    }

    #[test]
    fn bit_four_means_one_link_or_no_dot() {
        let file = valid(&compact(0x10, 0, 0o100_644, 0, 1));
        assert_eq!((file.nlink, file.dot_omitted), (1, false));
        let directory = valid(&compact(0x10, 0, 0o040_755, 0, 1));
        assert_eq!((directory.nlink, directory.dot_omitted), (5, true));
    }

    #[test]
    fn device_number_is_decoded_as_linux_encodes_it() {
        // Major 0xabc, minor 0x12345.
        let inode = valid(&compact(0, 0, 0o020_600, 0, 0x123a_bc45));
        assert_eq!(inode.rdev, Some(DeviceNumber { major: 0xabc, minor: 0x12345 }));
        assert_eq!(inode.layout, Layout::None);
    }

    #[test]
    fn socket_has_neither_device_number_nor_data() {
        let inode = valid(&compact(0, 0, 0o140_755, 0, u32::MAX));
        assert_eq!((inode.kind, inode.rdev, inode.layout), (FileKind::Socket, None, Layout::None));
    }

    #[test]
    fn mode_without_a_type_is_corrupt() {
        for mode in [0, 0o644, 0o030_644, 0o170_644] {
            let error = Corrupt::Mode { nid: NID, mode };
            assert_eq!(inode(&compact(0, 0, mode, 0, 0)), Err(error.into()));
        }
    }

    #[test]
    fn unknown_format_bit_is_refused() {
        let error = Unsupported::InodeFormat { nid: NID, format: 0x20 };
        assert_eq!(inode(&compact(0x20, 0, 0o100_644, 0, 0)), Err(error.into()));
    }

    #[test]
    fn layouts_five_to_seven_are_refused() {
        for layout in 5..=7 {
            let error = Unsupported::Layout { nid: NID, layout };
            let bytes = compact(u16::from(layout) << 1, 0, 0o100_644, 0, 0);
            assert_eq!(inode(&bytes), Err(error.into()));
        }
    }

    #[test]
    fn negative_size_is_corrupt() {
        let size = 1 << 63;
        let error = Corrupt::Size { nid: NID, size };
        assert_eq!(inode(&extended(0, 0o100_644, size, u32::MAX, 0)), Err(error.into()));
    }

    #[test]
    fn symlink_longer_than_a_path_is_corrupt() {
        assert!(inode(&compact(0, 0, 0o120_777, 4096, 1)).is_ok());
        let error = Corrupt::SymlinkSize { nid: NID, size: 4097 };
        assert_eq!(inode(&compact(0, 0, 0o120_777, 4097, 1)), Err(error.into()));
    }

    #[test]
    fn xattrs_beyond_the_image_are_corrupt() {
        let (part, len) = (Part::Xattrs(NID), 12 + 4 * 65_534);
        let error = Corrupt::BeyondImage { part, at: 3232, len, image: 0x8000 };
        assert_eq!(inode(&compact(0, 0xffff, 0o100_644, 0, 0)), Err(error.into()));
    }

    #[test]
    fn extended_inode_that_ends_beyond_the_image_is_corrupt() {
        let (superblock, nid) = (Sample::new().superblock(), Nid(1023));
        let (part, at) = (Part::Inode(nid), 0x7fe0);
        let error = Corrupt::BeyondImage { part, at, len: 64, image: 0x8000 };
        let inode = Inode::from_bytes(&superblock, nid, &extended(0, 0o100_644, 0, 0, 0));
        assert_eq!(inode, Err(error.into()));
    }

    #[test]
    fn compact_inode_needs_32_bytes_and_extended_64() {
        let short = compact(0, 0, 0o100_644, 0, 0);
        assert!(inode(short.get(..32).unwrap_or(&[])).is_ok());
        assert_eq!(Inode::bytes_needed([0, 0]), 32);
        let error = Corrupt::Short { part: Part::Inode(NID), need: 32, got: 31 };
        assert_eq!(inode(short.get(..31).unwrap_or(&[])), Err(error.into()));
        let long = extended(0, 0o100_644, 0, 0, 0);
        assert_eq!(Inode::bytes_needed([1, 0]), 64);
        let error = Corrupt::Short { part: Part::Inode(NID), need: 64, got: 63 };
        assert_eq!(inode(long.get(..63).unwrap_or(&[])), Err(error.into()));
    }
}
