//! Bad input on the board: words that say what is wrong, a failing status, and no hang.

use std::ffi::OsString;
use std::fs;

use rootlet_sim::image::SUPERBLOCK_AT;

use crate::boot::{boot, fails, passes};
use crate::sample::Sample;

const LS: [&str; 3] = ["--", "ls", "/"];

#[test]
fn missing_image_is_told_with_the_disks_that_there_are() {
    let sample = Sample::new();
    let disk = |serial: &str| format!("{serial}={},ro", sample.path("image").display());
    let (one, two) = (disk("one"), disk("two"));
    let outcome = fails(
        ["--disk", &one, "--disk", &two, "--", "ls", "/"],
        "no image given (image=SERIAL); the disks are one, two",
    );
    assert_eq!(outcome.stdout, b"");
    let named = ["--disk", &one, "--guest-option", "image=three", "--", "ls", "/"];
    fails(named, "the image (disk three): not found");
}

#[test]
fn damaged_superblocks_are_told_with_their_values() {
    let mut sample = Sample::new();
    sample.built.image.patch(SUPERBLOCK_AT + 64, b"other name");
    sample.write();
    fails(sample.args(&LS), "corrupt image: superblock checksum 0x");

    let mut sample = Sample::new();
    sample.built.image.patch(SUPERBLOCK_AT + 80, &[0x0c, 0x04]).fix_checksum();
    sample.write();
    fails(sample.args(&LS), "unsupported image: incompatible features unknown bits 0x400");

    let sample = Sample::new();
    fs::write(sample.path("image"), [0; 8192]).unwrap();
    fails(sample.args(&LS), "corrupt image: magic 0x00000000 at byte 0x400, not 0xe0f5e1e2");
}

#[test]
fn image_longer_than_its_device_is_read_to_the_end_of_the_device() {
    let mut sample = Sample::new();
    let says = sample.built.image.bytes().len() as u64;
    sample.built.image.resize(says - 4096);
    sample.write();
    fails(sample.args(&LS), "at byte 0x2500 of device slot 0, whose blob has 0x2000");
}

#[test]
fn missing_and_short_blobs_are_told_with_their_slot() {
    let sample = Sample::new();
    let image: OsString = sample.path("image").into();
    let one = format!("1={}", sample.path("blob1").display());
    let words = "blob of slot 2: none given (blob2=...), and the slot has no tag to find it by";
    let args = ["--image".into(), image, "--blob".into(), OsString::from(one)];
    fails(args.into_iter().chain(LS.map(OsString::from)), words);

    let need = sample.built.blobs[1].bytes();
    let blob = fs::File::options().write(true).open(sample.path("blob2")).unwrap();
    blob.set_len(need - 4096).unwrap();
    let got = need - 4096;
    let words = format!("blob of slot 2 is too short: {got} bytes, the slot needs {need}");
    fails(sample.args(&LS), &words);
}

#[test]
fn two_disks_with_one_serial_are_not_guessed_between() {
    let sample = Sample::new();
    let file = sample.path("blob2");
    let drive = format!("if=none,id=twin,file={},format=raw,readonly=on", file.display());
    let twin = ["-drive", &drive, "-device", "virtio-blk-device,drive=twin,serial=blob2"];
    let mut args: Vec<&str> = twin.iter().flat_map(|word| ["--qemu-arg", word]).collect();
    args.extend(LS);
    fails(sample.args(&args), "blob of slot 2 (disk blob2): 2 disks have this serial");
}

#[test]
fn command_line_that_makes_no_sense_is_refused_by_the_guest() {
    let sample = Sample::new();
    for (option, words) in [
        ("blob7=image", "a blob is given for slot 7, the image has 2 device slots"),
        ("deadline=0", "expected a number of seconds, at least 1"),
        ("imgae=1", "unknown word \"imgae=1\"; did you mean image=?"),
        ("image=twice", "is given a second time"),
    ] {
        fails(sample.args(&[&["--guest-option", option][..], &LS].concat()), words);
    }
}

#[test]
fn word_that_is_nobodys_is_passed_over_and_told() {
    let sample = Sample::new();
    let outcome = passes(sample.args(&[&["--guest-option", "frob=1"][..], &LS].concat()));
    let told = "command line: \"frob=1\" is no setting, and passed over";
    assert_eq!(outcome.stderr.lines().filter(|line| *line == told).count(), 1, "{outcome:?}");
}

#[test]
fn command_line_that_cannot_be_read_whole_is_refused_by_the_guest() {
    let sample = Sample::new();
    let long = format!("log={}", "x".repeat(12 << 10));
    let words = "bytes, there is room for 12288";
    fails(sample.args(&[&["--guest-option", &long][..], &LS].concat()), words);
}

#[test]
fn memory_that_does_not_hold_the_firmware_is_refused_at_once() {
    let sample = Sample::new();
    for mem in ["1M", "1700K"] {
        let outcome = boot(sample.args(&[&["--mem", mem][..], &LS].concat()));
        assert_eq!(outcome.status, Some(2), "{}", outcome.stderr);
        assert!(outcome.verdict().contains("the board's image alone needs"), "{}", outcome.stderr);
    }
    let words = "KiB beside the firmware, mounting needs 1024";
    fails(sample.args(&[&["--mem", "2700K"][..], &LS].concat()), words);
    fails(sample.args(&[&["--mem", "3700K"][..], &LS].concat()), "decoding needs ");
}

#[test]
fn directory_that_contains_itself_ends_in_an_error() {
    let mut sample = Sample::new();
    let (at, nid) = (sample.built.image.dirent_at("/d1"), sample.built.image.nid("/"));
    sample.built.image.patch(at, &nid.to_le_bytes());
    sample.write();
    let words = format!("corrupt image: directory nid {nid} lies inside itself");
    fails(sample.args(&["--", "sum", "/"]), &words);
}

#[test]
fn one_bad_inode_costs_one_row_and_is_told_beside_the_others() {
    let mut sample = Sample::new();
    let whole = String::from_utf8(passes(sample.args(&["--", "sum", "/d0"])).stdout).unwrap();
    let nid = sample.built.image.nid("/d0/03");
    let inode = sample.built.image.inode_at("/d0/03");
    sample.built.image.patch(inode + 4, &[0, 0]);
    sample.write();
    let words = format!("/d0/03: corrupt image: mode 0o0 of nid {nid} has no file type");
    let outcome = fails(sample.args(&["--", "sum", "/d0"]), &words);
    let rows = String::from_utf8(outcome.stdout).unwrap();
    let left: Vec<&str> = whole.lines().filter(|row| !row.ends_with("/d0/03")).collect();
    assert_eq!(rows.lines().collect::<Vec<_>>(), left);
    // Once as it happens, once in the verdict.
    let told: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains(&words)).collect();
    assert_eq!(told.len(), 2, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("error   1 row is absent\n"), "{}", outcome.stderr);
}

#[test]
fn source_that_fails_its_reads_fails_the_command_that_needs_them() {
    let sample = Sample::new();
    let config = sample.path("blkdebug.conf");
    fs::write(&config, "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\n").unwrap();
    let config = format!("blob2={}", config.display());
    let blkdebug = ["--blkdebug", config.as_str()];
    fails(
        sample.args(&[&blkdebug[..], &["--", "sum", "/"]].concat()),
        "the device reported error ",
    );
    passes(sample.args(&[&blkdebug[..], &LS].concat()));
}
