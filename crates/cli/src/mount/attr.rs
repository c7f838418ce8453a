//! What `stat` says of a file, made from its inode.
//!
//! Always: what Linux says of the same inode, but for nanoseconds of more than a second, which FUSE
//! has no place for: they are cut to the last one; and but for the links of a directory in a stack,
//! which are 1, Linux's word for a number that nobody counted: Linux says so of merged ones alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use rootlet::erofs::{BlockSize, DeviceNumber, FileKind, Inode, Layout, Mtime};

/// The unit of `st_blocks` is 2^9 bytes.
const SECTOR_BITS: u32 = 9;
const NANOSECONDS_MAX: u32 = 999_999_999;

/// What stands for no file at all: the kernel remembers that a name is not there.
pub const NOTHING: FileAttr = FileAttr {
    ino: INodeNo(0),
    size: 0,
    blocks: 0,
    atime: UNIX_EPOCH,
    mtime: UNIX_EPOCH,
    ctime: UNIX_EPOCH,
    crtime: UNIX_EPOCH,
    kind: FileType::RegularFile,
    perm: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: 0,
    flags: 0,
};

/// Returns what `stat` says of `inode`, whose number is `ino`.
pub fn attr(ino: INodeNo, inode: &Inode, block_size: BlockSize) -> FileAttr {
    let mtime = time(inode.mtime());
    FileAttr {
        ino,
        size: inode.size(),
        blocks: blocks(inode, block_size) << (block_size.bits() - SECTOR_BITS),
        atime: mtime,
        mtime,
        ctime: mtime,
        crtime: mtime,
        kind: file_type(inode.kind()),
        perm: inode.permissions(),
        nlink: links(inode),
        uid: inode.uid(),
        gid: inode.gid(),
        rdev: inode.rdev().map_or(0, packed),
        // At most 64 KiB.
        blksize: block_size.bytes() as u32,
        flags: 0,
    }
}

/// Returns the links of an inode; 1 for a directory of a stack, whose folders may be another image's.
fn links(inode: &Inode) -> u32 {
    match inode.kind() {
        FileKind::Directory if inode.nid().layer() != 0 => 1,
        _ => inode.nlink(),
    }
}

/// Returns the blocks of an inode as Linux counts them: those of its encoded bytes where it is
/// compressed, else those of its size, holes and a tail after the inode included.
fn blocks(inode: &Inode, block_size: BlockSize) -> u64 {
    match inode.layout() {
        Layout::Compressed(compressed) => compressed.blocks.into(),
        _ => block_size.blocks_of(inode.size()),
    }
}

/// Returns the type of a file in the words of FUSE.
pub fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::Symlink => FileType::Symlink,
    }
}

/// Returns a device number as FUSE sends it: packed as by Linux's `new_encode_dev`.
fn packed(device: DeviceNumber) -> u32 {
    let DeviceNumber { major, minor } = device;
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

fn time(mtime: Mtime) -> SystemTime {
    let whole = Duration::from_secs(mtime.seconds.unsigned_abs());
    let second = match mtime.seconds < 0 {
        true => UNIX_EPOCH.checked_sub(whole),
        false => UNIX_EPOCH.checked_add(whole),
    };
    let part = Duration::from_nanos(mtime.nanoseconds.min(NANOSECONDS_MAX).into());
    let time = second.and_then(|second| second.checked_add(part));
    time.expect("Linux counts times in 64 bits of seconds, too")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_of_64_bits_is_a_time() {
        let since = |seconds, nanoseconds| time(Mtime { seconds, nanoseconds });
        let second = Duration::from_secs(1);
        assert_eq!(since(1, 5), UNIX_EPOCH + second + Duration::from_nanos(5));
        assert_eq!(since(-1, 5), UNIX_EPOCH - second + Duration::from_nanos(5));
        assert_eq!(since(0, u32::MAX), UNIX_EPOCH + second - Duration::from_nanos(1));
        assert!(since(i64::MIN, 0) < since(i64::MIN, 1));
        assert!(since(i64::MAX, u32::MAX) > since(i64::MAX, 0));
    }

    #[test]
    fn device_numbers_are_packed_as_linux_unpacks_them() {
        for (major, minor) in [(8, 1), (0xfff, 0xff), (1, 0xf_ffff), (0xabc, 0x1_2345)] {
            let raw = packed(DeviceNumber { major, minor });
            assert_eq!((raw >> 8 & 0xfff, raw & 0xff | raw >> 12 & 0xf_ff00), (major, minor));
        }
    }
}
