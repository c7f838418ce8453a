//! A container image from its layout to a guest: unpacked to a disk with partitions, and booted with
//! its seal.
//!
//! An image of archives needs an mkfs.erofs that reads them, in PATH or named by MKFS_EROFS; without
//! one the test says so, and boots an image of EROFS layers.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use clap::Parser;
use rootlet_cli::interrupt::Interrupt;
use rootlet_cli::unpack::{UnpackArgs, task};

use crate::boot::{BOARDS, fails, host, passes};
use crate::oci::{EROFS, Layer, Layout, TINY, has_mkfs, sha256, three, zstd};

/// The words of `unpack`.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    unpack: UnpackArgs,
}

/// An image that was unpacked.
struct Unpacked {
    layout: Layout,
    /// The digest of its seal.
    root: String,
}

impl Unpacked {
    fn new(layers: &[Layer]) -> Self {
        let layout = Layout::of(layers);
        let image = format!("oci:{}", layout.path("l").display());
        let words = ["unpack".into(), image.into(), "--out".into(), layout.path("app.img").into()];
        let line = Line::try_parse_from::<_, OsString>(words).unwrap();
        task(&line.unpack, &Interrupt::default()).unwrap();
        let root = sha256(&fs::read(layout.path("app.img.seal")).unwrap());
        Self { layout, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.layout.path(name)
    }

    /// Returns the words that boot it.
    fn words(&self, more: &[&str]) -> Vec<OsString> {
        let disk = format!("{}@erofs-layer-*", self.path("app.img").display());
        let seal = self.path("app.img.seal");
        let root = self.root.as_str().into();
        let stack: [OsString; 6] =
            ["--layers".into(), disk.into(), "--seal".into(), seal.into(), "--root".into(), root];
        stack.into_iter().chain(more.iter().map(OsString::from)).collect()
    }
}

fn layers() -> Vec<Layer> {
    match has_mkfs() {
        true => three(),
        false => vec![zstd(EROFS, TINY), (EROFS.into(), TINY.into(), TINY.into())],
    }
}

#[test]
fn unpacked_image_boots_on_every_board_with_its_seal() {
    let unpacked = Unpacked::new(&layers());
    let manifest = ["--", "manifest", "/"];
    let rows = host(unpacked.words(&manifest));
    assert!(!rows.is_empty());
    for board in BOARDS {
        let words: Vec<OsString> = vec!["--board".into(), board.into()];
        let booted = passes([words, unpacked.words(&manifest)].concat());
        assert!(booted.stdout == rows, "{board}: {}", booted.stderr);
        assert!(booted.stderr.contains("digest  verified "), "{}", booted.stderr);
    }
}

#[test]
fn second_boot_of_an_unpacked_image_fetches_nothing() {
    let unpacked = Unpacked::new(&layers());
    let region = unpacked.path("region");
    let more =
        ["--region", region.to_str().unwrap(), "--region-size", "16M", "--", "manifest", "/"];
    let cold = passes(unpacked.words(&more));
    let warm = passes(unpacked.words(&more));
    assert!(cold.stdout == warm.stdout && !cold.stdout.is_empty());
    warm.assert_counter("fetched 0 bytes");
    for outcome in [&cold, &warm] {
        assert!(!outcome.stderr.contains("not kept"), "{}", outcome.stderr);
    }
}

#[test]
fn changed_byte_of_an_unpacked_disk_ends_the_boot() {
    let unpacked = Unpacked::new(&layers());
    let mut disk = fs::read(unpacked.path("app.img")).unwrap();
    // The first layer begins at the first mebibyte; its superblock is pinned as all else is.
    disk[(1 << 20) + 1024 + 16] ^= 1;
    fs::write(unpacked.path("app.img"), disk).unwrap();
    fails(unpacked.words(&["--", "ls", "/"]), "layer 1");
}
