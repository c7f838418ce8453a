//! A small image with two blobs, made for one test and gone with it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rootlet_sim::image::{Built, Content, Options, Tree, build};
use tempfile::TempDir;

/// The image and its files.
pub struct Sample {
    dir: TempDir,
    /// The image and the blobs, to be damaged.
    pub built: Built,
    /// What they were made of.
    pub tree: Tree,
}

impl Sample {
    /// Returns some three MiB of noise in 64 files over two blobs.
    pub fn new() -> Self {
        Self::of(1)
    }

    /// Returns what `new` does, with other bytes and another identity for another `seed`.
    pub fn of(seed: u64) -> Self {
        let mut tree = Tree::new();
        for number in 0..64_u64 {
            let size = [1, 4096, 70_000, 130_000][number as usize % 4];
            tree.file(
                format!("/d{}/{number:02}", number % 3),
                Content::seeded(number ^ seed << 32, size),
            );
        }
        tree.symlink("/link", "d0/03");
        Self::from_tree(tree, seed as u8)
    }

    /// Returns an image of `tree`.
    pub fn from_tree(tree: Tree, identity: u8) -> Self {
        let options = Options { blobs: 2, uuid: [identity; 16], ..Options::default() };
        let built = build(&tree, &options).unwrap();
        let sample = Self { dir: tempfile::tempdir().unwrap(), built, tree };
        sample.write();
        sample
    }

    /// Writes image and blobs as they are now.
    pub fn write(&self) {
        self.built.image.write_to(&self.path("image")).unwrap();
        for (number, blob) in self.built.blobs.iter().enumerate() {
            blob.write_to(&self.path(&format!("blob{}", number + 1))).unwrap();
        }
    }

    /// Returns the file of this name in the sample's folder: `image`, `blob1`, `blob2`, or a new
    /// one.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Arguments that name the image and both blobs, before the `more` ones.
    pub fn args(&self, more: &[&str]) -> Vec<OsString> {
        let blob = |slot: u32| format!("{slot}={}", self.path(&format!("blob{slot}")).display());
        let mut args: Vec<OsString> = vec!["--image".into(), self.path("image").into()];
        for slot in [1, 2] {
            args.extend(["--blob".into(), blob(slot).into()]);
        }
        args.extend(more.iter().map(OsString::from));
        args
    }

    /// Arguments with a region in the file `region` too.
    pub fn cached(&self, more: &[&str]) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--region".into(), self.path("region").into()];
        args.extend(["--region-size", "16M"].map(OsString::from));
        args.extend(self.args(more));
        args
    }

    /// Returns what `manifest /` has to print.
    pub fn manifest(&self) -> Vec<u8> {
        crate::boot::host(self.args(&["--", "manifest", "/"]))
    }

    /// Makes the file `region` hold exactly these bytes.
    pub fn fill_region(&self, bytes: &[u8]) {
        fs::write(self.path("region"), bytes).unwrap();
    }
}
