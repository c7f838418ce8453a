//! Passes the board's linker script, and defmt's, which lays out the log strings.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let board = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let script = Path::new(&board).join("../../linker/x86_64-pvh.ld");
    println!("cargo:rerun-if-changed={}", script.display());
    println!("cargo:rustc-link-arg-bins=-T{}", script.display());
    println!("cargo:rustc-link-arg-bins=-Tdefmt.x");
    // A loader copies the segments: aligned to pages in the file they would only be larger.
    println!("cargo:rustc-link-arg-bins=-zmax-page-size=16");
    println!("cargo:rustc-link-arg-bins=-zcommon-page-size=16");
}
