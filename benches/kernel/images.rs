//! The images: text like that of sources, in two large files and 10,000 small ones.
//!
//! Always: the same bytes in every run. An image that mkfs.erofs here cannot make is left out, and named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rootlet_sim::Rng;
use rootlet_sim::image::Content;

use crate::Work;

/// The bytes of each large file.
pub const LARGE_BYTES: usize = 64 << 20;
/// Small files, and those of one directory.
const FILES: usize = 10_000;
const PER_DIR: usize = 100;

const ALL: &[Work] = &[Work::Sequential, Work::Random, Work::Files, Work::Walk];
/// A walk reads no data: it is that of the plain image.
const DECODED: &[Work] = &[Work::Sequential, Work::Random, Work::Files];

/// An image, and what is done with it.
pub struct Subject {
    /// Its name in the table.
    pub name: &'static str,
    /// Its file.
    pub image: PathBuf,
    /// What is measured.
    pub works: &'static [Work],
}

/// Returns the images that can be made here.
pub fn all() -> Vec<Subject> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-kernel");
    fs::create_dir_all(&dir).unwrap();
    let mut made = Vec::new();
    for (name, options, works) in [
        ("plain", &[][..], ALL),
        ("LZ4, 64 KiB", &["-zlz4hc,9", "-C65536"], DECODED),
        ("Zstandard, 64 KiB", &["-zzstd,level=3", "-C65536"], DECODED),
    ] {
        match make(&dir, name, options) {
            Ok(image) => made.push(Subject { name, image, works }),
            Err(why) => println!("{name}: left out: {why}"),
        }
    }
    made
}

/// Makes an image by mkfs.erofs, or takes that of an earlier run.
fn make(dir: &Path, name: &str, options: &[&str]) -> Result<PathBuf, String> {
    let image = dir.join(format!("{}.erofs", name.replace([' ', ','], "-")));
    if image.exists() {
        return Ok(image);
    }
    let tree = dir.join("tree");
    if !tree.exists() {
        write(&dir.join("tree.new"));
        fs::rename(dir.join("tree.new"), &tree).unwrap();
    }
    let new = image.with_extension("new");
    let mkfs = std::env::var_os("MKFS_EROFS").unwrap_or("mkfs.erofs".into());
    let ran = Command::new(mkfs)
        .args(options)
        .args(["-T0", "-U00000000-0000-0000-0000-000000000000"])
        .args([&new, &tree])
        .output()
        .map_err(|error| format!("mkfs.erofs: {error}"))?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        let _ = fs::remove_file(&new);
        return Err(format!("mkfs.erofs: {}", said.lines().next().unwrap_or_default()));
    }
    fs::rename(&new, &image).unwrap();
    Ok(image)
}

fn write(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
    let rng = &mut Rng::new(7);
    for half in 0..crate::THREADS {
        fs::create_dir_all(dir.join(format!("{half}"))).unwrap();
        let large = Content::words(half as u64, LARGE_BYTES).to_vec();
        fs::write(dir.join(format!("large{half}")), large).unwrap();
    }
    for number in 0..FILES {
        let place = number / PER_DIR;
        let home = dir.join(format!("{}/{place:02}", place % crate::THREADS));
        fs::create_dir_all(&home).unwrap();
        // From 0 bytes to 64 KiB, half of them below 2 KiB.
        let bits = 6 + rng.below(11);
        let bytes = Content::words(rng.next_u64(), rng.index(1 << bits)).to_vec();
        fs::write(home.join(format!("file-{number:05}")), bytes).unwrap();
    }
}
