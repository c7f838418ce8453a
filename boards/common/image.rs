//! Links an image as the platform says; the build script of every board.
//!
//! Always: on a target with an operating system the linker gets no words from here.

fn main() {
    // The words for the linker change with the platform, and then this runs anew.
    println!("cargo:rerun-if-env-changed=DEP_ROOTLET_BOARD_LINK");
    // The platform's build script says it: a linker script, and options.
    let words = std::env::var("DEP_ROOTLET_BOARD_LINK").unwrap_or_else(|error| {
        panic!("DEP_ROOTLET_BOARD_LINK: {error}: let [dependencies] have rootlet-board itself")
    });
    for word in words.split('\u{1f}').filter(|word| !word.is_empty()) {
        println!("cargo:rustc-link-arg-bins={word}");
    }
}
