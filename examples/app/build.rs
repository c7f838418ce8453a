//! Links the image as the platform says: with its linker script, and its options.

fn main() {
    println!("cargo:rerun-if-env-changed=DEP_ROOTLET_BOARD_LINK");
    let words = std::env::var("DEP_ROOTLET_BOARD_LINK").unwrap_or_else(|error| {
        panic!("DEP_ROOTLET_BOARD_LINK: {error}: let [dependencies] have rootlet-board itself")
    });
    for word in words.split('\u{1f}').filter(|word| !word.is_empty()) {
        println!("cargo:rustc-link-arg-bins={word}");
    }
}
