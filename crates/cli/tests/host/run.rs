//! One run of the tool over an image of a test.
//!
//! Always: image, blobs and output lie in one directory, which is gone when the test is.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rootlet_sim::image::{Built, Options, Tree, build};
use tempfile::TempDir;

/// An image and its blobs, to be damaged.
pub struct World {
    dir: TempDir,
    /// As they were built, or as a test has changed them.
    pub built: Built,
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status of the tool.
    pub status: i32,
    /// Lines of standard output.
    pub stdout: Vec<String>,
    /// Standard error.
    pub stderr: String,
}

impl World {
    /// An image of `tree`.
    pub fn new(tree: &Tree, options: &Options) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), built: build(tree, options).unwrap() }
    }

    /// Forty directories, each of which holds the next one under two names: a tree of 2^40 paths.
    pub fn doubling(options: &Options) -> Self {
        let mut tree = Tree::new();
        for level in 0..40 {
            tree.dir(format!("/{level}/a"));
            tree.dir(format!("/{level}/b"));
        }
        let mut world = Self::new(&tree, options);
        let image = &mut world.built.image;
        for level in 1..40 {
            let nid = image.nid(format!("/{level}"));
            for name in ["a", "b"] {
                let at = image.dirent_at(format!("/{}/{name}", level - 1));
                image.patch(at, &nid.to_le_bytes());
            }
        }
        world
    }

    /// A place beside the image.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `rootlet WORD IMAGE WORDS` over the image as it is now.
    pub fn run(&self, words: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rootlet"));
        let image = self.path("image");
        fs::write(&image, self.built.image.bytes()).unwrap();
        command.arg(words[0]).arg(image).args(&words[1..]);
        for (number, blob) in self.built.blobs.iter().enumerate() {
            let path = self.path(&format!("blob{number}"));
            blob.write_to(&path).unwrap();
            command.arg("--blob").arg(format!("{}={}", number + 1, path.display()));
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Outcome {
            status: output.status.code().unwrap(),
            // The bytes of a file need not be text.
            stdout: String::from_utf8_lossy(&output.stdout).lines().map(Into::into).collect(),
            stderr: text(&output.stderr),
        }
    }

    /// Extracts to `out`, with these words too.
    pub fn extract(&self, words: &[&str]) -> Outcome {
        let out = self.path("out");
        self.run(&[&["extract", out.to_str().unwrap()], words].concat())
    }
}
