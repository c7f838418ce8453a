//! Features add up: a crate that is written against the library without a heap compiles and runs the
//! same beside a crate that turns `alloc` on.
//!
//! Always: the two crates are a workspace of their own, because the tests' own features would reach
//! them in this one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A processor without an operating system, for which both are built too.
const BARE_METAL: &str = "thumbv7em-none-eabi";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/embedders")
}

/// Runs a program in the folder of the two crates; returns whether it succeeded, and its words.
fn run(program: &str, words: &[&str]) -> (bool, String) {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("embedders");
    let output = Command::new(program)
        .args(words)
        .current_dir(folder())
        .env("CARGO_TARGET_DIR", made)
        .env_remove("ROOTLET_DEVICES_MAX")
        .output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn cargo(words: &[&str]) -> String {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let (succeeded, said) = run(&cargo, words);
    assert!(succeeded, "cargo {words:?}: {said}");
    said
}

fn has_target() -> bool {
    let is_here = || {
        let (_, dir) = run("rustc", &["--print", "target-libdir", "--target", BARE_METAL]);
        Path::new(dir.trim()).is_dir()
    };
    is_here()
        || Command::new("rustup")
            .args(["target", "add", BARE_METAL])
            .current_dir(folder())
            .output()
            .is_ok()
            && is_here()
}

#[test]
fn crate_without_a_heap_is_the_same_beside_one_with() {
    let alone = cargo(&["test", "--locked", "--package", "embedder-bare"]);
    let both = cargo(&["test", "--locked", "--workspace"]);
    assert!(!alone.contains("embedder-heap") && both.contains("embedder-heap"), "{alone}{both}");
    if !has_target() {
        println!("skipped: no Rust target {BARE_METAL}");
        return;
    }
    let build = ["build", "--locked", "--target", BARE_METAL];
    cargo(&[&build[..], &["--package", "embedder-bare"]].concat());
    cargo(&[&build[..], &["--workspace"]].concat());
}
