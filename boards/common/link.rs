//! How a bare-metal image is linked; every build script of one includes this file.
//!
//! Always: on a target with an operating system nothing is said to the linker.

use std::env;
use std::path::Path;

/// Links what `kind` names (`bins`, `examples`) by a script of `linker/`, and by defmt's, which
/// lays out the log strings. An image that moves itself asks for what that takes.
pub fn image(kind: &str, script: &str) {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let package = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let file = Path::new(&package).join("../../linker").join(script);
    println!("cargo:rerun-if-changed={}", file.display());
    let script = format!("-T{}", file.display());
    let mut words = vec![script.as_str(), "-Tdefmt.x"];
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        // Keeps in the file what the entry code needs to move the image to where it was loaded.
        words.extend(["-pie", "--no-dynamic-linker"]);
    }
    // A loader copies the segments: aligned to pages in the file they would only be larger. Functions
    // that are the same instructions are one.
    words.extend(["-zmax-page-size=16", "-zcommon-page-size=16", "--icf=all"]);
    for word in words {
        println!("cargo:rustc-link-arg-{kind}={word}");
    }
}
