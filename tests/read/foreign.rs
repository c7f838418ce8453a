//! Files and disks that are not an image: the error names their format and the next step.

use rootlet::erofs::Corrupt;
use rootlet_sim::disk::World;

use crate::guest::Guest;

/// The error of a mount of a disk with `magic` at byte `at`, `bytes` long.
fn told(at: usize, magic: &[u8], bytes: usize) -> String {
    let mut disk = vec![0x11; bytes];
    disk[at..][..magic.len()].copy_from_slice(magic);
    let world = World::new(1);
    world.share_file("fs", "image", disk);
    Guest::mount(world.attach(), "image=share:image", 1).map(|_| ()).unwrap_err()
}

#[test]
fn other_formats_are_told_with_the_next_step() {
    for (at, magic, message) in [
        (0, &b"\x1f\x8b\x08"[..], "a gzip file, not an EROFS image; unpack it: gunzip FILE"),
        (0, b"\xfd7zXZ\0", "an xz file, not an EROFS image; unpack it: unxz FILE"),
        (0, b"\x28\xb5\x2f\xfd", "a Zstandard file, not an EROFS image; unpack it: unzstd FILE"),
        (
            0,
            b"KDMV",
            "a VMDK image, not an EROFS image; convert it: qemu-img convert -O raw FILE root.erofs",
        ),
        (
            0,
            b"QFI\xfb",
            "a qcow2 image, not an EROFS image; convert it: qemu-img convert -O raw FILE root.erofs",
        ),
        (
            0,
            b"QED\0",
            "a QED image, not an EROFS image; convert it: qemu-img convert -O raw FILE root.erofs",
        ),
        (
            32,
            b"SIF_MAGIC",
            "a SIF container image, not an EROFS image; take the file system out of it: siftool \
             dump N FILE > root.erofs",
        ),
        (
            512,
            b"EFI PART",
            "a GPT partition table, not an EROFS image; give the partition: sfdisk -d FILE lists \
             them, dd skip=START count=SIZE copies one",
        ),
        (
            4,
            b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02",
            "a signed message (PKCS #7), not an EROFS image; take the image out of it: openssl cms \
             -verify -noverify -inform DER -in FILE -out root.erofs",
        ),
        (
            257,
            b"ustar",
            "a tar archive, not an EROFS image; make an image of it: mkfs.erofs --tar=f root.erofs \
             FILE",
        ),
        (
            0,
            b"ROOTLET\x1a",
            "a region, not an EROFS image; give it beside an EROFS image (cache= for a guest, \
             --region FILE), or look at it: rootlet region FILE",
        ),
    ] {
        // The shortest that a superblock fits in, and longer.
        for bytes in [1536, 20_000] {
            assert_eq!(told(at, magic, bytes), format!("unsupported image: this is {message}"));
        }
    }
}

#[test]
fn format_with_its_mark_far_from_the_start_counts_before_a_boot_sector() {
    let iso = "this is an ISO 9660 image, not an EROFS image; make an image of its files: \
               mkfs.erofs root.erofs DIR";
    let mut disk = vec![0x11; 80_000];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let boot = told(510, &[0x55, 0xaa], 80_000);
    assert!(boot.starts_with("unsupported image: this is a partition table or boot"), "{boot}");
    disk[32_769..][..5].copy_from_slice(b"CD001");
    let world = World::new(1);
    world.share_file("fs", "image", disk);
    let error = Guest::mount(world.attach(), "image=share:image", 1).map(|_| ()).unwrap_err();
    assert_eq!(error, format!("unsupported image: {iso}"));
    // A short file has no such places.
    assert!(told(0, b"\x7fELF", 100).starts_with("unsupported image: this is an ELF program"));
}

#[test]
fn damaged_superblock_is_no_other_format() {
    let mut disk = vec![0x11; 20_000];
    disk[1024..1028].copy_from_slice(&[0xe2, 0xe1, 0xf5, 0xe0]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(rootlet::blob::foreign(&disk), None);
    let error = told(1024, &disk[1024..1028], 20_000);
    assert_eq!(error, format!("corrupt image: {}", Corrupt::BlockBits(0x11)));
}

#[test]
fn what_has_no_known_signature_is_told_by_its_number() {
    let error = told(0, b"?", 9000);
    assert_eq!(error, format!("corrupt image: {}", Corrupt::Magic(0x1111_1111)));
}
