//! Images whose features are not read: refused by name, when mounting or at the first file.

use rootlet::storage::file::FileStorage;
use rootlet_sim::disk::World;
use rootlet_sim::image::{Content, FileLayout, Image, Options, Tree, build};

use crate::guest::Guest;
use crate::set::{Golden, Set};

/// Byte of `feature_incompat` in an image.
const INCOMPAT_AT: u64 = 1024 + 80;

/// The incompat features of an image that this build does not read, or that mean compressed
/// files, by the names of the index.
pub fn unread(golden: &Golden) -> Vec<&str> {
    let read = ["chunked_file", "device_table", "48bit"];
    let names = golden.incompat.iter().map(String::as_str);
    names.filter(|name| !read.contains(name)).collect()
}

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
fn features_that_are_not_read_are_refused_by_name() {
    for (bits, names) in [
        (0x20, "FRAGMENTS/DEDUPE"),
        (0x40, "XATTR_PREFIXES"),
        (0x100, "METABOX"),
        (0x180, "METABOX"),
        (0x23, "FRAGMENTS/DEDUPE"),
        (0x160, "FRAGMENTS/DEDUPE, XATTR_PREFIXES, METABOX"),
        (0x400, "unknown bits 0x400"),
        (0x8000_0044, "XATTR_PREFIXES, unknown bits 0x80000000"),
    ] {
        let error = mounted(&with_features(bits)).err().unwrap();
        assert_eq!(error, format!("unsupported image: incompatible features {names}"), "{bits:#x}");
    }
}

#[test]
fn compressed_file_is_refused_by_its_layout_and_the_rest_is_read() {
    for layout in [1_u16, 3] {
        let mut image = with_features(0x01);
        let (at, nid) = (image.inode_at("/file"), image.nid("/file"));
        let format = u16::from_le_bytes(image.bytes()[at as usize..][..2].try_into().unwrap());
        let format = format & !(7 << 1) | layout << 1;
        image.patch(at, &format.to_le_bytes());
        let mut guest = mounted(&image).unwrap();
        let listed = String::from_utf8(guest.run(&["ls", "/"]).unwrap()).unwrap();
        assert!(listed.contains(" 5000 "), "{listed}");
        let message = format!("unsupported image: compressed data (layout {layout}) of nid {nid}");
        for command in ["cat", "sum", "manifest"] {
            let error = guest.run(&[command, "/file"]).unwrap_err();
            assert_eq!(error, format!("/file: {message}"));
        }
    }
}

#[test]
fn larger_sets_compressed_images_are_refused_and_never_misread() {
    // Only the set that ROOTLET_GOLDEN names has compressed images.
    let Some(set) = Set::named_by_user() else { return };
    for golden in set.images.iter().filter(|golden| !unread(golden).is_empty()) {
        let mut storage = FileStorage::new();
        storage.add_disk("image", &golden.image, true).unwrap();
        let outcome = Guest::mount(storage, "image=image", 1)
            .and_then(|mut guest| guest.run(&["manifest", "/"]));
        let error = outcome.err().unwrap_or_else(|| panic!("{} was read", golden.name));
        assert!(error.contains("unsupported image: "), "{}: {error}", golden.name);
    }
}
