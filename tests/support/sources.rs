//! The sources of the repository, for the tests that read them as text.
//!
//! Always: paths count from the root of the repository, with slashes.

use std::fs;
use std::path::{Path, PathBuf};

/// The sources of the library, of the crates below and of the guest above, each from its `lib.rs`
/// down.
pub const LIBRARY: [&str; 10] = [
    "src",
    "crates/base/src",
    "crates/crypt/src",
    "crates/erofs/src",
    "crates/fuse/src",
    "crates/guest/src",
    "crates/region/src",
    "crates/storage/src",
    "crates/trust/src",
    "crates/verity/src",
];

/// Returns the root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns all Rust files below `dir`, sorted; none if there is no such folder.
pub fn sources(dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let path = path.strip_prefix(root()).unwrap_or(&path);
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// Returns the text of a file.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
