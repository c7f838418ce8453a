//! Images whose features are not known: refused by number when mounting.

use rootlet_sim::disk::World;
use rootlet_sim::image::{Content, FileLayout, Image, Options, Tree, build};

use crate::guest::Guest;

/// Byte of `feature_incompat` in an image.
const INCOMPAT_AT: u64 = 1024 + 80;

fn image() -> Image {
    let mut tree = Tree::new();
    tree.file("/file", Content::seeded(1, 5000));
    build(&tree, &Options { layout: FileLayout::Plain, ..Options::default() }).unwrap().image
}

fn mounted(image: &Image) -> Result<Guest<rootlet_sim::disk::SimStorage>, String> {
    let world = World::new(1);
    world.blob("image", image.bytes());
    Guest::mount(world.attach(), "image=image", 1)
}

fn with_features(incompat: u32) -> Image {
    let mut image = image();
    image.patch(INCOMPAT_AT, &incompat.to_le_bytes()).fix_checksum();
    image
}

#[test]
fn unknown_features_are_refused_by_number() {
    for (bits, names) in [
        (0x400, "unknown bits 0x400"),
        (0x8000_0044, "unknown bits 0x80000000"),
        (0xffff_fe00, "unknown bits 0xfffffe00"),
    ] {
        let error = mounted(&with_features(bits)).err().unwrap();
        assert_eq!(error, format!("unsupported image: incompatible features {names}"), "{bits:#x}");
    }
}
