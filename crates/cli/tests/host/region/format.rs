//! Formatting: what is refused, and that a refusal writes nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{BYTES, Scene};

/// Formats, expects a refusal with these words, and that the file is as it was.
#[track_caller]
fn refused(scene: &Scene, words: &str) {
    let before = scene.bytes();
    let outcome = scene.expect(&["format"], 1);
    assert!(outcome.stderr.contains(words), "{words}: {outcome:?}");
    assert!(outcome.stderr.contains("--force"), "{outcome:?}");
    assert!(before == scene.bytes(), "{words}: the file was written");
}

/// A blank file with `data` at byte `at`.
fn with(at: usize, data: &[u8]) -> Scene {
    let scene = Scene::blank();
    let mut bytes = scene.bytes();
    bytes[at..at + data.len()].copy_from_slice(data);
    scene.write(&bytes);
    scene
}

#[test]
fn blank_file_is_formatted_with_the_slots_that_are_asked_for() {
    for (words, slots) in [
        (&["format"][..], "61 slots of 64 KiB"),
        (&["format", "--slot", "256K"], "15 slots of 256 KiB"),
        (&["format", "--slot", "1M"], "3 slots of 1024 KiB"),
    ] {
        let scene = Scene::blank();
        let formatted = scene.expect(words, 0).stdout.join("\n");
        assert!(formatted.contains(slots), "{formatted}");
        assert!(scene.expect(&["check"], 0).stdout[0].ends_with(" 0 faults"));
        // What a guest finds there is what was formatted.
        scene.fill(&scene.region(), 0, None);
        assert!(scene.expect(&[], 0).stdout.join("\n").contains(slots));
    }
}

#[test]
fn file_that_is_not_there_is_told_with_the_command_that_makes_it() {
    let scene = Scene::blank();
    std::fs::remove_file(scene.region()).unwrap();
    for words in [&[][..], &["check"], &["format"]] {
        let outcome = scene.expect(words, 2);
        let told = ["no such file; `truncate -s 64M ", "` makes a disk for a region"];
        assert!(told.iter().all(|told| outcome.stderr.contains(told)), "{outcome:?}");
    }
    assert!(!scene.region().exists());
}

#[test]
fn region_is_formatted_anew_only_by_force() {
    let scene = Scene::used();
    refused(&scene, "the area holds the region 0707070707");
    scene.expect(&["format", "--force"], 0);
    assert!(!scene.expect(&[], 0).stdout.join("\n").contains("whole.blob"));
}

#[test]
fn foreign_data_is_named_and_left_alone() {
    let known: [(usize, &[u8], &str); 22] = [
        (510, &[0x55, 0xaa], "a partition table or boot sector"),
        (512, b"EFI PART", "a GPT partition table"),
        (4096, b"EFI PART", "a GPT partition table"),
        (BYTES as usize - 512, b"EFI PART", "the backup of a GPT"),
        (0, b"LUKS\xba\xbe", "a LUKS volume"),
        (16_384, b"SKUL\xba\xbe", "a LUKS volume"),
        (1080, &[0x53, 0xef], "an ext2, ext3 or ext4 file system"),
        (0, b"XFSB", "an XFS file system"),
        (65_600, b"_BHRfS_M", "a btrfs file system"),
        (1024, &[0x10, 0x20, 0xf5, 0xf2], "an F2FS file system"),
        (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "an EROFS image"),
        (0, b"hsqs", "a squashfs image"),
        (82, b"FAT32   ", "a FAT file system"),
        (3, b"EXFAT   ", "an exFAT file system"),
        (3, b"NTFS    ", "an NTFS file system"),
        (32, b"NXSB", "an APFS container"),
        (4086, b"SWAPSPACE2", "a swap area"),
        (512, b"LABELONE", "an LVM volume"),
        (4096, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member"),
        (BYTES as usize - 8192, &[0xfc, 0x4e, 0x2b, 0xa9], "an md RAID member"),
        (32_769, b"CD001", "an ISO 9660 image"),
        (0, b"QFI\xfb", "a qcow2 image"),
    ];
    for (at, magic, name) in known {
        let scene = with(at, magic);
        refused(&scene, &format!("the area holds {name}"));
        let shown = scene.expect(&[], 1);
        assert!(shown.stderr.contains(name), "{shown:?}");
    }
    refused(&with(100_000, b"notes"), "the area holds unknown data");
}

#[test]
fn what_is_not_ours_is_formatted_by_force() {
    let scene = with(1080, &[0x53, 0xef]);
    scene.expect(&["format", "--force"], 0);
    scene.fill(&scene.region(), 0, None);
    scene.expect(&["check"], 0);
}

/// Makes a real file system, where its maker is installed.
fn made(scene: &Scene, program: &str, words: &[&str]) -> bool {
    let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let found = found.map(|dir| Path::new(dir).join(program)).into_iter().find(|it| it.exists());
    let Some(program) = found else { return false };
    let mut command = Command::new(program);
    command.args(words).arg(scene.region()).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

#[test]
fn file_systems_of_their_own_makers_are_left_alone() {
    for (program, words, name) in [
        ("mkfs.ext4", &["-q", "-F"][..], "an ext2, ext3 or ext4 file system"),
        ("mkfs.xfs", &["-q", "-f"], "an XFS file system"),
        ("mkfs.vfat", &[], "a FAT file system"),
        ("mkswap", &[], "a swap area"),
    ] {
        let scene = Scene::blank();
        if made(&scene, program, words) {
            refused(&scene, name);
        }
    }
}

#[test]
fn region_of_another_place_is_left_alone() {
    let scene = Scene::used();
    let bytes = scene.bytes();
    // The same region 64 KiB further on says that it starts elsewhere.
    let moved = [vec![0; 65_536], bytes].concat();
    scene.write(&moved);
    let place = format!("{}@128+8000", scene.region().display());
    let outcome = super::region(&place, &["format"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("the region says it starts at byte 0x0"), "{outcome:?}");
}
