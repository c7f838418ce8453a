//! A composefs image on each board: its objects lie on a share, and each is verified.

use std::ffi::OsString;
use std::fs;

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
