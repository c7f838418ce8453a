//! `region`: output, faults, refusals and changes, through the tool itself.
//!
//! Always: the regions are made by the library as a guest would, with a fixed identity.

mod check;
mod format;
mod key;
mod partition;
mod show;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions};
use rootlet::read::Root;
use rootlet::storage::Storage;
use rootlet::storage::file::FileStorage;
use rootlet_sim::image::{Content, Options, Spread, Tree, build};
use tempfile::TempDir;

use crate::run::Outcome;

/// Length of a region.
const BYTES: u64 = 4 << 20;

/// A directory with a region in use, and the files that were read into it.
struct Scene {
    dir: TempDir,
}

/// Two files of which one is read to its end and of the other every third window.
fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.file("/whole", Content::seeded(1, 300_000));
    tree.file("/parts", Content::seeded(2, 900_000));
    tree
}

impl Scene {
    /// A blank file of the length of a region.
    fn blank() -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap() };
        fs::File::create(scene.region()).unwrap();
        scene.cut(BYTES);
        scene
    }

    /// A region that one mount has used.
    fn used() -> Self {
        let scene = Self::blank();
        scene.fill(&scene.region(), 0, None);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn region(&self) -> PathBuf {
        self.path("region.img")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.region()).unwrap()
    }

    /// Makes the region's file hold these bytes.
    fn write(&self, bytes: &[u8]) {
        fs::write(self.region(), bytes).unwrap();
        let_go(&self.region());
    }

    /// Makes the region's file as long as this.
    fn cut(&self, bytes: u64) {
        let file = fs::File::options().write(true).open(self.region()).unwrap();
        file.set_len(bytes).unwrap();
        drop(file);
        let_go(&self.region());
    }

    /// Mounts over the part of `disk` and reads.
    fn fill(&self, disk: &Path, start: u64, bytes: Option<u64>) {
        let options = Options {
            blobs: 2,
            spread: Spread::ByFile,
            tags: vec![b"parts.blob".to_vec(), b"whole.blob".to_vec()],
            ..Options::default()
        };
        let built = build(&tree(), &options).unwrap();
        let mut storage = FileStorage::new();
        let image = self.path("image");
        fs::write(&image, built.image.bytes()).unwrap();
        let image = storage.add_disk("image", &image, true).unwrap();
        for (number, blob) in built.blobs.iter().enumerate() {
            let path = self.path(&format!("blob{number}"));
            blob.write_to(&path).unwrap();
            storage.add_disk(&format!("blob{number}"), &path, true).unwrap();
        }
        let device = storage.add_disk("cache", disk, false).unwrap();
        let image = Image::read(&storage, image).unwrap();
        let names = [(1, SourceName::Disk("blob0")), (2, SourceName::Disk("blob1"))];
        let sources = image.bind(&mut storage, &names).unwrap();
        let options = CacheOptions::new(device, [7; 16]).with_start(start).with_bytes(bytes);
        let cache = Cache::open(&storage, &options).unwrap();
        let root = Root::new(storage, Some(cache), &image, &sources).unwrap();
        let mut out = vec![0; 300_000];
        assert_eq!(root.open(b"/whole").unwrap().read_at(0, &mut out).unwrap(), out.len());
        for at in (0..900_000).step_by(3 << 16) {
            root.open(b"/parts").unwrap().read_at(at, &mut out[..20_000]).unwrap();
        }
        root.with_layer(|cache, storage| {
            let end = storage.now_ns() + 60_000_000_000;
            assert!(cache.as_mut().unwrap().leave(storage, end));
        });
        drop(root);
        let_go(disk);
    }

    /// Runs `region FILE words`.
    fn run(&self, words: &[&str]) -> Outcome {
        region(self.region().to_str().unwrap(), words)
    }

    /// Runs it, and expects the exit status.
    #[track_caller]
    fn expect(&self, words: &[&str], status: i32) -> Outcome {
        let outcome = self.run(words);
        assert_eq!(outcome.status, status, "{outcome:?}");
        outcome
    }
}

/// Puts a copy in the place of `file` that this process never had open. A child that another test
/// has forked, until it becomes its program, holds all that this process has open, and would be
/// found as one that writes to the file.
fn let_go(file: &Path) {
    let copy = file.with_extension("copy");
    let mut command = Command::new("cp");
    assert!(command.arg("--sparse=always").args([file, &copy]).status().unwrap().success());
    fs::rename(copy, file).unwrap();
}

/// Runs `region place words`.
fn region(place: &str, words: &[&str]) -> Outcome {
    tool(&[&["region", place], words].concat())
}

fn tool(words: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Outcome {
        status: output.status.code().unwrap(),
        stdout: text(&output.stdout).lines().map(Into::into).collect(),
        stderr: text(&output.stderr),
    }
}
