//! What both guests read.
//!
//! Always: made once, the same every time; both guests get the same files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rootlet_sim::Rng;
use rootlet_sim::image::{Spread, Tree};

use crate::sample::fixture::{Fixture, Recipe};
use crate::sample::tree;
use rootlet_cli::interrupt::Interrupt;

/// The blob, which is a disk and a file of the share.
pub const BLOB: &str = "disk.blob";
/// Bytes of the compressed file.
const PACKED_BYTES: usize = 128 << 20;

static RECIPE: Recipe = Recipe {
    folder: "rootlet-peer/files",
    tree: tree_of_race,
    chunk_bits: tree::CHUNK_BITS,
    spread: Spread::ByFile,
    blobs: &[BLOB],
    region_bytes: 640 << 20,
};

/// Returns a large file, and ten thousand small ones.
fn tree_of_race() -> Tree {
    let mut rng = Rng::new(0x7065_6572);
    let mut tree = Tree::new();
    tree.file("/disk.bin", tree::noise(&mut rng, 256 << 20));
    for number in 0..10_000_u64 {
        let size = 64 + rng.next_u64() % 4000;
        tree.file(format!("/many/{:02}/{number:05}", number % 100), tree::noise(&mut rng, size));
    }
    tree
}

/// The files of a race.
pub struct Fixtures {
    /// The image with its blob, share and region.
    pub plain: Fixture,
    /// An image with one file, `/packed.bin`, in LZ4 with physical clusters of 64 KiB.
    pub packed: PathBuf,
}

impl Fixtures {
    /// Makes the files, or takes those that are there.
    pub fn make(interrupt: &Interrupt) -> Result<Self> {
        let plain = Fixture::make(&RECIPE, interrupt)?;
        let packed = plain.dir.join("packed.erofs");
        if !packed.exists() {
            pack(&plain.dir, &packed)?;
        }
        Ok(Self { plain, packed })
    }
}

/// Returns text that compresses about as programs do: words out of few, with noise among them.
fn text(bytes: usize) -> Vec<u8> {
    let mut rng = Rng::new(0x7061_636b);
    let words: Vec<Vec<u8>> = (0..512)
        .map(|_| (0..4 + rng.next_u64() % 12).map(|_| rng.next_u64().to_le_bytes()[0]).collect())
        .collect();
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        let number = rng.next_u64();
        match number % 5 {
            0 => text.extend_from_slice(&number.to_le_bytes()),
            _ => text.extend_from_slice(&words[(number >> 8) as usize % words.len()]),
        }
    }
    text.truncate(bytes);
    text
}

fn pack(dir: &Path, image: &Path) -> Result<()> {
    eprintln!("making {}", image.display());
    let source = tempfile::tempdir_in(dir)?;
    fs::write(source.path().join("packed.bin"), text(PACKED_BYTES))?;
    let unfinished = image.with_extension("unfinished");
    let output = Command::new("mkfs.erofs")
        .args(["-zlz4hc", "-C65536", "-T1750000000", "-U70656572-7065-6572-7065-657270656572"])
        .args(["-x-1", "--all-root"])
        .arg(&unfinished)
        .arg(source.path())
        .stdin(Stdio::null())
        .output()
        .context("mkfs.erofs")?;
    if !output.status.success() {
        bail!("mkfs.erofs: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    fs::rename(unfinished, image).context("the packed image")
}
