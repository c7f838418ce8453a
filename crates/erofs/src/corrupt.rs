//! The faults of a corrupt image.
//!
//! Always: each variant carries the numbers that lead to the byte.

use core::fmt;

use rootlet_base::cause::write_cause;

use super::block::{Nid, Space};
use super::codec::{Algorithm, Fault};
use super::compressed::MapFault;

/// A part of the image, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The superblock, or the block that its checksum covers.
    Superblock,
    /// The table of device slots.
    DeviceTable,
    /// The inode itself.
    Inode(Nid),
    /// The inode's xattrs.
    Xattrs(Nid),
    /// The inline tail of the inode's data.
    Tail(Nid),
    /// The inode's map of chunks.
    ChunkMap(Nid),
    /// One entry of the inode's map of chunks.
    ChunkEntry(Nid),
    /// The inode's map of compressed extents.
    CompressedMap(Nid),
    /// The inode's inline pcluster.
    InlinePcluster(Nid),
    /// The shared xattr entry with this id.
    SharedXattr(u32),
    /// The long prefix of xattr names with this number.
    XattrPrefix(u8),
    /// The settings of this algorithm, after the superblock.
    Compression(Algorithm),
}

impl Part {
    /// Returns the metadata space of the part.
    pub(super) const fn space(self) -> Space {
        match self {
            Self::Inode(nid)
            | Self::Xattrs(nid)
            | Self::Tail(nid)
            | Self::ChunkMap(nid)
            | Self::ChunkEntry(nid) => nid.space(),
            _ => Space::Image,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock => f.write_str("the superblock"),
            Self::DeviceTable => f.write_str("the device table"),
            Self::Inode(nid) => write!(f, "the inode of nid {nid}"),
            Self::Xattrs(nid) => write!(f, "the xattrs of nid {nid}"),
            Self::Tail(nid) => write!(f, "the inline tail of nid {nid}"),
            Self::ChunkMap(nid) => write!(f, "the chunk map of nid {nid}"),
            Self::ChunkEntry(nid) => write!(f, "a chunk entry of nid {nid}"),
            Self::CompressedMap(nid) => write!(f, "the compressed map of nid {nid}"),
            Self::InlinePcluster(nid) => write!(f, "the inline pcluster of nid {nid}"),
            Self::SharedXattr(id) => write!(f, "shared xattr {id}"),
            Self::XattrPrefix(id) => write!(f, "long xattr prefix {id}"),
            Self::Compression(algorithm) => write!(f, "the settings of {algorithm}"),
        }
    }
}

/// The fault of a name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameFault {
    /// The name has no bytes.
    Empty,
    /// The name has more than 255 bytes; the number counts them.
    Long(usize),
    /// The name contains a slash.
    Slash,
    /// The name contains a NUL.
    Nul,
    /// The name is not greater than the name before it.
    Order,
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::Long(len) => write!(f, "has {len} bytes, at most 255"),
            Self::Slash => f.write_str("holds a slash"),
            Self::Nul => f.write_str("holds a NUL"),
            Self::Order => f.write_str("is out of order"),
        }
    }
}

impl core::error::Error for NameFault {}

