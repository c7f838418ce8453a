//! Says how a bare-metal image is linked: to the examples here, and to the build script of every
//! package that depends on this one, in `DEP_ROOTLET_BOARD_LINK`, with U+001F between the words.
//!
//! Always: the first word is the linker script; on a target with an operating system there is none.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let words = words();
    for word in &words {
        println!("cargo:rustc-link-arg-examples={word}");
    }
    println!("cargo:link={}", words.join("\u{1f}"));
}

/// Returns the words for the linker: a script of `linker/`, and defmt's, which lays out the log
/// strings. An image that moves itself asks for what that takes.
fn words() -> Vec<String> {
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return Vec::new();
    }
    let (script, moves) = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("aarch64") => ("aarch64-image.ld", true),
        Ok("riscv64") => ("riscv64-image.ld", true),
        _ => ("x86_64-pvh.ld", false),
    };
    let package = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let file = Path::new(&package).join("../../linker").join(script);
    println!("cargo:rerun-if-changed={}", file.display());
    let mut words = vec![format!("-T{}", file.display()), "-Tdefmt.x".into()];
    if moves {
        // Keeps in the file what the entry code needs to move the image to where it was loaded.
        words.extend(["-pie", "--no-dynamic-linker"].map(String::from));
    }
    // A loader copies the segments: aligned to pages in the file they would only be larger. Functions
    // that are the same instructions are one.
    let small = ["-zmax-page-size=16", "-zcommon-page-size=16", "--icf=all"];
    words.extend(small.map(String::from));
    words
}
