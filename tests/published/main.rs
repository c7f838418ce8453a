//! What is published: the public items of each crate, and the packages.
//!
//! Always: both are made by cargo and rustdoc out of the sources; a change of either shows in a
//! difference that a person reads.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that panics has failed")]

mod api;
mod package;

use std::path::Path;
use std::process::Command;

/// The crates of the library, each after those that it needs. `rootlet` hands the others on, of
/// `rootlet-base` three types, and of `rootlet-crypt`, `rootlet-trust` and
/// `rootlet-verity` none.
const LIBRARY: [&str; 9] = [
    "rootlet-base",
    "rootlet-storage",
    "rootlet-erofs",
    "rootlet-fuse",
    "rootlet-region",
    "rootlet-crypt",
    "rootlet-trust",
    "rootlet-verity",
    "rootlet",
];

/// Returns cargo, to be run in the root of the repository, with a folder of its own for its
/// output.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("published");
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", made);
    cargo
}

/// Runs a command to its end, and returns its output.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
