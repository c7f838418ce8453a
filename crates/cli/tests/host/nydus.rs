//! Bootstraps of Nydus (RAFS v6): names and attributes are read, files by name refused where their
//! chunks are packed in blobs.

use rootlet_sim::image::{Content, Options, SUPERBLOCK_AT, Tree};

use crate::run::World;

const TARFS: u64 = 0x0100_020a;
const ZSTD: u64 = 0x0100_0088;
const PLAIN: u64 = 0x0100_0009;

/// Makes an image one of RAFS, as Nydus lays it out: the extended superblock after the superblock, and
/// the device table after that.
fn bootstrap(flags: u64, flattened: bool) -> World {
    let mut tree = Tree::new();
    tree.file("/bin/app", Content::seeded(1, 200_000));
    tree.file("/empty", Content::seeded(2, 0));
    tree.symlink("/link", "bin/app");
    let options = Options { blobs: 1, checksum: false, flattened, ..Options::default() };
    let mut world = World::new(&tree, &options);
    let image = &mut world.built.image;
    let slot: Vec<u8> = image.bytes()[1152..1280].to_vec();
    image.patch(1152, &[0; 256]).patch(1152, &flags.to_le_bytes()).patch(1408, &slot);
    image.patch(SUPERBLOCK_AT + 88, &11_u16.to_le_bytes());
    image.patch(SUPERBLOCK_AT + 8, &0x4000_0002_u32.to_le_bytes());
    world
}

#[test]
fn bootstrap_alone_shows_its_tree_and_refuses_files_by_name() {
    for (flags, how) in [(ZSTD, "zstd"), (PLAIN, "packed")] {
        let mut world = bootstrap(flags, false);
        let with_blob = world.run(&["cat", "/bin/app"]);
        world.built.blobs.clear();
        for outcome in [with_blob, world.run(&["cat", "/bin/app"])] {
            assert_eq!(outcome.status, 1);
            let said = &outcome.stderr;
            let why = format!("/bin/app: its bytes are chunks of a Nydus blob (RAFS v6, {how})");
            assert!(said.contains(&why) && said.contains("`nydus-image unpack "), "{said}");
        }
        let listed = world.run(&["ls", "-R", "/"]);
        assert_eq!(listed.status, 0, "{}", listed.stderr);
        assert!(listed.stdout.iter().any(|line| line == "app"), "{:?}", listed.stdout);
        assert_eq!(world.run(&["cat", "/empty"]).status, 0);
        assert_eq!(world.run(&["check"]).status, 1);
    }
}

#[test]
fn tar_blobs_and_exported_disks_are_read() {
    for (flags, flattened) in [(TARFS, false), (TARFS, true), (ZSTD, true)] {
        let outcome = bootstrap(flags, flattened).run(&["sum", "/bin/app"]);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    }
}
