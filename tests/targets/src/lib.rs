//! What is fuzzed: for each target a function that takes any bytes and panics when a promise of
//! the library is broken. cargo-fuzz calls them (`fuzz/`), and so does `cargo test`, with the
//! seeds of `tests/data/seeds` and what [`mutate`] makes of them.
//!
//! Always: a target's outcome depends on its bytes alone; each ends in bounded work.

mod codec;
mod fuse;
mod golden;
mod image;
mod input;
mod map;
mod memory;
pub mod mutate;
mod region;
#[path = "../../power/src/decode.rs"]
#[expect(dead_code, reason = "the region's tests need all of it")]
mod seal;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, in `fuzz/` and of its folder of seeds.
    pub name: &'static str,
    /// What it does with any bytes.
    pub run: fn(&[u8]),
    /// Most bytes of an input that are worth trying.
    pub bytes_max: usize,
    /// Cases that `cargo test` runs.
    pub cases: u64,
}

const fn target(name: &'static str, run: fn(&[u8]), bytes_max: usize, cases: u64) -> Target {
    Target { name, run, bytes_max, cases }
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    target("image", image::run, 64 << 10, 1500),
    target("golden", golden::run, 1 << 10, 1500),
    target("map", map::run, 4 << 10, 5000),
    target("lz4", codec::lz4, 16 << 10, 3000),
    target("micro_lzma", codec::micro_lzma, 16 << 10, 1500),
    target("deflate", codec::deflate, 16 << 10, 3000),
    target("zstd", codec::zstd, 16 << 10, 2000),
    target("fuse", fuse::run, 2 << 10, 5000),
    target("region", region::run, 1 << 10, 200),
];

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
