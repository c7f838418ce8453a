//! Names what stands where a region was expected, so that nobody's data is formatted over.
//!
//! Always: only the start and the end of the area are looked at; what has no name here may still
//! be data, so the caller formats on its own only over zeros.

/// A signature: where it stands, its bytes, and whose it is.
type Signature = (usize, &'static [u8], &'static str);

/// Signatures by their offset from the start. What is found inside of another (a boot sector's
/// mark before everything that begins with one) comes later.
const AT_START: [Signature; 43] = [
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (16_384, b"SKUL\xba\xbe", "a LUKS volume"),
    (3, b"-FVE-FS-", "a BitLocker volume"),
    (512, b"EFI PART", "a GPT partition table"),
    (4096, b"EFI PART", "a GPT partition table"),
    (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "an EROFS image"),
    (1080, &[0x53, 0xef], "an ext2, ext3 or ext4 file system"),
    (0, b"XFSB", "an XFS file system"),
    (65_600, b"_BHRfS_M", "a btrfs file system"),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], "an F2FS file system"),
    (4120, &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca], "a bcache device"),
    (4120, &[0xc6, 0x85, 0x73, 0xf6], "a bcache or bcachefs device"),
    (65_588, b"ReIsEr", "a ReiserFS file system"),
    (32_768, b"JFS1", "a JFS file system"),
    (1030, &[0x34, 0x34], "a NILFS2 file system"),
    (8192, b"OCFSV2", "an OCFS2 file system"),
    (65_536, &[0x01, 0x16, 0x19, 0x70], "a GFS2 file system"),
    (32, b"NXSB", "an APFS container"),
    (1024, b"H+\x00\x04", "an HFS+ file system"),
    (1024, b"HX\x00\x05", "an HFS+ file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (3, b"NTFS", "an NTFS file system"),
    (54, b"FAT1", "a FAT file system"),
    (82, b"FAT32", "a FAT file system"),
    (0, b"hsqs", "a squashfs image"),
    (0, &[0x45, 0x3d, 0xcd, 0x28], "a cramfs image"),
    (0, b"-rom1fs-", "a romfs image"),
    (4086, b"SWAPSPACE2", "a swap area"),
    (4086, b"SWAP-SPACE", "a swap area"),
    (512, b"LABELONE", "an LVM volume"),
    (0, b"LABELONE", "an LVM volume"),
    (1024, b"LABELONE", "an LVM volume"),
    (1536, b"LABELONE", "an LVM volume"),
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, b"KDMV", "a VMDK image"),
    (0, b"vhdxfile", "a VHDX image"),
    (0, b"conectix", "a VHD image"),
    (32_769, b"CD001", "an ISO 9660 image"),
    (32_769, b"BEA01", "a UDF image"),
    (257, b"ustar", "a tar archive"),
    (0, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member"),
    (4096, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member"),
    (510, &[0x55, 0xaa], "a partition table or boot sector"),
];

/// The end of an area that is looked at, in bytes.
pub const TAIL_BYTES: usize = 128 << 10;

/// Signatures by how far before the end they begin: copies of what was lost at the start, and
/// formats that are kept there.
const BEFORE_END: [Signature; 4] = [
    (512, b"EFI PART", "the backup of a GPT partition table"),
    (4096, b"EFI PART", "the backup of a GPT partition table"),
    (8192, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member"),
    (65_536, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member"),
];

/// What the first bytes of an area say it is.
pub fn name(head: &[u8]) -> Option<&'static str> {
    let found =
        |(at, magic, _): &&Signature| head.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    AT_START.iter().find(found).map(|(_, _, name)| *name)
}

/// What the last bytes of an area of `bytes` say it is.
pub fn name_at_end(tail: &[u8], bytes: u64) -> Option<&'static str> {
    // md 0.90 counts from the last whole 64 KiB of its device.
    let over = usize::try_from(bytes & 0xffff).unwrap_or(0);
    let found = |(before, magic, _): &&Signature| {
        let slack = if *before == 65_536 { over } else { 0 };
        let at = tail.len().checked_sub(before.saturating_add(slack));
        at.and_then(|at| tail.get(at..)).is_some_and(|rest| rest.starts_with(magic))
    };
    BEFORE_END.iter().find(found).map(|(_, _, name)| *name)
}
