//! Images that name one blob: whose bytes each of them is served out of one region.
//!
//! Always: every boot is a machine of its own, with its own disks; only the region's disk is
//! carried from one to the next.

use rootlet_guest::SYNC_TIME;
use rootlet_sim::disk::{Sparse, Survive, World};
use rootlet_sim::image::{Built, Content, Options, Tree, build};

use crate::guest::Guest;

const TAG: &str = "base.blob";
const FILE_BYTES: usize = 300_000;

/// An image over one blob with the tag that all of them use.
struct Side {
    built: Built,
    path: &'static str,
    bytes: Vec<u8>,
}

/// The image `uuid`, whose file at `path` is all of its blob.
fn side(uuid: u8, path: &'static str, seed: u64) -> Side {
    tagged(TAG, uuid, path, seed)
}

fn tagged(tag: &str, uuid: u8, path: &'static str, seed: u64) -> Side {
    let bytes = Content::seeded(seed, FILE_BYTES).to_vec();
    let mut tree = Tree::new();
    tree.file(path, Content::bytes(bytes.clone()));
    let tags = vec![tag.as_bytes().to_vec()];
    let options = Options { uuid: [uuid; 16], blobs: 1, tags, ..Options::default() };
    Side { built: build(&tree, &options).unwrap(), path, bytes }
}

/// What a boot read from the blob's disk, and the region that it left.
struct Left {
    blob_bytes: u64,
    region: Sparse,
}

/// Boots over the region, with these words more on the command line, and reads the file, which
/// must be what the blob of this machine has.
fn boot(side: &Side, region: &Sparse, words: &str) -> Left {
    let world = World::new(1);
    world.blob("image", &side.built.image);
    let blob = world.blob(TAG, &side.built.blobs[0]);
    let disk = world.disk("cache", 512, region.clone());
    let line = format!("image=image cache=cache {words}");
    let mut guest = Guest::mount(world.attach(), &line, 3).unwrap();
    let read = guest.run(&["cat", side.path]).unwrap();
    assert!(read == side.bytes, "wrong bytes with {words:?}: {:?}", guest.notices);
    assert!(guest.root.sync(SYNC_TIME));

    assert_eq!(guest.counters().cache.unwrap().check_failures, 0, "{words:?}");
    let blob_bytes = world.counters(blob).read_bytes;
    Left { blob_bytes, region: world.crash_image(disk, Survive::Everything).0 }
}

fn blank() -> Sparse {
    Sparse::zeros(4 << 20)
}

/// Boots the one and then the other, and returns how much the other fetched of the blob.
fn after(first: (&Side, &str), second: (&Side, &str)) -> u64 {
    let left = boot(first.0, &blank(), first.1);
    assert!(left.blob_bytes >= FILE_BYTES as u64);
    let fetched = boot(second.0, &left.region, second.1).blob_bytes;
    let again = boot(second.0, &boot(second.0, &left.region, second.1).region, second.1);
    assert_eq!(again.blob_bytes, 0, "it keeps its own");
    fetched
}

#[test]
fn image_that_names_the_blob_of_another_puts_nothing_under_its_name() {
    let (victim, hostile) = (side(1, "/file", 1), side(2, "/file", 2));
    // The hostile machine has a disk of its own with the victim's tag, as long as the victim's.
    assert_eq!(victim.built.blobs[0].bytes(), hostile.built.blobs[0].bytes());
    for (of_hostile, of_victim) in
        [("", ""), ("", "domain=a"), ("domain=b", ""), ("domain=b", "domain=a")]
    {
        let fetched = after((&hostile, of_hostile), (&victim, of_victim));
        assert!(fetched >= FILE_BYTES as u64, "{of_hostile:?} {of_victim:?}: {fetched}");
    }
}

#[test]
fn copy_of_an_image_over_other_bytes_is_kept_apart_by_its_domain() {
    // A slot without a tag is never shared, but the copies have the same one.
    for (tag, bound) in [(TAG, ""), ("", " blob1=base.blob")] {
        let (victim, hostile) = (tagged(tag, 1, "/file", 1), tagged(tag, 1, "/file", 2));
        assert_eq!(victim.built.image.bytes(), hostile.built.image.bytes(), "to the last byte");
        for (of_hostile, of_victim) in
            [("", "domain=a"), ("domain=b", ""), ("domain=b", "domain=a")]
        {
            let [of_hostile, of_victim] = [of_hostile, of_victim].map(|of| format!("{of}{bound}"));
            let fetched = after((&hostile, &of_hostile), (&victim, &of_victim));
            assert!(fetched >= FILE_BYTES as u64, "{of_hostile:?} {of_victim:?}: {fetched}");
        }
    }
}

#[test]
fn images_of_one_domain_share_the_blob_that_they_name_alike() {
    let (one, other) = (side(1, "/file", 1), side(2, "/usr/lib/renamed", 1));
    assert_eq!(after((&one, "domain=a"), (&other, "domain=a")), 0);
    for (of_one, of_other) in [("", ""), ("domain=a", "domain=b"), ("domain=a", "")] {
        let fetched = after((&one, of_one), (&other, of_other));
        assert!(fetched >= FILE_BYTES as u64, "{of_one:?} {of_other:?}: {fetched}");
    }
}

#[test]
fn slots_of_one_image_that_have_the_same_tag_are_told_apart() {
    let mut tree = Tree::new();
    let files = [("/a", 1), ("/b", 2)].map(|(path, seed)| {
        let bytes = Content::seeded(seed, FILE_BYTES).to_vec();
        tree.file(path, Content::bytes(bytes.clone()));
        (path, bytes)
    });
    let tags = vec![b"layer".to_vec(), b"layer".to_vec()];
    let spread = rootlet_sim::image::Spread::ByFile;
    let built = build(&tree, &Options { blobs: 2, tags, spread, ..Options::default() }).unwrap();
    assert_eq!(built.blobs[0].bytes(), built.blobs[1].bytes());
    let mut region = blank();
    for round in 0..2 {
        let world = World::new(1);
        world.blob("image", &built.image);
        let blobs = [0, 1].map(|blob| world.blob(["x", "y"][blob], &built.blobs[blob]));
        let disk = world.disk("cache", 512, region);
        let line = "image=image cache=cache blob1=x blob2=y domain=a";
        let mut guest = Guest::mount(world.attach(), line, 3).unwrap();
        for (path, bytes) in &files {
            assert!(guest.run(&["cat", path]).unwrap() == *bytes, "{path}");
        }
        assert!(guest.root.sync(SYNC_TIME));
        let fetched: u64 = blobs.iter().map(|blob| world.counters(*blob).read_bytes).sum();
        assert_eq!(fetched > 0, round == 0);
        region = world.crash_image(disk, Survive::Everything).0;
    }
}
