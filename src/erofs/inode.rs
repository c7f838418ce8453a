//! An inode: compact (32 bytes) or extended (64), at a multiple of 32 bytes.
//!
//! Always: its size is below 2^63, its file type exists, and inode and xattrs lie in the image.

use core::fmt;

use super::block::{Nid, Span};
use super::chunk::ChunkMap;
use super::corrupt::{Corrupt, Part};
use super::error::{FormatError, Unsupported};
use super::feature::Incompat;
use super::layout::{CompressedForm, Layout, Outline};
use super::record::Record;
use super::superblock::Superblock;

const COMPACT: usize = 32;
const EXTENDED: usize = 64;
const FORMAT_EXTENDED: u16 = 0x01;
/// NLINK_1 of compact inodes that are no directories, DOT_OMITTED of directories.
const FORMAT_BIT_4: u16 = 0x10;
const FORMAT_KNOWN: u16 = 0x1f;
/// Linux PATH_MAX: no path can be longer, so no useful target is.
const SYMLINK_BYTES_MAX: u64 = 4096;

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "POSIX names")]
pub enum FileKind {
    Regular,
    Directory,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
    Symlink,
}

impl FileKind {
    /// From `st_mode`.
    pub fn from_mode(mode: u16) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o100_000 => Self::Regular,
            0o040_000 => Self::Directory,
            0o020_000 => Self::CharDevice,
            0o060_000 => Self::BlockDevice,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            0o120_000 => Self::Symlink,
            _ => return None,
        })
    }

    /// Its bits of `st_mode`.
    pub fn mode_bits(self) -> u16 {
        match self {
            Self::Regular => 0o100_000,
            Self::Directory => 0o040_000,
            Self::CharDevice => 0o020_000,
            Self::BlockDevice => 0o060_000,
            Self::Fifo => 0o010_000,
            Self::Socket => 0o140_000,
            Self::Symlink => 0o120_000,
        }
    }
}

/// The number of a device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "POSIX names")]
pub struct DeviceNumber {
    pub major: u32,
    pub minor: u32,
}

impl DeviceNumber {
    /// As Linux `new_encode_dev` packs it.
    fn from_raw(raw: u32) -> Self {
        Self { major: raw >> 8 & 0xfff, minor: raw & 0xff | raw >> 12 & 0xf_ff00 }
    }
}

/// A time of modification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtime {
    /// Seconds since 1970; negative before.
    pub seconds: i64,
    /// Nanoseconds, 0 to 999,999,999, after that second.
    pub nanoseconds: u32,
}

/// A validated inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub nid: Nid,
    /// Type of the file.
    pub kind: FileKind,
    /// Permission bits of the mode, set-id and sticky bits included.
    pub permissions: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of links.
    pub nlink: u32,
    /// Size in bytes, below 2^63.
    pub size: u64,
    /// Time of modification; a compact inode without 48BIT has that of the superblock.
    pub mtime: Mtime,
    /// Number of a device file.
    pub rdev: Option<DeviceNumber>,
    /// The xattr body, for [`super::xattr::Body`]; at least 12 bytes, at most 262,148.
    pub xattrs: Option<Span>,
    /// The layout of the data.
    pub layout: Layout,
    /// Whether it has 64 bytes, else 32.
    pub extended: bool,
    /// Whether this directory lacks an entry for itself.
    pub dot_omitted: bool,
}