/// A fault of the image's bytes, with its place and the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say what `Display` writes of them")]
#[non_exhaustive]
pub enum Corrupt {
    /// Fewer bytes than the record has.
    Short { part: Part, need: usize, got: usize },
    /// A part that ends after byte 2^64 - 1, or block 2^48 - 1.
    Overflow(Part),
    /// A part that ends after the image, as long as the superblock says.
    BeyondImage { part: Part, at: u64, len: u64, image: u64 },
    /// The magic number of the superblock is wrong.
    Magic(u32),
    /// The image is shorter than its superblock says, in bytes.
    ImageTruncated { says: u64, has: u64 },
    /// The root is not a directory.
    RootKind { nid: Nid, mode: u16 },
    /// A block size outside 512 bytes to 64 KiB.
    BlockBits(u8),
    /// The checksum of the superblock is wrong.
    Checksum { stored: u32, computed: u32 },
    /// More superblock extension slots than its page has room for.
    SuperblockSlots(u8),
    /// A setting of an algorithm outside the format's limits.
    CompressionLimit { algorithm: Algorithm, value: u32 },
    /// A pcluster that does not decode; `offset` is the first byte of its extent.
    Encoded { nid: Nid, offset: u64, algorithm: Algorithm, fault: Fault },
    /// The map found an extent that does not cover the byte looked for.
    ExtentElsewhere { nid: Nid, offset: u64 },
    /// The image has the feature but no metabox.
    NoMetabox,
    /// The metabox inode lies inside the metabox.
    MetaboxInItself { nid: Nid },
    /// A nid of the metabox in an image without one.
    NotInMetabox { nid: Nid },
    /// Metadata that ends after the metabox, in bytes.
    BeyondMetabox { at: u64, len: u64, metabox: u64 },
    /// A fragment in an image without a packed inode.
    NoPackedInode,
    /// A fragment of the packed inode that lies in the packed inode itself.
    FragmentInPacked { nid: Nid },
    /// A fragment that ends after the packed inode, in bytes.
    FragmentBeyondPacked { nid: Nid, at: u64, len: u64, packed: u64 },
    /// A long prefix of xattr names that is too short or too long.
    XattrPrefixLen { prefix: u8, len: usize },
    /// A compact inode's mtime plus the epoch needs more than 64 bits.
    Mtime { nid: Nid, epoch: i64, seconds: u32 },
    /// A device slot that ends after block 2^48 - 1.
    SlotRange { slot: u16, uniaddr: u64, blocks: u64 },
    /// Two device slots that hold the same block of the unified address space; slot 0 is the
    /// primary device.
    SlotsOverlap { low: u16, high: u16, block: u64 },
    /// A device slot after the end of the table.
    NoSlot { slot: u16, slots: u16 },
    /// A block after the end of a device slot; slot 0 is the primary device.
    BlockBeyondSlot { slot: u16, block: u64, blocks: u64 },
    /// Data that ends after its blob, whose device slot states no length; all in bytes.
    BeyondBlob { slot: u16, at: u64, len: u64, blob: u64 },
    /// A file type that does not exist.
    Mode { nid: Nid, mode: u16 },
    /// A size of 2^63 or more.
    Size { nid: Nid, size: u64 },
    /// A symlink target longer than a path.
    SymlinkSize { nid: Nid, size: u64 },
    /// Blocks of a flat inode that end after the image.
    DataBeyondImage { nid: Nid, start: u64, blocks: u64, image_blocks: u64 },
    /// Inline data that crosses a block.
    TailCrossesBlock { nid: Nid, at: u64, len: u64, block: u64 },
    /// A chunk after the end of the file.
    ChunkBeyondFile { nid: Nid, chunk: u64, chunks: u64 },
    /// A chunk on a device slot that the table does not have.
    ChunkSlot { nid: Nid, chunk: u64, slot: u16, slots: u16 },
    /// A fault of the map of a compressed file.
    Map { nid: Nid, fault: MapFault },
    /// The first nameoff of a directory block is not a multiple of 12, is 0, or lies after the
    /// block.
    FirstNameoff { nid: Nid, block: u64, nameoff: u16, len: usize },
    /// A nameoff outside the names, or not above the nameoff before it.
    Nameoff { nid: Nid, block: u64, entry: u16, nameoff: u16, low: u16, high: usize },
    /// An entry after the last of a directory block.
    NoEntry { nid: Nid, block: u64, entry: u16, entries: u16 },
    /// A name that no directory can hold.
    Name { nid: Nid, block: u64, entry: u16, fault: NameFault },
    /// A directory inside itself, at any depth.
    DirectoryInItself { nid: Nid },
    /// A directory that a walk reaches by a second name.
    DirectoryTwice { nid: Nid },
    /// Directories that have more bytes together than the devices can hold.
    DirectoriesTooLong { nid: Nid, bytes: u64, room: u64 },
    /// More shared xattrs than the xattr body has room for.
    SharedCount { nid: Nid, count: u8, body: usize },
    /// An xattr entry that ends after its xattr body.
    XattrOverrun { part: Part, at: usize, need: usize, left: usize },
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { part, need, got } => write!(f, "{part} needs {need} bytes, has {got}"),
            Self::Overflow(part) => write!(f, "{part} lies beyond any address"),
            Self::BeyondImage { part, at, len, image } => {
                write!(
                    f,
                    "{part}, {len} bytes at byte {at:#x}, ends beyond the image of {image:#x}"
                )
            }
            Self::Magic(magic) => write!(f, "magic {magic:#010x} at byte 0x400, not 0xe0f5e1e2"),
            Self::ImageTruncated { says, has } => {
                write!(f, "it should have {says} bytes, its device has {has}")
            }
            Self::RootKind { nid, mode } => {
                write!(f, "the root, nid {nid}, has mode {mode:#o} and is not a directory")
            }
            Self::BlockBits(bits) => {
                write!(f, "block size 2^{bits} at byte 0x40c, not 2^9 to 2^16")
            }
            Self::Checksum { stored, computed } => {
                write!(
                    f,
                    "superblock checksum {stored:#010x} at byte 0x404, computed {computed:#010x}"
                )
            }
            Self::SuperblockSlots(slots) => {
                write!(f, "{slots} superblock extension slots at byte 0x40d, beyond 4 KiB")
            }
            Self::CompressionLimit { algorithm, value } => {
                write!(f, "{algorithm} with a limit of {value}, beyond the format's")
            }
            Self::NoMetabox => f.write_str("METABOX without a metabox after the superblock"),
            Self::NoPackedInode => f.write_str("fragments without a packed inode"),
            Self::XattrPrefixLen { prefix, len } => {
                write!(f, "long xattr prefix {prefix} has {len} bytes, not 1 to 256")
            }
            Self::SlotRange { slot, uniaddr, blocks } => {
                write!(f, "device slot {slot}: {blocks} blocks from block {uniaddr} pass 2^48")
            }
            Self::SlotsOverlap { low, high, block } => {
                write!(f, "device slots {low} and {high} both hold block {block}")
            }
            Self::NoSlot { slot, slots } => {
                write!(f, "device slot {slot} is named, the table has {slots}")
            }
            Self::BeyondBlob { slot, at, len, blob } => write!(
                f,
                "{len} bytes at byte {at:#x} of device slot {slot}, whose blob has {blob:#x}"
            ),
            Self::BlockBeyondSlot { slot, block, blocks } => {
                write!(f, "block {block} of device slot {slot}, which has {blocks}")
            }
            Self::Mtime { nid, epoch, seconds } => {
                write!(f, "mtime of nid {nid}: {seconds} s after {epoch}")
            }
            Self::Mode { nid, mode } => write!(f, "mode {mode:#o} of nid {nid} has no file type"),
            Self::Size { nid, size } => write!(f, "size {size:#x} of nid {nid} is negative"),
            Self::SymlinkSize { nid, size } => {
                write!(f, "symlink of nid {nid} has a target of {size} bytes")
            }
            Self::DataBeyondImage { nid, start, blocks, image_blocks } => {
                write!(
                    f,
                    "nid {nid}: {blocks} blocks from block {start}, the image has {image_blocks}"
                )
            }
            Self::TailCrossesBlock { nid, at, len, block } => {
                write!(
                    f,
                    "inline tail of nid {nid}, {len} bytes at byte {at:#x}, crosses a block of {block}"
                )
            }
            Self::ChunkBeyondFile { nid, chunk, chunks } => {
                write!(f, "chunk {chunk} of nid {nid}, which has {chunks}")
            }
            Self::ChunkSlot { nid, chunk, slot, slots } => {
                write!(
                    f,
                    "chunk {chunk} of nid {nid} names device slot {slot}, the table has {slots}"
                )
            }
            Self::Map { nid, fault } => {
                write!(f, "compressed map of nid {nid}")?;
                write_cause(f, &fault)
            }
            Self::Encoded { nid, offset, algorithm, fault } => {
                write!(f, "nid {nid} from byte {offset:#x} on, encoded with {algorithm}")?;
                write_cause(f, &fault)
            }
            Self::ExtentElsewhere { nid, offset } => {
                write!(f, "no extent of nid {nid} covers byte {offset:#x}")
            }
            Self::MetaboxInItself { nid } => write!(f, "the metabox is nid {nid}"),
            Self::NotInMetabox { nid } => write!(f, "nid {nid}, which the image does not have"),
            Self::BeyondMetabox { at, len, metabox } => write!(
                f,
                "{len} bytes of metadata at byte {at:#x} of the metabox, which has {metabox:#x}"
            ),
            Self::FragmentInPacked { nid } => {
                write!(f, "a fragment of nid {nid}, the packed inode, lies in itself")
            }
            Self::FragmentBeyondPacked { nid, at, len, packed } => write!(
                f,
                "fragment of nid {nid}, {len} bytes at byte {at:#x} of the packed inode, \
                 which has {packed:#x}"
            ),
            Self::DirectoryInItself { nid } => write!(f, "directory nid {nid} lies inside itself"),
            Self::DirectoryTwice { nid } => write!(f, "directory nid {nid} has another name"),
            Self::DirectoriesTooLong { nid, bytes, room } => write!(
                f,
                "directories have {bytes} bytes with that of nid {nid}, and room for {room}: some \
                 are reached again and again"
            ),
            Self::SharedCount { nid, count, body } => {
                write!(f, "nid {nid} has {count} shared xattrs in a body of {body} bytes")
            }
            Self::XattrOverrun { part, at, need, left } => {
                write!(f, "{part}: the entry at byte {at} needs {need} bytes of {left}")
            }
            Self::FirstNameoff { nid, block, nameoff, len } => {
                write!(
                    f,
                    "directory nid {nid} block {block}: first nameoff {nameoff} in {len} bytes"
                )
            }
            Self::Nameoff { nid, block, entry, nameoff, low, high } => write!(
                f,
                "directory nid {nid} block {block} entry {entry}: nameoff {nameoff}, not {low} to {high}"
            ),
            Self::NoEntry { nid, block, entry, entries } => {
                write!(f, "directory nid {nid} block {block}: entry {entry} of {entries}")
            }
            Self::Name { nid, block, entry, fault } => {
                write!(f, "directory nid {nid} block {block} entry {entry}: the name {fault}")
            }
        }
    }
}

