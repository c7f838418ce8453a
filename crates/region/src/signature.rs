//! Signatures of formats: tell what a disk holds that is not the expected image or region.
//!
//! Always: a signature names one format; a signature that also occurs inside other formats comes
//! after theirs.

use super::BLOCK_BYTES;

/// A signature, and advice for a user who gave its format as an image.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signature {
    at: usize,
    magic: &'static [u8],
    /// The name of the format, with its article.
    pub name: &'static str,
    /// The way to an image; empty for EROFS.
    pub next: &'static str,
}

/// The bytes from the start that hold all signatures, each in one block of [`BLOCK_BYTES`].
const HEAD_BYTES: usize = 128 << 10;

const FILES: &str = "make an image of its files: mkfs.erofs root.erofs DIR";
const TAR: &str = "make an image of it: mkfs.erofs --tar=f root.erofs FILE";
const CONVERT: &str = "convert it: qemu-img convert -O raw FILE root.erofs";
const OPEN: &str = "open it, and give what is inside";
const ASSEMBLE: &str = "assemble it, and give the volume";
const PARTITION: &str =
    "give the partition: sfdisk -d FILE lists them, dd skip=START count=SIZE copies one";
const SIGNED: &str =
    "take the image out of it: openssl cms -verify -noverify -inform DER -in FILE -out root.erofs";
const EROFS: &str = "";
const OTHER: &str = "give an EROFS image: mkfs.erofs root.erofs DIR";

/// The type of signed data in DER (RFC 5652, 1.2.840.113549.1.7.2).
const PKCS7: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// The first bytes of a region's superblock (crates/region/FORMAT.md). Not in the table of signatures:
/// a region looks for its own first.
pub const REGION_MAGIC: [u8; 8] = *b"ROOTLET\x1a";

/// The signature of a region.
pub static REGION: Signature = sign(
    0,
    &REGION_MAGIC,
    "a region",
    "give it beside an EROFS image (cache= for a guest, --region FILE), or look at it: rootlet \
     region FILE",
);

/// The name of an encrypted region.
pub(crate) const ENCRYPTED: &str = "an encrypted region";
const KEY: &str = "give it and its key beside an EROFS image (cache= and cache-key= for a guest, --region and \
     --cache-key)";

const fn sign(
    at: usize,
    magic: &'static [u8],
    name: &'static str,
    next: &'static str,
) -> Signature {
    Signature { at, magic, name, next }
}

