//! Names what stands where a region was expected, so that nobody's data is formatted over.
//!
//! Always: only the start of the area is looked at; what has no name here may still be data, so
//! the caller formats on its own only over zeros.

/// Offset and bytes of each known signature.
const SIGNATURES: [(usize, &[u8], &str); 17] = [
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (512, b"EFI PART", "a GPT partition table"),
    (4096, b"EFI PART", "a GPT partition table"),
    (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "an EROFS image"),
    (1080, &[0x53, 0xef], "an ext2, ext3 or ext4 file system"),
    (0, b"XFSB", "an XFS file system"),
    (65600, b"_BHRfS_M", "a btrfs file system"),
    (0, b"hsqs", "a squashfs image"),
    (4086, b"SWAPSPACE2", "a swap area"),
    (512, b"LABELONE", "an LVM volume"),
    (0, b"QFI\xfb", "a qcow2 image"),
    (32769, b"CD001", "an ISO 9660 image"),
    (3, b"NTFS", "an NTFS file system"),
    (257, b"ustar", "a tar archive"),
    (4096, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member"),
    (4120, &[0xc6, 0x85, 0x73, 0xf6], "a bcache device"),
    (510, &[0x55, 0xaa], "a partition table or boot sector"),
];

/// What the first bytes of an area say it is.
pub fn name(head: &[u8]) -> Option<&'static str> {
    let found = |(at, magic, _): &&(usize, &[u8], &str)| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(magic))
    };
    SIGNATURES.iter().find(found).map(|(_, _, name)| *name)
}
