//! The images that are read: one tree in several layouts, and golden images by request.
//!
//! Always: the same tree in every run. What mkfs.erofs here cannot make is left out, and said.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rootlet_sim::image::{Content, FileLayout, Inodes, Options, Tree, build};

use crate::{Numbers, PER_PASS, RANDOM_BYTES};

/// Files of the tree besides the large one.
const FILES: usize = 10_000;
/// Files of one directory.
const PER_DIR: usize = 100;
const LARGE: &str = "/large";
const LARGE_BYTES: usize = 16 << 20;

/// An image, and what to read in it.
pub struct Subject {
    /// Its name in the results.
    pub name: String,
    /// The image.
    pub bytes: Vec<u8>,
    /// The path of every regular file.
    pub files: Vec<Vec<u8>>,
    /// The path of a file of `large_bytes`, for random reads.
    pub large: Vec<u8>,
    /// Its size.
    pub large_bytes: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Everything below the root.
    pub entries: u64,
}

impl Subject {
    /// Paths in no order.
    pub fn some_paths(&self) -> Vec<Vec<u8>> {
        let mut numbers = Numbers(0x5eed);
        (0..PER_PASS).map(|_| self.files[numbers.below(self.files.len())].clone()).collect()
    }

    /// Places of the large file, each a multiple of the bytes read there.
    pub fn some_places(&self) -> Vec<u64> {
        let mut numbers = Numbers(0xbead);
        let count = self.large_bytes as usize / RANDOM_BYTES;
        (0..PER_PASS).map(|_| (numbers.below(count) * RANDOM_BYTES) as u64).collect()
    }
}

/// All that can be had.
pub fn all() -> Vec<Subject> {
    let tree = tree();
    let options =
        Options { layout: FileLayout::Inline, inodes: Inodes::Compact, ..Options::default() };
    let plain = build(&tree, &options).unwrap().image.into_bytes();
    let mut subjects = vec![of_tree("plain", plain, &tree)];
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-read");
    for (name, options) in [
        ("lz4hc 64K", &["-zlz4hc", "-C65536"][..]),
        ("zstd", &["-zzstd"]),
        ("zstd 64K", &["-zzstd", "-C65536"]),
    ] {
        match made(&dir, name, options, &tree) {
            Ok(bytes) => subjects.push(of_tree(name, bytes, &tree)),
            Err(why) => eprintln!("{name}: left out: {why}"),
        }
    }
    subjects.extend(golden());
    subjects
}

/// Text of words, as compressible as sources are, in files of many sizes.
fn tree() -> Tree {
    let mut numbers = Numbers(0x7ee);
    let mut tree = Tree::new();
    for number in 0..FILES {
        // From 0 bytes to 64 KiB, half of them below 2 KiB.
        let bits = 6 + numbers.below(11);
        let bytes = numbers.below(1 << bits);
        let path = format!("/d{:02}/file-{number:05}.txt", number / PER_DIR);
        tree.file(path, Content::bytes(text(&mut numbers, bytes)));
    }
    tree.file(LARGE, Content::bytes(text(&mut numbers, LARGE_BYTES)));
    tree
}

fn text(numbers: &mut Numbers, bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        // Low numbers more often than high ones: frequent words, and some noise.
        let rank = numbers.below(2000);
        let word = numbers.below(1 + rank);
        text.extend_from_slice(format!("{:x} ", word * 0x9e37).as_bytes());
    }
    text.truncate(bytes);
    text
}

fn of_tree(name: &str, bytes: Vec<u8>, tree: &Tree) -> Subject {
    let rows = tree.walk();
    let contents = rows.iter().filter_map(|(path, _)| Some((path, tree.content(path)?.size())));
    let files: Vec<_> = contents.collect();
    Subject {
        name: name.into(),
        bytes,
        files: files.iter().map(|(path, _)| (*path).clone()).collect(),
        large: LARGE.into(),
        large_bytes: LARGE_BYTES as u64,
        file_bytes: files.iter().map(|(_, size)| size).sum(),
        entries: rows.len() as u64 - 1,
    }
}

/// An image of the tree by mkfs.erofs, kept for the next run.
fn made(dir: &Path, name: &str, options: &[&str], tree: &Tree) -> Result<Vec<u8>, String> {
    let image = dir.join(format!("{}.erofs", name.replace(' ', "-")));
    if !image.exists() {
        let source = dir.join("tree");
        if !source.exists() {
            write(tree, &dir.join("tree.new"));
            fs::rename(dir.join("tree.new"), &source).unwrap();
        }
        let new = image.with_extension("new");
        let ran = Command::new("mkfs.erofs")
            .args(options)
            .args(["-T0", "-U00000000-0000-0000-0000-000000000000"])
            .args([&new, &source])
            .output()
            .map_err(|error| format!("mkfs.erofs: {error}"))?;
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            return Err(format!("mkfs.erofs: {}", said.lines().next().unwrap_or_default()));
        }
        fs::rename(&new, &image).unwrap();
    }
    fs::read(&image).map_err(|error| error.to_string())
}

fn write(tree: &Tree, dir: &Path) {
    let _ = fs::remove_dir_all(dir);
    for (path, _) in tree.walk() {
        let host = dir.join(std::ffi::OsStr::from_bytes(&path[1..]));
        match tree.content(&path) {
            Some(content) => fs::write(&host, content.to_vec()).unwrap(),
            None => fs::create_dir_all(&host).unwrap(),
        }
    }
}

/// The golden images with codecs, from the set that ROOTLET_GOLDEN names.
fn golden() -> Vec<Subject> {
    let Some(dir) = std::env::var_os("ROOTLET_GOLDEN").map(PathBuf::from) else {
        return Vec::new();
    };
    let rows = fs::read_to_string(dir.join("manifest.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> =
        rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let files: Vec<(&str, u64)> = rows
        .iter()
        .filter(|row| row["sha256"].is_string())
        .map(|row| (row["path"].as_str().unwrap(), row["size"].as_u64().unwrap()))
        .collect();
    let (large, large_bytes) = *files.iter().max_by_key(|(_, size)| *size).unwrap();
    let names = ["plain", "lz4hc-64k", "zstd", "deflate"];
    names
        .map(|name| Subject {
            name: format!("golden {name}"),
            bytes: fs::read(dir.join(format!("images/{name}.erofs"))).unwrap(),
            files: files.iter().map(|(path, _)| path.as_bytes().to_vec()).collect(),
            large: large.into(),
            large_bytes,
            file_bytes: files.iter().map(|(_, size)| size).sum(),
            entries: rows.len() as u64 - 1,
        })
        .into()
}