/// The signatures by offset from the start. A signature that occurs inside other formats, such as
/// the mark of a boot sector, comes after them.
static SIGNATURES: [Signature; 74] = [
    sign(0, &Signature::ENCRYPTED_MAGIC, ENCRYPTED, KEY),
    sign(Signature::ENCRYPTED_TWIN_AT, &Signature::ENCRYPTED_MAGIC, ENCRYPTED, KEY),
    sign(0, b"LUKS\xba\xbe", "a LUKS volume", OPEN),
    sign(16_384, b"SKUL\xba\xbe", "a LUKS volume", OPEN),
    sign(3, b"-FVE-FS-", "a BitLocker volume", OPEN),
    sign(512, b"EFI PART", "a GPT partition table", PARTITION),
    sign(4096, b"EFI PART", "a GPT partition table", PARTITION),
    sign(1024, &[0xe2, 0xe1, 0xf5, 0xe0], "an EROFS image", EROFS),
    sign(1080, &[0x53, 0xef], "an ext2, ext3 or ext4 file system", FILES),
    sign(0, b"XFSB", "an XFS file system", FILES),
    sign(65_600, b"_BHRfS_M", "a btrfs file system", FILES),
    sign(1024, &[0x10, 0x20, 0xf5, 0xf2], "an F2FS file system", FILES),
    sign(4120, &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca], "a bcache device", ASSEMBLE),
    sign(4120, &[0xc6, 0x85, 0x73, 0xf6], "a bcache or bcachefs device", ASSEMBLE),
    sign(65_588, b"ReIsEr", "a ReiserFS file system", FILES),
    sign(32_768, b"JFS1", "a JFS file system", FILES),
    sign(1030, &[0x34, 0x34], "a NILFS2 file system", FILES),
    sign(8192, b"OCFSV2", "an OCFS2 file system", FILES),
    sign(65_536, &[0x01, 0x16, 0x19, 0x70], "a GFS2 file system", FILES),
    sign(32, b"NXSB", "an APFS container", FILES),
    sign(1024, b"H+\x00\x04", "an HFS+ file system", FILES),
    sign(1024, b"HX\x00\x05", "an HFS+ file system", FILES),
    sign(3, b"EXFAT   ", "an exFAT file system", FILES),
    sign(3, b"NTFS", "an NTFS file system", FILES),
    sign(54, b"FAT1", "a FAT file system", FILES),
    sign(82, b"FAT32", "a FAT file system", FILES),
    sign(0, b"hsqs", "a squashfs image", FILES),
    sign(0, &[0x45, 0x3d, 0xcd, 0x28], "a cramfs image", FILES),
    sign(0, b"-rom1fs-", "a romfs image", FILES),
    sign(4086, b"SWAPSPACE2", "a swap area", OTHER),
    sign(4086, b"SWAP-SPACE", "a swap area", OTHER),
    sign(512, b"LABELONE", "an LVM volume", ASSEMBLE),
    sign(0, b"LABELONE", "an LVM volume", ASSEMBLE),
    sign(1024, b"LABELONE", "an LVM volume", ASSEMBLE),
    sign(1536, b"LABELONE", "an LVM volume", ASSEMBLE),
    sign(0, b"QFI\xfb", "a qcow2 image", CONVERT),
    sign(0, b"QED\0", "a QED image", CONVERT),
    sign(0, b"KDMV", "a VMDK image", CONVERT),
    sign(0, b"vhdxfile", "a VHDX image", CONVERT),
    sign(0, b"conectix", "a VHD image", CONVERT),
    sign(32_769, b"CD001", "an ISO 9660 image", FILES),
    sign(32_769, b"BEA01", "a UDF image", FILES),
    sign(257, b"ustar", "a tar archive", TAR),
    sign(0, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member", ASSEMBLE),
    sign(4096, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member", ASSEMBLE),
    sign(0, &[0x1f, 0x8b, 0x08], "a gzip file", "unpack it: gunzip FILE"),
    sign(0, b"\xfd7zXZ\x00", "an xz file", "unpack it: unxz FILE"),
    sign(0, &[0x28, 0xb5, 0x2f, 0xfd], "a Zstandard file", "unpack it: unzstd FILE"),
    sign(0, &[0x04, 0x22, 0x4d, 0x18], "an LZ4 file", "unpack it: unlz4 FILE"),
    sign(0, b"BZh", "a bzip2 file", "unpack it: bunzip2 FILE"),
    sign(0, b"PK\x03\x04", "a zip archive", FILES),
    sign(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", FILES),
    sign(0, b"07070", "a cpio archive", FILES),
    sign(0, b"# Disk DescriptorFile", "a VMDK descriptor", CONVERT),
    sign(0, b"COWD", "a VMDK image", CONVERT),
    sign(64, &[0x7f, 0x10, 0xda, 0xbe], "a VDI image", CONVERT),
    sign(0, b"WithoutFreeSpace", "a Parallels image", CONVERT),
    sign(0, b"WithouFreSpacExt", "a Parallels image", CONVERT),
    sign(
        0,
        &[0x3a, 0xff, 0x26, 0xed],
        "an Android sparse image",
        "unpack it: simg2img FILE root.erofs",
    ),
    sign(
        32,
        b"SIF_MAGIC",
        "a SIF container image",
        "take the file system out of it: siftool dump N FILE > root.erofs",
    ),
    sign(0, b"Rar!\x1a\x07", "a RAR archive", FILES),
    sign(0, b"verity\x00\x00", "a dm-verity hash device", "give its data device"),
    sign(0, b"AVB0", "Android boot metadata (vbmeta)", "give the partition that it signs"),
    sign(0, b"ANDROID!", "an Android boot image", OTHER),
    sign(
        0,
        &[0xd0, 0x0d, 0xfe, 0xed],
        "a device tree or signed FIT image",
        "take the file system out of it: dumpimage -T flat_dt -p N -o root.erofs FILE",
    ),
    sign(
        0,
        &[0x27, 0x05, 0x19, 0x56],
        "a U-Boot image",
        "take the file system out of it: dumpimage -p 0 -o root.erofs FILE",
    ),
    sign(2, PKCS7, "a signed message (PKCS #7)", SIGNED),
    sign(4, PKCS7, "a signed message (PKCS #7)", SIGNED),
    sign(5, PKCS7, "a signed message (PKCS #7)", SIGNED),
    sign(6, PKCS7, "a signed message (PKCS #7)", SIGNED),
    sign(0, b"-----BEGIN ", "a text with a signature or certificate", "take the image out of it"),
    sign(0, b"\x7fELF", "an ELF program", OTHER),
    sign(0, b"MZ", "an EFI program or kernel", OTHER),
    sign(510, &[0x55, 0xaa], "a partition table or boot sector", PARTITION),
];

impl Signature {
    /// The first bytes of the header of an encrypted region (crates/region/FORMAT.md).
    pub const ENCRYPTED_MAGIC: [u8; 8] = *b"RLCRYPT\x1a";
    /// Where the second header of an encrypted region lies, in bytes.
    pub const ENCRYPTED_TWIN_AT: usize = 32 << 10;

    /// Returns the first signature of the table that `bytes` contain, with its index in the table.
    /// `bytes` begin at byte `at` of a disk.
    pub fn find(bytes: &[u8], at: usize) -> Option<(usize, &'static Self)> {
        let stands = |sign: &Self| {
            let here = sign.at.checked_sub(at).and_then(|at| bytes.get(at..));
            here.is_some_and(|here| here.starts_with(sign.magic))
        };
        SIGNATURES.iter().enumerate().find(|(_, sign)| stands(sign))
    }

    /// Returns the starts of the blocks that have signatures, without the first block.
    pub fn blocks() -> impl Iterator<Item = usize> {
        let all = (1..HEAD_BYTES / BLOCK_BYTES).filter_map(|block| block.checked_mul(BLOCK_BYTES));
        let within = |block: usize, sign: &Self| {
            sign.at.checked_sub(block).is_some_and(|at| at < BLOCK_BYTES)
        };
        all.filter(move |block| SIGNATURES.iter().any(|sign| within(*block, sign)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "test code")]
    use super::*;
    use std::vec;

    #[test]
    fn signature_lies_in_one_block_and_says_what_to_do() {
        for sign in &SIGNATURES {
            let last = sign.at + sign.magic.len() - 1;
            assert_eq!(sign.at / BLOCK_BYTES, last / BLOCK_BYTES, "{}", sign.name);
            assert!(last < HEAD_BYTES && !sign.name.is_empty());
            assert!(sign.next.is_empty() == (sign.name == "an EROFS image"), "{}", sign.name);
        }
        assert!(Signature::blocks().eq([4096, 8192, 16_384, 32_768, 65_536]));
    }

    #[test]
    fn every_format_is_found_by_what_it_begins_with() {
        for sign in &SIGNATURES {
            let mut disk = vec![0; HEAD_BYTES];
            disk[sign.at..][..sign.magic.len()].copy_from_slice(sign.magic);
            let found = Signature::find(&disk, 0).map(|(_, found)| found.name);
            assert_eq!(found, Some(sign.name));
            let block = sign.at / BLOCK_BYTES * BLOCK_BYTES;
            let found =
                Signature::find(&disk[block..][..BLOCK_BYTES], block).map(|(_, found)| found.name);
            assert_eq!(found, Some(sign.name));
        }
        assert_eq!(Signature::find(&[0; 4096], 0), None);
    }
}
