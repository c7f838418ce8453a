//! A composefs image on each board: its objects lie on a share, and each is verified.

use std::ffi::OsString;
use std::fs;

use rootlet_sim::image::{Options, Tree, build};

use crate::boot::{BOARDS, fails, host, passes};

const DIGEST: &str = "2b6c7f466e20a2f925a3f7c0310f49bb75f048be41eb35e048831c42ecb5215a";
const APP: &str = "objects/7e/2050d96347acf907be77f6371a5f31752226d476c1e52e40e8e67e6db0008f";

fn args(dir: &tempfile::TempDir, more: &[&str]) -> Vec<OsString> {
    let path = |name: &str| dir.path().join(name).into_os_string();
    let mut args = vec!["--image".into(), path("image.cfs"), "--objects".into(), path("objects")];
    args.extend(more.iter().map(OsString::from));
    args
}

#[test]
fn composefs_image_is_read_on_every_board_as_on_the_host() {
    let dir = tempfile::tempdir().unwrap();
    rootlet_golden::composefs(dir.path());
    let pin = format!("composefs.digest=v1-sha256-12:{DIGEST}");
    let expected = host(args(&dir, &["--", "manifest", "/usr"]));
    assert!(String::from_utf8_lossy(&expected).contains("748959cc4837183e0d68528e2ec0a527"));
    for board in BOARDS {
        let more = ["--board", board, "--guest-option", &pin, "--", "manifest", "/usr"];
        assert!(passes(args(&dir, &more)).stdout == expected, "{board}");
    }
    let other = pin.replace("2b6c", "2b6d");
    let more = ["--guest-option", &other, "--", "ls", "/"];
    fails(args(&dir, &more), "image: size and root hash: sha256 2b6c7f46");
}

#[test]
fn objects_on_a_disk_are_kept_in_a_region() {
    let dir = tempfile::tempdir().unwrap();
    rootlet_golden::composefs(dir.path());
    let objects = Tree::from_host(&dir.path().join("objects")).unwrap();
    let objects = build(&objects, &Options::default()).unwrap();
    let path = |name: &str| dir.path().join(name).into_os_string();
    fs::write(path("objects.img"), objects.image.bytes()).unwrap();
    let expected = host(args(&dir, &["--", "manifest", "/"]));
    let mut words = vec!["--image".into(), path("image.cfs")];
    words.extend(["--objects".into(), path("objects.img"), "--region".into(), path("region")]);
    words.extend(["--region-size", "8M", "--", "manifest", "/"].map(OsString::from));
    let cold = passes(words.clone());
    let warm = passes(words);
    assert!(cold.stdout == expected && warm.stdout == expected, "{}", warm.stderr);
    warm.assert_counter("fetched 0 bytes");
}

#[test]
fn what_a_stack_lacks_is_told_by_the_guest() {
    let dir = tempfile::tempdir().unwrap();
    rootlet_golden::composefs(dir.path());
    for (name, bytes) in rootlet_golden::layers() {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (image, gpt) = (path("image.cfs"), path("gpt.img"));
    let bare = ["--image", &image, "--", "cat", "/usr/bin/app"];
    fails(bare, "its bytes are in the object 7e2050d9");
    let none = format!("{gpt}@none-*");
    fails(["--layers", &none, "--", "ls", "/"], "its GPT has no such partition");
}

#[test]
fn object_that_is_wrong_or_absent_fails_the_guest_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    rootlet_golden::composefs(dir.path());
    let app = dir.path().join(APP);
    let mut bytes = fs::read(&app).unwrap();
    bytes[50_000] ^= 1;
    fs::write(&app, bytes).unwrap();
    let cat = ["--", "cat", "/usr/bin/app"];
    let failed = fails(args(&dir, &cat), "its bytes have another digest");
    assert!(failed.stdout.is_empty());
    fs::remove_file(&app).unwrap();
    fails(args(&dir, &cat), "object 7e2050d96347acf9");
    let failed = fails(args(&dir, &cat), "it is not among the objects");
    assert!(failed.stdout.is_empty());
    assert_eq!(passes(args(&dir, &["--", "cat", "/etc/motd"])).stdout.len(), 200);
}
