//! What is fuzzed: for each target a function that takes any bytes and panics when a promise of
//! the library is broken. cargo-fuzz calls them (`fuzz/`), and so does `cargo test`, with the
//! seeds of `tests/data/seeds` and what [`mutate`] makes of them.
//!
//! Always: a target's outcome depends on its bytes alone; each ends in bounded work.

use std::path::{Path, PathBuf};
use std::{fs, io};

mod codec;
mod fuse;
mod golden;
mod handover;
mod image;
mod input;
mod map;
mod memory;
pub mod mutate;
mod region;
mod verity;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, in `fuzz/` and of its folder of seeds.
    pub name: &'static str,
    /// The use that it makes of any bytes, for a person.
    pub what: &'static str,
    /// Does it; panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Most bytes of an input that are worth trying.
    pub bytes_max: usize,
    /// Cases that `cargo test` runs.
    pub cases: u64,
}

const fn target(
    name: &'static str,
    what: &'static str,
    run: fn(&[u8]),
    bytes_max: usize,
    cases: u64,
) -> Target {
    Target { name, what, run, bytes_max, cases }
}

/// All targets.
pub const TARGETS: [Target; 11] = [
    target("image", "any bytes as an image: mounted, walked, read", image::run, 64 << 10, 1500),
    target("golden", "golden images, changed where it hurts", golden::run, 1 << 10, 1500),
    target("map", "the map of a compressed file", map::run, 4 << 10, 5000),
    target("lz4", "the LZ4 decoder, beside lz4_flex", codec::lz4, 16 << 10, 3000),
    target("micro_lzma", "the MicroLZMA decoder", codec::micro_lzma, 16 << 10, 1500),
    target("deflate", "the DEFLATE decoder, beside miniz_oxide", codec::deflate, 16 << 10, 3000),
    target("zstd", "the Zstandard decoder", codec::zstd, 16 << 10, 2000),
    target("fuse", "a virtio-fs session against any replies", fuse::run, 2 << 10, 5000),
    target("verity", "SPEC, seal and trees of any bytes", verity::run, 4 << 10, 3000),
    target("handover", "kernels, trees, boot entries", handover::run, 8 << 10, 3000),
    target("region", "a region of any bytes below a mount", region::run, 1 << 10, 200),
];

impl Target {
    /// The committed seeds, in the order of their names.
    ///
    /// # Errors
    /// When their folder cannot be read.
    pub fn seeds(&self) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut seeds = Vec::new();
        for entry in fs::read_dir(self.folder())? {
            let path = entry?.path();
            let bytes = fs::read(&path)?;
            seeds.push((path, bytes));
        }
        seeds.sort();
        Ok(seeds)
    }

    /// Where they lie.
    pub fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/seeds").join(self.name)
    }
}

/// The target of this name.
pub fn named(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// Runs the target of this name.
///
/// # Panics
/// When a promise of the library is broken, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = named(name).unwrap_or_else(|| panic!("no target {name}"));
    (target.run)(bytes);
}
