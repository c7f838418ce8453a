//! The package of each crate: what is in it, and how long it is.

use std::path::Path;

use crate::{LIBRARY, cargo, output};
use serde_json::Value;

/// The most bytes of a package, compressed.
const PACKAGE_BYTES_MAX: u64 = 512 << 10;

/// What no package of the library holds.
const FOREIGN: [&str; 7] =
    ["benches/", "boards/", "crates/", "fuzz/", "tests/embedders", "tests/published", "xtask/"];

/// The crates above the library that are published too. Their packages stand on published
/// libraries, so they are listed, not made.
const ABOVE: [&str; 3] = ["rootlet-cli", "rootlet-guest", "rootlet-handover"];

/// Returns the bytes of the package of a crate that lies below `made`.
fn bytes(made: &Path, name: &str) -> u64 {
    let file = made.join("package").join(format!("{name}-{}.crate", env!("CARGO_PKG_VERSION")));
    file.metadata().unwrap_or_else(|error| panic!("{}: {error}", file.display())).len()
}

/// Returns the manifest of each crate of the workspace that may be published, as cargo reads it.
fn published() -> Vec<Value> {
    let metadata =
        output(cargo().args(["metadata", "--locked", "--no-deps", "--format-version=1"]));
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().filter(|package| package["publish"].is_null()).cloned().collect()
}

#[test]
fn published_crates_say_what_they_are() {
    let packages = published();
    let mut names: Vec<&str> = packages.iter().map(|one| one["name"].as_str().unwrap()).collect();
    let mut crates = [&LIBRARY[..], &ABOVE].concat();
    names.sort_unstable();
    crates.sort_unstable();
    assert_eq!(names, crates, "all others have `publish = false`");
    for package in &packages {
        for key in ["description", "license", "repository", "rust_version"] {
            assert!(package[key].is_string(), "{}: no {key}", package["name"]);
        }
        let docs = &package["metadata"]["docs"]["rs"];
        let is_library = LIBRARY.contains(&package["name"].as_str().unwrap());
        assert!(docs.is_object() || !is_library, "{}: no metadata for docs.rs", package["name"]);
    }
}

#[test]
fn packages_are_short_and_hold_what_they_need() {
    let mut cargo = cargo();
    cargo.args(["package", "--locked", "--no-verify", "--allow-dirty"]);
    for name in LIBRARY {
        cargo.args(["--package", name]);
    }
    output(&mut cargo);
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("published");
    for name in LIBRARY {
        let bytes = bytes(&made, name);
        let list = ["package", "--locked", "--list", "--allow-dirty", "--package", name];
        let list = output(crate::cargo().args(list));
        let files: Vec<&str> = list.lines().collect();
        println!("{name}: {} files, {bytes} bytes", files.len());
        assert!(bytes <= PACKAGE_BYTES_MAX, "{name}: {bytes} bytes");
        assert!(
            files.contains(&"src/lib.rs") && files.contains(&"Cargo.toml"),
            "{name}: {files:?}"
        );
        let is_foreign = |file: &&&str| FOREIGN.iter().any(|folder| file.starts_with(folder));
        assert_eq!(files.iter().find(is_foreign), None, "{name}");
    }
    let list = ["package", "--locked", "--list", "--allow-dirty", "--package", "rootlet"];
    let list = output(crate::cargo().args(list));
    for file in ["tests/data/tiny.erofs", "README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(list.lines().any(|listed| listed == file), "rootlet: no {file}");
    }
}
