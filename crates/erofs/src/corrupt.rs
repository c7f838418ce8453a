//! The faults of a corrupt image.
//!
//! Always: each variant carries the numbers that lead to the byte.

use core::fmt;

use super::block::{Nid, Space};
use super::codec::{Algorithm, Fault};
use super::compressed::MapFault;
use super::faults::faults;

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

faults! {
    /// A fault of the image's bytes, with its place and the values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[expect(missing_docs, reason = "the fields say what `Display` writes of them")]
    #[non_exhaustive]
    pub enum Corrupt {
        /// Fewer bytes than the record has.
        Short { part: Part, need: usize, got: usize } => "{part} needs {need} bytes, has {got}",
        /// A part that ends after byte 2^64 - 1, or block 2^48 - 1.
        Overflow(part: Part) => "{part} lies beyond any address",
        /// A part that ends after the image, as long as the superblock says.
        BeyondImage { part: Part, at: u64, len: u64, image: u64 } =>
            "{part}, {len} bytes at byte {at:#x}, ends beyond the image of {image:#x}",
        /// The magic number of the superblock is wrong.
        Magic(magic: u32) => "magic {magic:#010x} at byte 0x400, not 0xe0f5e1e2",
        /// The image is shorter than its superblock says, in bytes.
        ImageTruncated { says: u64, has: u64 } => "it should have {says} bytes, its device has {has}",
        /// The root is not a directory.
        RootKind { nid: Nid, mode: u16 } =>
            "the root, nid {nid}, has mode {mode:#o} and is not a directory",
        /// A block size outside 512 bytes to 64 KiB.
        BlockBits(bits: u8) => "block size 2^{bits} at byte 0x40c, not 2^9 to 2^16",
        /// The checksum of the superblock is wrong.
        Checksum { stored: u32, computed: u32 } =>
            "superblock checksum {stored:#010x} at byte 0x404, computed {computed:#010x}",
        /// More superblock extension slots than its page has room for.
        SuperblockSlots(slots: u8) => "{slots} superblock extension slots at byte 0x40d, beyond 4 KiB",
        /// A setting of an algorithm outside the format's limits.
        CompressionLimit { algorithm: Algorithm, value: u32 } =>
            "{algorithm} with a limit of {value}, beyond the format's",
        /// A pcluster that does not decode; `offset` is the first byte of its extent.
        Encoded { nid: Nid, offset: u64, algorithm: Algorithm, fault: Fault } =>
            "nid {nid} from byte {offset:#x} on, encoded with {algorithm}" then fault,
        /// The map found an extent that does not cover the byte looked for.
        ExtentElsewhere { nid: Nid, offset: u64 } => "no extent of nid {nid} covers byte {offset:#x}",
        /// The image has the feature but no metabox.
        NoMetabox => "METABOX without a metabox after the superblock",
        /// The metabox inode lies inside the metabox.
        MetaboxInItself { nid: Nid } => "the metabox is nid {nid}",
        /// A nid of the metabox in an image without one.
        NotInMetabox { nid: Nid } => "nid {nid}, which the image does not have",
        /// Metadata that ends after the metabox, in bytes.
        BeyondMetabox { at: u64, len: u64, metabox: u64 } =>
            "{len} bytes of metadata at byte {at:#x} of the metabox, which has {metabox:#x}",
        /// A fragment in an image without a packed inode.
        NoPackedInode => "fragments without a packed inode",
        /// A fragment of the packed inode that lies in the packed inode itself.
        FragmentInPacked { nid: Nid } => "a fragment of nid {nid}, the packed inode, lies in itself",
        /// A fragment that ends after the packed inode, in bytes.
        FragmentBeyondPacked { nid: Nid, at: u64, len: u64, packed: u64 } =>
            "fragment of nid {nid}, {len} bytes at byte {at:#x} of the packed inode, \
             which has {packed:#x}",
        /// A long prefix of xattr names that is too short or too long.
        XattrPrefixLen { prefix: u8, len: usize } =>
            "long xattr prefix {prefix} has {len} bytes, not 1 to 256",
        /// A compact inode's mtime plus the epoch needs more than 64 bits.
        Mtime { nid: Nid, epoch: i64, seconds: u32 } => "mtime of nid {nid}: {seconds} s after {epoch}",
        /// A device slot that ends after block 2^48 - 1.
        SlotRange { slot: u16, uniaddr: u64, blocks: u64 } =>
            "device slot {slot}: {blocks} blocks from block {uniaddr} pass 2^48",
        /// Two device slots that hold the same block of the unified address space; slot 0 is the
        /// primary device.
        SlotsOverlap { low: u16, high: u16, block: u64 } =>
            "device slots {low} and {high} both hold block {block}",
        /// A device slot after the end of the table.
        NoSlot { slot: u16, slots: u16 } => "device slot {slot} is named, the table has {slots}",
        /// A block after the end of a device slot; slot 0 is the primary device.
        BlockBeyondSlot { slot: u16, block: u64, blocks: u64 } =>
            "block {block} of device slot {slot}, which has {blocks}",
        /// Data that ends after its blob, whose device slot states no length; all in bytes.
        BeyondBlob { slot: u16, at: u64, len: u64, blob: u64 } =>
            "{len} bytes at byte {at:#x} of device slot {slot}, whose blob has {blob:#x}",
        /// A file type that does not exist.
        Mode { nid: Nid, mode: u16 } => "mode {mode:#o} of nid {nid} has no file type",
        /// A size of 2^63 or more.
        Size { nid: Nid, size: u64 } => "size {size:#x} of nid {nid} is negative",
        /// A symlink target longer than a path.
        SymlinkSize { nid: Nid, size: u64 } => "symlink of nid {nid} has a target of {size} bytes",
        /// Blocks of a flat inode that end after the image.
        DataBeyondImage { nid: Nid, start: u64, blocks: u64, image_blocks: u64 } =>
            "nid {nid}: {blocks} blocks from block {start}, the image has {image_blocks}",
        /// Inline data that crosses a block.
        TailCrossesBlock { nid: Nid, at: u64, len: u64, block: u64 } =>
            "inline tail of nid {nid}, {len} bytes at byte {at:#x}, crosses a block of {block}",
        /// A chunk after the end of the file.
        ChunkBeyondFile { nid: Nid, chunk: u64, chunks: u64 } =>
            "chunk {chunk} of nid {nid}, which has {chunks}",
        /// A chunk on a device slot that the table does not have.
        ChunkSlot { nid: Nid, chunk: u64, slot: u16, slots: u16 } =>
            "chunk {chunk} of nid {nid} names device slot {slot}, the table has {slots}",
        /// A fault of the map of a compressed file.
        Map { nid: Nid, fault: MapFault } => "compressed map of nid {nid}" then fault,
        /// The first nameoff of a directory block is not a multiple of 12, is 0, or lies after the
        /// block.
        FirstNameoff { nid: Nid, block: u64, nameoff: u16, len: usize } =>
            "directory nid {nid} block {block}: first nameoff {nameoff} in {len} bytes",
        /// A nameoff outside the names, or not above the nameoff before it.
        Nameoff { nid: Nid, block: u64, entry: u16, nameoff: u16, low: u16, high: usize } =>
            "directory nid {nid} block {block} entry {entry}: nameoff {nameoff}, not {low} to {high}",
        /// An entry after the last of a directory block.
        NoEntry { nid: Nid, block: u64, entry: u16, entries: u16 } =>
            "directory nid {nid} block {block}: entry {entry} of {entries}",
        /// A name that no directory can hold.
        Name { nid: Nid, block: u64, entry: u16, fault: NameFault } =>
            "directory nid {nid} block {block} entry {entry}: the name {fault}",
        /// A directory inside itself, at any depth.
        DirectoryInItself { nid: Nid } => "directory nid {nid} lies inside itself",
        /// A directory that a walk reaches by a second name.
        DirectoryTwice { nid: Nid } => "directory nid {nid} has another name",
        /// Directories that have more bytes together than the devices can hold.
        DirectoriesTooLong { nid: Nid, bytes: u64, room: u64 } =>
            "directories have {bytes} bytes with that of nid {nid}, and room for {room}: some \
             are reached again and again",
        /// More shared xattrs than the xattr body has room for.
        SharedCount { nid: Nid, count: u8, body: usize } =>
            "nid {nid} has {count} shared xattrs in a body of {body} bytes",
        /// An xattr entry that ends after its xattr body.
        XattrOverrun { part: Part, at: usize, need: usize, left: usize } =>
            "{part}: the entry at byte {at} needs {need} bytes of {left}",
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