/// The fields that both forms have, as they are stored.
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
    /// The most bytes that an inode has.
    pub const BYTES_MAX: usize = EXTENDED;

    /// How many bytes the inode has whose first bytes these are: 32 or 64.
    pub fn bytes_needed(first: [u8; 2]) -> usize {
        if u16::from_le_bytes(first) & FORMAT_EXTENDED == 0 { COMPACT } else { EXTENDED }
    }

    /// From the bytes at [`Superblock::inode_at`]: 64, or as many as the image has and
    /// [`Inode::bytes_needed`] asks for.
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
            Fields::from_extended(nid, record::<EXTENDED>(nid, bytes)?)?
        } else {
            Fields::from_compact(superblock, nid, raw)?
        };
        let one_link = bit_4 && !extended && !directory;
        if one_link {
            fields.nlink = 1;
        }
        check_size(nid, kind, fields.size)?;
        let len = if extended { EXTENDED } else { COMPACT };
        let xattrs =
            xattrs(superblock, nid, Span { at, len: u64::try_from(len).unwrap_or(0) }, raw)?;
        let outline = Outline {
            nid,
            size: fields.size,
            low: fields.union,
            high: (extended || one_link).then_some(fields.nb),
            // Not beyond the image, as `xattrs` has checked.
            body_end: xattrs.at.saturating_add(xattrs.len),
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
        })
    }

    /// `st_mode`: type and permissions.
    pub fn mode(&self) -> u16 {
        self.kind.mode_bits() | self.permissions
    }

    /// The layout, if its data can be read; a compressed one is refused by name.
    pub fn readable(&self) -> Result<Layout, FormatError> {
        match self.layout {
            Layout::Compressed(form) => Err(form.unsupported(self.nid)),
            layout => Ok(layout),
        }
    }
}

impl Fields {
    fn from_compact(
        superblock: &Superblock,
        nid: Nid,
        raw: Record<'_, COMPACT>,
    ) -> Result<Self, Corrupt> {
        let epoch = superblock.epoch;
        // The field was reserved before 48BIT.
        let wide = superblock.incompat.has(Incompat::BITS_48);
        let since = if wide { raw.u32::<12>() } else { 0 };
        let overflow = Corrupt::Mtime { nid, epoch, seconds: since };
        let seconds = epoch.checked_add(i64::from(since)).ok_or(overflow)?;
        Ok(Self {
            nb: raw.u16::<6>(),
            size: u64::from(raw.u32::<8>()),
            union: raw.u32::<16>(),
            uid: u32::from(raw.u16::<24>()),
            gid: u32::from(raw.u16::<26>()),
            mtime: Mtime { seconds, nanoseconds: superblock.epoch_nanoseconds },
            nlink: u32::from(raw.u16::<6>()),
        })
    }

    fn from_extended(nid: Nid, raw: Record<'_, EXTENDED>) -> Result<Self, Corrupt> {
        let nanoseconds = raw.u32::<40>();
        if nanoseconds >= 1_000_000_000 {
            return Err(Corrupt::Nanoseconds { nid: Some(nid), nanoseconds });
        }
        Ok(Self {
            nb: raw.u16::<6>(),
            size: raw.u64::<8>(),
            union: raw.u32::<16>(),
            uid: raw.u32::<24>(),
            gid: raw.u32::<28>(),
            mtime: Mtime { seconds: i64::from_le_bytes(raw.bytes::<32, 8>()), nanoseconds },
            nlink: raw.u32::<44>(),
        })
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

/// The xattr body behind the inode at `inode`; of no bytes if there are no xattrs.
fn xattrs(
    superblock: &Superblock,
    nid: Nid,
    inode: Span,
    raw: Record<'_, COMPACT>,
) -> Result<Span, Corrupt> {
    superblock.within(inode, Part::Inode(nid))?;
    let len = match u64::from(raw.u16::<2>()).checked_sub(1) {
        None => 0,
        Some(units) => units.saturating_mul(4).saturating_add(12),
    };
    let body = Span { at: inode.at.saturating_add(inode.len), len };
    superblock.within(body, Part::Xattrs(nid))?;
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
    match number {
        0 => outline.plain(superblock, superblock.incompat.has(Incompat::BITS_48)),
        1 => Ok(Layout::Compressed(CompressedForm::Full)),
        2 => outline.inline(superblock),
        3 => Ok(Layout::Compressed(CompressedForm::Compact)),
        _ => Ok(Layout::Chunked(ChunkMap::from_outline(superblock, outline)?)),
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regular => "regular file",
            Self::Directory => "directory",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Symlink => "symlink",
        })
    }
}

const _: () = assert!(COMPACT == 32 && EXTENDED == 2 * COMPACT);
