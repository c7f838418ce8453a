//! A small image with two blobs, made for one test and gone with it, and a board's guest.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rootlet_cli::host::guest_command;
use rootlet_cli::source::SourceArgs;
use rootlet_sim::image::{Built, Content, Options, Tree, build};
use tempfile::TempDir;

/// The image and its files.
pub struct Sample {
    dir: TempDir,
    built: Built,
}

impl Sample {
    /// Some three MiB of noise in 64 files over two blobs.
    pub fn new() -> Self {
        Self::of(1)
    }

    /// As `new`, with other bytes and another identity for another `seed`.
    pub fn of(seed: u64) -> Self {
        let mut tree = Tree::new();
        for number in 0..64_u64 {
            let size = [1, 4096, 70_000, 130_000][number as usize % 4];
            let content = Content::seeded(number ^ seed << 32, size);
            tree.file(format!("/d{}/{number:02}", number % 3), content);
        }
        tree.symlink("/link", "d0/03");
        let options = Options { blobs: 2, uuid: [seed as u8; 16], ..Options::default() };
        let built = build(&tree, &options).unwrap();
        let sample = Self { dir: tempfile::tempdir().unwrap(), built };
        sample.built.image.write_to(&sample.path("image")).unwrap();
        for (number, blob) in sample.built.blobs.iter().enumerate() {
            blob.write_to(&sample.path(&format!("blob{}", number + 1))).unwrap();
        }
        sample
    }

    /// The file of this name in the sample's folder: `image`, `blob1`, `blob2`, or a new one.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What `manifest /` has to print.
    pub fn manifest(&self) -> Vec<u8> {
        let blob = |slot: u32| format!("{slot}={}", self.path(&format!("blob{slot}")).display());
        let blobs = [1, 2].map(|slot| blob(slot).parse().unwrap());
        let source = SourceArgs { blob: blobs.into(), ..SourceArgs::default() };
        let mut out = Vec::new();
        let words = ["manifest", "/"].map(String::from);
        guest_command(Some(&self.path("image")), &source, &words, false, &mut out).unwrap();
        out
    }
}

/// Has the guest of the board microvm built, once for all tests of the process.
pub fn make_guest() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["run", "--quiet", "--package", "xtask", "--", "build", "--board", "microvm"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}