impl core::error::Error for Corrupt {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Map { fault, .. } => Some(fault),
            Self::Encoded { fault, .. } => Some(fault),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FormatError;
    use super::*;

    fn shown(corrupt: Corrupt) -> std::string::String {
        std::format!("{:#}", FormatError::from(corrupt))
    }

    #[test]
    fn message_leads_to_the_byte() {
        let nid = Nid(42);
        assert_eq!(
            shown(Corrupt::ChunkSlot { nid, chunk: 7, slot: 9, slots: 3 }),
            "corrupt image: chunk 7 of nid 42 names device slot 9, the table has 3"
        );
        let part = Part::SharedXattr(5);
        assert_eq!(
            shown(Corrupt::BeyondImage { part, at: 0x9000, len: 4, image: 0x8000 }),
            "corrupt image: shared xattr 5, 4 bytes at byte 0x9000, ends beyond the image of 0x8000"
        );
        assert_eq!(
            shown(Corrupt::Name { nid, block: 3, entry: 4, fault: NameFault::Long(300) }),
            "corrupt image: directory nid 42 block 3 entry 4: the name has 300 bytes, at most 255"
        );
        assert_eq!(
            shown(Corrupt::SlotsOverlap { low: 1, high: 3, block: 73 }),
            "corrupt image: device slots 1 and 3 both hold block 73"
        );
    }
}
